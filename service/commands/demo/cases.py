"""The demo's jobs: what each asks of fal, and what the sandbox does to its callback.

The inputs have the keys, numbers and enum values that fal's model pages print as full examples.
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
        verdicts=("accepted",),
    ),
)
