"""Which replies to a submission are refusals: provably nothing was queued."""

import re
from typing import Any

from service.job import ErrorCode
from service.providers import Refused, Reply
from service.providers.fal.faults import message_in, type_in
from service.verdicts import refused

_OUT_OF_BALANCE = re.compile(r"\b(?:locked|balance)\b", re.IGNORECASE)


def refusal(reply: Reply, body: dict[str, Any]) -> Refused | None:
    """The refusal that a reply without a request id is, or None where it is no documented one.

    Nothing ran, so nothing was charged: a 422 is billed only where a GPU was used.
    """
    code = _code(reply, body)
    if code is None:
        return None
    said = message_in(body) or f"fal refused the job with HTTP {reply.status}"
    return refused(code, said, reply, body)


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
