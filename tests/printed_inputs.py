"""The example requests that the providers print, less their model field, in our own prose."""

from typing import Any

Example = tuple[str, str, dict[str, Any]]

BOAT = "A paper boat drifts down a rainy street while a child runs along beside it."
SAYS = 'She looks up from her notes and says: "We open at nine."'
IMAGE = "https://example.com/boat.png"
IMAGES = [f"https://example.com/boat-{n}.png" for n in (1, 2, 3)]
STILL = {"prompt": BOAT, "image_url": IMAGE}

FAL: list[Example] = [
    ("fal", f"fal-ai/{model}", body)
    for model, bodies in {
        "pika/v2.2/text-to-video": [
            {"prompt": BOAT},
            {"prompt": BOAT, "aspect_ratio": "16:9", "resolution": "720p", "duration": 5},
        ],
        "pika/v2.2/image-to-video": [
            {"image_url": IMAGE, "prompt": BOAT},
            {"image_url": IMAGE, "prompt": BOAT, "resolution": "720p", "duration": 5},
        ],
        "veo3.1/reference-to-video": [
            {"image_urls": IMAGES, "prompt": BOAT},
            {
                "image_urls": IMAGES,
                "prompt": BOAT,
                "duration": "8s",
                "resolution": "720p",
                "generate_audio": True,
            },
        ],
        "veo3/fast": [
            {"prompt": SAYS},
            {
                "prompt": SAYS,
                "aspect_ratio": "16:9",
                "duration": "8s",
                "enhance_prompt": True,
                "auto_fix": True,
                "resolution": "720p",
                "generate_audio": True,
            },
        ],
        "veo3.1/fast/image-to-video": [
            {"prompt": SAYS, "image_url": IMAGE},
            {"prompt": SAYS.replace('"', "'"), "image_url": IMAGE},  # in its curl
            {
                "prompt": SAYS,
                "image_url": IMAGE,
                "duration": "8s",
                "aspect_ratio": "auto",
                "resolution": "720p",
                "generate_audio": True,
            },
        ],
        "sora-2/text-to-video": [
            {"prompt": SAYS},
            {"prompt": SAYS, "resolution": "720p", "aspect_ratio": "16:9", "duration": 4},
        ],
        "sora-2/image-to-video": [
            STILL,
            {
                "prompt": SAYS,
                "resolution": "auto",
                "aspect_ratio": "auto",
                "duration": 4,
                "image_url": IMAGE,
            },
        ],
        "sora-2/text-to-video/pro": [
            {"prompt": SAYS},
            {"prompt": SAYS, "resolution": "1080p", "aspect_ratio": "16:9", "duration": 4},
        ],
        "sora-2/image-to-video/pro": [
            STILL,
            {
                "prompt": SAYS,
                "resolution": "auto",
                "aspect_ratio": "auto",
                "duration": 4,
                "image_url": IMAGE,
            },
        ],
        "minimax/hailuo-02/standard/text-to-video": [
            {"prompt": BOAT},
            {"prompt": BOAT, "duration": "6", "prompt_optimizer": True},
        ],
        "minimax/hailuo-02/standard/image-to-video": [
            STILL,
            {
                "prompt": BOAT,
                "image_url": IMAGE,
                "duration": "6",
                "prompt_optimizer": True,
                "resolution": "768P",
            },
        ],
    }.items()
    for body in bodies
]
GENVIRAL: list[Example] = [
    (
        "genviral",
        "openai/sora-2",
        {"prompt": BOAT, "params": {"duration_seconds": 8, "aspect_ratio": "16:9"}},
    ),
    (
        "genviral",
        "bytedance/seedance-2.0",
        {
            "prompt": "A slow turn around the boat of @Image1",
            "reference_image_urls": [IMAGE],
            "params": {"duration_seconds": 5, "aspect_ratio": "9:16", "generate_audio": True},
        },
    ),
]
PRISM: list[Example] = [
    (
        "prism",
        "veo-3.1",
        {
            "prompt": BOAT,
            "aspectRatio": "9:16",
            "duration": "8s",
            "resolution": "1080p",
            "count": 1,
            "hasAudio": True,
        },
    ),
    ("prism", "veo-3.1", {"prompt": BOAT, "startFrameKey": "users/user_1/boat.png"}),
]
# Printed with a notify_hook too, which is taken out before the rest is held to the schema.
RELAY: list[Example] = [
    (
        "relay",
        "sora-2",
        {
            "prompt": BOAT,
            "images": [IMAGE],
            "aspect_ratio": "16:9",
            "hd": True,
            "duration": "10",
            "watermark": True,
            "private": True,
            "character_url": "https://example.com/character.mp4",
            "character_timestamps": "1,3",
        },
    ),
]
PRINTED = [*FAL, *GENVIRAL, *PRISM, *RELAY]
