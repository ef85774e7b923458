"""What fal's error bodies mean: their two documented shapes, and a word of ours for each type.

Facts: fal.ai/docs model-apis/errors (model errors: `detail` is a list) and
model-apis/request-errors (request errors: `detail` is text beside an `error_type`).
"""

from collections.abc import Mapping
from typing import Any

from service.job import Charged, ErrorCode, JobError

_MESSAGE_CHARACTERS = 1000

_Kind = tuple[ErrorCode, bool, Charged]  # what it was, may a new job go better, was it billed
_INPUT: _Kind = (ErrorCode.INVALID_INPUT, False, Charged.UNKNOWN)  # a 422 may be billed
_AWAY: _Kind = (ErrorCode.PROVIDER_UNAVAILABLE, True, Charged.NO)  # a 5xx never is
_LATE: _Kind = (ErrorCode.PROVIDER_TIMEOUT, True, Charged.NO)
_UNTOLD: _Kind = (ErrorCode.PROVIDER_UNAVAILABLE, False, Charged.UNKNOWN)

_BY_TYPE: dict[str, _Kind] = {
    "content_policy_violation": (ErrorCode.CONTENT_POLICY, False, Charged.UNKNOWN),
    "no_media_generated": (ErrorCode.RESULT_UNAVAILABLE, False, Charged.UNKNOWN),
    "downstream_service_error": (ErrorCode.PROVIDER_UNAVAILABLE, True, Charged.UNKNOWN),  # a 400
    "downstream_service_unavailable": _AWAY,
    "internal_server_error": _AWAY,
    "internal_error": _AWAY,
    "runner_scheduling_failure": _AWAY,
    "runner_connection_timeout": _AWAY,
    "runner_connection_refused": _AWAY,
    "runner_connection_error": _AWAY,
    "runner_disconnected": _AWAY,
    "runner_incomplete_response": _AWAY,
    "runner_server_error": _AWAY,
    "generation_timeout": _LATE,
    "request_timeout": _LATE,
    "startup_timeout": _LATE,
    "client_cancelled": (ErrorCode.CANCELED, False, Charged.UNKNOWN),
    "client_disconnected": _UNTOLD,
    "bad_request": _INPUT,
}
_BY_STATUS: dict[int, _Kind] = {
    404: (ErrorCode.UNSUPPORTED_MODEL, False, Charged.UNKNOWN),
    410: (ErrorCode.MODEL_RETIRED, False, Charged.UNKNOWN),
    504: _LATE,
}


def is_typed(body: Any, headers: Mapping[str, str] | None = None) -> bool:
    """Whether `body` has one of the two documented shapes, type and all."""
    return isinstance(body, dict) and type_in(body, headers) is not None


def type_in(body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> str | None:
    """The error's type: of the first listed detail, else `error_type`, else fal's header."""
    detail = _details(body)
    if detail:
        return next((one["type"] for one in detail if isinstance(one.get("type"), str)), None)
    named = body.get("error_type") or (headers or {}).get("x-fal-error-type")
    return named if isinstance(named, str) else None


def message_in(body: Mapping[str, Any]) -> str | None:
    """What an error body says to a person, or None."""
    said = [one.get("msg") for one in _details(body)]
    said += [body.get("detail"), body.get("error"), body.get("message")]
    text = next((one for one in said if isinstance(one, str) and one), None)
    return text and text[:_MESSAGE_CHARACTERS]


def fault(
    body: Mapping[str, Any], status: int | None, headers: Mapping[str, str] | None = None
) -> JobError:
    """The error that ended a job: `body` as fal sent it, with its HTTP status where it had one."""
    kind = type_in(body, headers)
    code, retryable, charged = _kind(kind, status, listed=bool(_details(body)))
    return JobError(
        code=code,
        message=message_in(body) or f"fal reported {kind or 'an error'}",
        retryable=retryable,
        charged=charged,
        provider=body,
    )


def _kind(named: str | None, status: int | None, listed: bool) -> _Kind:
    if named in _BY_TYPE:
        return _BY_TYPE[named]
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if status is not None and status >= 500:
        return _AWAY
    return _INPUT if listed or status is not None else _UNTOLD


def _details(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    detail = body.get("detail")
    return [one for one in detail if isinstance(one, dict)] if isinstance(detail, list) else []
