"""The demo's jobs: what each asks of its provider, and what the sandbox does to its callback.

The inputs have the keys, numbers and enum values that the providers print as full examples.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One job of the demo, and what must come of it.

    `misbehaviour` goes to the sandbox before the job does. `calls` are the sandbox's calls to
    us with the HTTP status each must get, in order; `verdicts` what we keep of those that name
    the job.
    """

    name: str
    model: str
    input: Mapping[str, Any]
    learnt_by: str
    calls: tuple[tuple[str, int], ...]
    verdicts: tuple[str, ...]
    misbehaviour: Mapping[str, float] = field(default_factory=dict)


CASES = (
    Case(
        name="one callback, as it should be",
        model="fal-ai/pika/v2.2/text-to-video",
        input={
            "prompt": "A ferry leaves a foggy harbour at sunrise, gulls circling its mast.",
            "aspect_ratio": "16:9",
            "resolution": "720p",
            "duration": 5,
        },
        learnt_by="callback",
        calls=(("true", 200),),
        verdicts=("accepted",),
    ),
    Case(
        name="the callback is lost",
        model="fal-ai/veo3/fast",
        input={
            "prompt": "A baker dusts a table with flour and says: the first loaf is always mine.",
            "aspect_ratio": "16:9",
            "duration": "8s",
            "enhance_prompt": True,
            "auto_fix": True,
            "resolution": "720p",
            "generate_audio": True,
        },
        misbehaviour={"lose": 1},
        learnt_by="poll",
        calls=(),
        verdicts=(),
    ),
    Case(
        name="the callback comes twice",
        model="fal-ai/sora-2/text-to-video",
        input={
            "prompt": "Two old friends play chess in a park while the lamps come on around them.",
            "resolution": "720p",
            "aspect_ratio": "16:9",
            "duration": 4,
        },
        misbehaviour={"duplicate": 1},
        learnt_by="callback",
        calls=(("true", 200), ("duplicate", 200)),
        verdicts=("accepted", "duplicate"),
    ),
    Case(
        name="a forged callback comes first",
        model="fal-ai/minimax/hailuo-02/standard/text-to-video",
        input={
            "prompt": "A lighthouse keeper climbs a spiral stair, lantern in hand, storm outside.",
            "duration": "6",
            "prompt_optimizer": True,
        },
        misbehaviour={"forge": 1},
        learnt_by="callback",
        calls=(("forged", 401), ("true", 200)),
        verdicts=("refused", "accepted"),
    ),
    Case(
        name="Genviral has no callbacks",
        model="openai/sora-2",
        input={
            "prompt": "A courier cycles through a city of paper towers at dusk.",
            "params": {"duration_seconds": 8, "aspect_ratio": "16:9"},
        },
        learnt_by="poll",
        calls=(),
        verdicts=(),
    ),
    Case(
        name="Prism has none either",
        model="veo-3.1",
        input={
            "prompt": "A kettle, three cups and a plate of figs, filmed in one slow turn.",
            "aspectRatio": "9:16",
            "duration": "8s",
            "resolution": "1080p",
            "count": 1,
            "hasAudio": True,
        },
        learnt_by="poll",
        calls=(),
        verdicts=(),
    ),
    Case(
        name="a relay's callback is a hint",
        model="sora-2",
        input={
            "prompt": "A street musician tunes a cello while snow begins to fall.",
            "aspect_ratio": "16:9",
            "duration": "10",
            "watermark": True,
            "private": True,
        },
        learnt_by="poll",
        calls=(("progress", 200), ("true", 200)),
        verdicts=("hint", "hint"),
    ),
)
