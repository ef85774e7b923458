"""What a sandbox is told: how long renders take, and what share of jobs is misbehaved with."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from service.errors import FieldFault, InvalidRequest


class Misbehaviour(StrEnum):
    """What can go wrong with a job; each is an option of the same name, a share from 0 to 1."""

    LOSE = "lose"  # its callback is never sent
    DUPLICATE = "duplicate"  # its callback is sent twice
    EARLY = "early"  # its callback is answered before the reply to the submission is written
    REORDER = "reorder"  # its callback waits until another job's has gone
    CORRUPT = "corrupt"  # its callback comes with a truncated body first
    FORGE = "forge"  # its callback is preceded by one that somebody else made
    DROP_SUBMIT_REPLY = "drop_submit_reply"  # accepted, and the connection is cut
    ERROR = "error"  # the render fails
    SLOW = "slow"  # the render takes ten times as long
    NULL_PAYLOAD = "null_payload"  # its callback carries no result and says why
    IGNORE_CANCEL = "ignore_cancel"  # a cancel is taken, and the render goes on to its end
    FORGET_CANCELED = "forget_canceled"  # canceled while it is queued, it is known no more


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """A sandbox's options. Without a `seed` every run draws anew; without an `api_key` any does.

    `render_seconds` goes from acceptance to the end, the first fifth of it in the queue. A job
    that ended is gone after `retention_seconds`. A callback is tried `callback_tries` times.
    """

    lose: float = 0.0
    duplicate: float = 0.0
    early: float = 0.0
    reorder: float = 0.0
    corrupt: float = 0.0
    forge: float = 0.0
    drop_submit_reply: float = 0.0
    error: float = 0.0
    slow: float = 0.0
    null_payload: float = 0.0
    ignore_cancel: float = 0.0
    forget_canceled: float = 0.0
    render_seconds: float = 1.0
    retention_seconds: float = 3600.0
    callback_tries: int = 12
    seed: int | None = None
    api_key: str | None = None
    user_id: str = "sandbox"

    def shown(self) -> dict[str, Any]:
        """The options as `/control` shows them: all but the key."""
        names = (*CHANGEABLE, "callback_tries", "seed", "user_id")
        return {name: getattr(self, name) for name in names}


SECONDS = ("render_seconds", "retention_seconds")
CHANGEABLE = (*(str(name) for name in Misbehaviour), *SECONDS)


def changed(options: Options, given: Any) -> Options:
    """`options` with what is `given` by name: shares from 0 to 1, seconds from 0 up.

    Raises InvalidRequest, which names each wrong field; then nothing is changed.
    """
    if not isinstance(given, Mapping):
        raise InvalidRequest("The body must be a JSON object of options.")
    faults = tuple(fault for name, value in given.items() if (fault := _fault(name, value)))
    if faults:
        raise InvalidRequest("Some options are wrong.", fields=faults)
    values: dict[str, Any] = {name: float(value) for name, value in given.items()}
    return replace(options, **values)


def _fault(name: str, value: Any) -> FieldFault | None:
    if name not in CHANGEABLE:
        return FieldFault(name, f"unknown; there are {', '.join(CHANGEABLE)}")
    most = math.inf if name in SECONDS else 1
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or not 0 <= value <= most:
        return FieldFault(
            name, "must be seconds from 0 up" if name in SECONDS else "must be a share from 0 to 1"
        )
    return None
