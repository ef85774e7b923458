"""What the fuzzing tests share: how much there is to do, and draws whose seed is said on failure.

CALLBOARD_TEST_FULL=1 runs the full numbers; CALLBOARD_FUZZ_SEED repeats a run's draws.
"""

import os
import random
import secrets
from collections.abc import Iterator
from contextlib import contextmanager


def many(full: int) -> int:
    """`full`, where the full numbers were asked for, else a tenth of it."""
    return full if os.environ.get("CALLBOARD_TEST_FULL") else full // 10


@contextmanager
def drawing() -> Iterator[random.Random]:
    """Draws for one test; whatever fails meanwhile says the seed."""
    seed = int(os.environ.get("CALLBOARD_FUZZ_SEED") or secrets.randbelow(10**6))
    try:
        yield random.Random(seed)
    except BaseException as fault:
        fault.add_note(f"CALLBOARD_FUZZ_SEED={seed} repeats this")
        raise
