"""Reads fal's JSON: a job's status, its result, and the webhook's body.

Facts: fal.ai/docs model-apis/inference/queue and model-apis/inference/webhooks.
"""

import re
from collections.abc import Iterator
from typing import Any

from service.errors import CallbackUnreadable
from service.job import Charged, ErrorCode, JobError, State
from service.providers import CancelAnswer, Progress, Reply, Report
from service.providers.fal.faults import fault, is_typed
from service.wire import call_in, id_in, object_in

_HIGHEST_POSITION = 2**31 - 1
_MEDIA = ("video", "videos", "image", "images", "audio")
_MEDIA_SCHEMES = ("https://", "http://", "data:")
_OF_THE_WAY = frozenset({401, 403, 404, 408, 429})  # say something of the GET, nothing of the job
_UNFINISHED = re.compile(r"\bstill in progress\b", re.IGNORECASE)
_STATUS_IN_TEXT = re.compile(r"status code: (\d{3})\b")


def read_status(reply: Reply) -> Report | None:
    """What a status reply says; None where it says COMPLETED and the result must be asked for.

    fal answers 202 while a job is pending and 200 once it is complete; there is no status for
    a failure, which is COMPLETED with an error beside it.
    """
    body = object_in(reply.content)
    word = body.get("status")
    if reply.status not in (200, 202) or not isinstance(word, str):
        note = f"fal answered HTTP {reply.status} without a status"
        return Report(state=None, note=note, gone=reply.status == 404 and bool(body))
    if word == "IN_QUEUE":
        return Report(state=State.SUBMITTED, progress=progress_in(body))
    if word == "IN_PROGRESS":
        return Report(state=State.RUNNING)
    if word != "COMPLETED":
        return Report(state=None, note=f"unknown status {word[:40]!r}")
    if body.get("error") or body.get("error_type"):
        return _ended(fault(body, _status_in(body.get("error"))))
    return None


def read_result(reply: Reply) -> Report:
    """What the reply to the result GET says of a job whose status was COMPLETED.

    It is the model's own answer, with its HTTP status: an error body in a documented shape is
    the verdict, while a fault of the way to it only means that it must be asked for again.
    """
    try:
        body = reply.json()
    except ValueError:
        return _again(reply, "not JSON")
    if reply.status == 200:
        if not has_media(body):
            return _ended(_no_media(body))
        units = reply.headers.get("x-fal-billable-units")  # units of the model, not money
        note = units and f"{units[:40]} billable units"
        return Report(state=State.COMPLETED, output=body, note=note)
    if reply.status in _OF_THE_WAY or not _is_verdict(body, reply):
        return _again(reply, "not a verdict", gone=reply.status == 404)
    return _ended(fault(body, reply.status, reply.headers))


def read_cancel(reply: Reply) -> CancelAnswer | None:
    """What fal answers to a cancel: 202 requested (200 or OK where it was still queued), 400 too
    late, 404 not known; None for anything else (model-apis/inference/queue)."""
    body = object_in(reply.content)
    match body.get("status"):
        case "CANCELLATION_REQUESTED" | "OK":
            return CancelAnswer.REQUESTED
        case "ALREADY_COMPLETED":
            return CancelAnswer.TOO_LATE
        case "NOT_FOUND":
            return CancelAnswer.UNKNOWN
    if isinstance(done := body.get("success"), bool) and reply.status == 200:
        return CancelAnswer.REQUESTED if done else CancelAnswer.TOO_LATE
    return CancelAnswer.REQUESTED if reply.status in (200, 202) else None


def read_call(body: bytes) -> Report:
    """What a webhook says: OK with the result, ERROR with the error body, or either without
    anything that shows how the job ended, and then the queue must be asked (`ask`).

    The Report carries the call's request id. Raises CallbackUnreadable.
    """
    call = call_in(body)
    request_id, status = request_id_in(call), call.get("status")
    if request_id is None or not isinstance(status, str):
        raise CallbackUnreadable("malformed", "there is no request_id or no status")
    payload = call.get("payload")
    if status == "OK" and has_media(payload):
        return Report(state=State.COMPLETED, provider_id=request_id, output=payload)
    if status == "ERROR" and isinstance(payload, dict) and _is_error(payload):
        return _ended(fault(payload, _status_in(call.get("error"))), request_id)
    note = f"webhook status {status[:40]!r}, its payload does not show the end"
    return Report(state=None, provider_id=request_id, ask=True, note=note)


def media_in(output: Any) -> list[dict[str, Any]]:
    """The files in a result, videos first: `video.url`, then `videos[].url`, then the like."""
    found: dict[str, dict[str, Any]] = {}
    for url, kind in _files(output):
        kind = kind if isinstance(kind, str) else None
        found.setdefault(url, {"url": url, "content_type": kind, "expires_at": None})
    return list(found.values())


def has_media(output: Any) -> bool:
    """Whether there is any file in a result."""
    return next(_files(output), None) is not None


def _files(output: Any) -> Iterator[tuple[str, Any]]:
    """The address of each file in a result, and what is said of its kind."""
    if not isinstance(output, dict):
        return
    for key in _MEDIA:
        value = output.get(key)
        if value is None:
            continue
        for one in value if isinstance(value, list) else [value]:
            url, kind = (
                (one.get("url"), one.get("content_type")) if isinstance(one, dict) else (one, None)
            )
            if isinstance(url, str) and url.startswith(_MEDIA_SCHEMES):
                yield url, kind


def progress_in(body: dict[str, Any]) -> Progress | None:
    """The place in fal's queue, where it is given as a number that can be one."""
    place = body.get("queue_position")
    if type(place) is int and 0 <= place <= _HIGHEST_POSITION:
        return Progress(queue_position=place)
    return None


def request_id_in(body: dict[str, Any]) -> str | None:
    """`request_id`, which stays the same when fal tries again; `gateway_request_id` does not."""
    return id_in(body.get("request_id"))


def _is_error(payload: dict[str, Any]) -> bool:
    return is_typed(payload) or isinstance(payload.get("detail"), str)


def _status_in(text: Any) -> int | None:
    found = _STATUS_IN_TEXT.search(text) if isinstance(text, str) else None
    return int(found[1]) if found else None


def _ended(error: JobError, request_id: str | None = None) -> Report:
    state = State.CANCELED if error.code is ErrorCode.CANCELED else State.FAILED
    return Report(state=state, provider_id=request_id, error=error)


def _no_media(body: Any) -> JobError:
    return JobError(
        code=ErrorCode.RESULT_UNAVAILABLE,
        message="fal's result has no media in it",
        retryable=False,
        charged=Charged.UNKNOWN,
        provider=body,
    )


def _is_verdict(body: Any, reply: Reply) -> bool:
    """Whether a result that is an error is the model's: typed, or at least a 4xx in JSON."""
    if not isinstance(body, dict) or reply.status < 400:
        return False
    if is_typed(body, reply.headers):
        return True
    return reply.status < 500 and not _UNFINISHED.search(str(body.get("detail")))


def _again(reply: Reply, what: str, *, gone: bool = False) -> Report:
    """Completed at fal, and the result not to be had now; a 404 shows no work going on."""
    note = f"completed; the result GET answered HTTP {reply.status}, {what}"
    return Report(state=None if reply.status == 404 else State.RUNNING, note=note, gone=gone)
