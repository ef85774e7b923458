"""What each failure is to a shell: one line on stderr and an exit code (contract §8)."""

import contextlib
import sys
from collections.abc import Iterator

from service.errors import (
    CallboardError,
    Conflict,
    DatabaseAway,
    DatabaseNewer,
    Forbidden,
    InvalidRequest,
    NotFound,
    SettingInvalid,
    Unauthorized,
    Unavailable,
)
from service.logs import redacted

DONE, FAILED, USAGE, NOT_FOUND, NOT_ALLOWED, CONFLICT, AWAY = 0, 1, 2, 3, 4, 5, 6
INTERRUPTED = 130
CODES: dict[type[CallboardError], int] = {
    SettingInvalid: USAGE,
    InvalidRequest: USAGE,
    NotFound: NOT_FOUND,
    Unauthorized: NOT_ALLOWED,
    Forbidden: NOT_ALLOWED,
    Conflict: CONFLICT,
    DatabaseAway: AWAY,
    Unavailable: AWAY,
    DatabaseNewer: FAILED,
    CallboardError: FAILED,
}


@contextlib.contextmanager
def told() -> Iterator[None]:
    """Turns what we raise on purpose into its line and code; anything else keeps its traceback."""
    try:
        yield
    except CallboardError as fault:
        code = next(CODES[kind] for kind in type(fault).__mro__ if kind in CODES)
        print(f"callboard: {redacted(str(fault))}", file=sys.stderr)
        sys.exit(code)
    except OSError as fault:
        print(f"callboard: {redacted(str(fault))}", file=sys.stderr)
        sys.exit(FAILED)
