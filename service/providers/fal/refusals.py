"""Which replies to a submission are refusals: provably nothing was queued."""

import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

from service.job import Charged, ErrorCode, JobError
from service.providers import Refused, Reply
from service.providers.fal.faults import message_in, type_in
from service.providers.fal.replies import text_of

_OUT_OF_BALANCE = re.compile(r"\b(?:locked|balance)\b", re.IGNORECASE)
_LONGEST_WAIT_SECONDS = 86400.0
_WAITING = frozenset(
    {ErrorCode.RATE_LIMITED, ErrorCode.PROVIDER_AUTH, ErrorCode.INSUFFICIENT_CREDITS}
)


def refusal(reply: Reply, body: dict[str, Any]) -> Refused | None:
    """The refusal that a reply without a request id is, or None where it is no documented one.

    Nothing ran, so nothing was charged: a 422 is billed only where a GPU was used.
    """
    code = _code(reply, body)
    if code is None:
        return None
    waits = code in _WAITING
    error = JobError(
        code=code,
        message=message_in(body) or f"fal refused the job with HTTP {reply.status}",
        retryable=waits,
        charged=Charged.NO,
        provider=body or text_of(reply),
    )
    return Refused(error=error, waits=waits, retry_after=_retry_after(reply) if waits else None)


def _code(reply: Reply, body: dict[str, Any]) -> ErrorCode | None:
    match reply.status:
        case 429:
            return ErrorCode.RATE_LIMITED
        case 401:  # no body is documented for these two: the status says it alone
            return ErrorCode.PROVIDER_AUTH
        case _ if not body:  # a page of some gateway between us and fal
            return None
        case 403 if _OUT_OF_BALANCE.search(message_in(body) or ""):
            return ErrorCode.INSUFFICIENT_CREDITS
        case 403 | 404:
            return ErrorCode.UNSUPPORTED_MODEL
        case 410:
            return ErrorCode.MODEL_RETIRED
        case 400 | 422:
            policy = type_in(body, reply.headers) == "content_policy_violation"
            return ErrorCode.CONTENT_POLICY if policy else ErrorCode.INVALID_INPUT
    return None


def _retry_after(reply: Reply) -> float | None:
    """Seconds to wait, at most a day; a date counts from the reply's own Date, else from now."""
    value = reply.headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return min(float(value), _LONGEST_WAIT_SECONDS)
    until = _seconds(reply.headers, "retry-after")
    if until is None:
        return None
    since = _seconds(reply.headers, "date")
    wait = until - (time.time() if since is None else since)
    return min(max(wait, 0.0), _LONGEST_WAIT_SECONDS)


def _seconds(headers: Mapping[str, str], name: str) -> float | None:
    try:
        return parsedate_to_datetime(headers[name]).timestamp()
    except (KeyError, ValueError, TypeError, IndexError, OverflowError):
        return None
