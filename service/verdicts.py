"""Our word for what a provider refuses or fails: what its code means to the job, and to the money.

Pure. Which reply is a refusal only the provider's own file says.
"""

import re
from typing import Any

from service.job import Charged, ErrorCode, JobError, State
from service.providers import Refused, Reply, Report
from service.wire import retry_after, text_in, text_of

_MESSAGE_CHARACTERS = 1000
_WAITING = (
    frozenset(  # nothing is wrong with the job: it goes when the account or the time is right
        {
            ErrorCode.RATE_LIMITED,
            ErrorCode.PROVIDER_AUTH,
            ErrorCode.INSUFFICIENT_CREDITS,
            ErrorCode.PROVIDER_PAUSED,
        }
    )
)
_MODEL = re.compile(
    r"\bmodel[ _]?(?:id|name)\b|\b(?:unsupported|unknown|invalid|no such)(?: video)? model\b"
    r"|\bmodel (?:\S+ )?(?:is |was |does )?not (?:supported|found|available|known|exist)",
    re.IGNORECASE,
)
_POLICY = re.compile(
    r"content[ _-]?policy|\bmoderat|\bnsfw\b|\bsafety\b|\bsensitive content\b"
    r"|\b(?:rejected by|failed|did not pass) (?:\w+ )?review\b|review[ _-](?:fail|reject)|审核",
    re.IGNORECASE,
)


def names_model(said: str | None) -> bool:
    """Whether a refusal of the input says that the model itself is not to be had."""
    return bool(said and _MODEL.search(said))


def names_policy(said: str | None) -> bool:
    """Whether a failure says that its content was turned away, by a provider's review."""
    return bool(said and _POLICY.search(said))


def refused(
    code: ErrorCode, said: str | None, reply: Reply, body: Any, *, pause: float | None = None
) -> Refused:
    """The refusal that `reply` is, said with `said`; `pause` (seconds) stands in for a missing
    Retry-After where the job waits. Where the provider tried and broke, nobody knows of money."""
    broke = code is ErrorCode.PROVIDER_UNAVAILABLE
    waits = code in _WAITING
    error = JobError(
        code=code,
        message=(said or f"refused with HTTP {reply.status}")[:_MESSAGE_CHARACTERS],
        retryable=waits or broke,
        charged=Charged.UNKNOWN if broke else Charged.NO,
        provider=body or text_of(reply),
    )
    if not waits:
        return Refused(error=error)
    wait = retry_after(reply.headers)
    return Refused(error=error, waits=True, retry_after=pause if wait is None else wait)


def failed(
    said: str | None, code: str | None = None, *, raw: Any, provider_id: str | None = None
) -> Report:
    """The end of a render that failed with the words `said` and the provider's `code`; no provider
    says what became of the money. Another attempt may go better, unless the content was turned
    away."""
    policy = names_policy(said) or names_policy(code)
    error = JobError(
        code=ErrorCode.CONTENT_POLICY if policy else ErrorCode.PROVIDER_UNAVAILABLE,
        message=(said or code or "the render failed, and no reason was given")[
            :_MESSAGE_CHARACTERS
        ],
        retryable=not policy,
        charged=Charged.UNKNOWN,
        provider=raw,
    )
    return Report(state=State.FAILED, provider_id=provider_id, error=error)


def failed_with(error: Any, raw: Any) -> Report:
    """The same, from an `error` that is text or an object with a message and a code."""
    told = error if isinstance(error, dict) else {}
    return failed(text_in(error, told.get("message")), text_in(told.get("code")), raw=raw)
