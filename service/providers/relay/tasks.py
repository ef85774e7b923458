"""Reads a relay's task: by query, or as `notify_hook` was told it.

Facts: docs.yutoai.net, the unified v2 format. `notify_hook`'s body is documented nowhere; its
relatives' are, and each is read: docs.crazyrouter.com reference/callback, Kling's callback page,
docs.kie.ai, and midjourney-proxy's docs/api.md.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from service.errors import CallbackUnreadable
from service.job import State
from service.providers import Progress, Reply, Report
from service.verdicts import failed
from service.wire import id_in, media, object_in, text_in

_QUEUED = ("not_start", "notstart", "submitted", "queued", "queueing", "pending")
_RUNNING = ("in_progress", "processing", "running", "generating")
_SUCCEEDED = ("success", "succeeded", "succeed", "completed")
_FAILED = ("failure", "failed", "fail", "error")
# midjourney-proxy's `state` is whatever its caller sent along: it comes last.
_WORDS = ("status", "task_status", "state")
_REASONS = (
    *("fail_reason", "failReason", "failure_reason", "task_status_msg"),
    *("message", "msg", "error"),
)
_MOST_FILES = 100


def read_query(reply: Reply) -> Report:
    """What a query's reply says: its body, not its header, shows whether it is JSON."""
    body = object_in(reply.content)
    task = _task(body)
    if not 200 <= reply.status < 300 or _word(task) is None:
        note = f"the relay answered HTTP {reply.status} without a status"
        return Report(state=None, note=note, gone=reply.status == 404 and bool(body))
    return _read(task)


def read_call(body: Mapping[str, Any]) -> Report:
    """What a call to `notify_hook` says; the relay must be asked where it shows no end and no
    work. Raises CallbackUnreadable where it names no task."""
    task = _task(body)
    task_id = id_of(body)
    if task_id is None:
        raise CallbackUnreadable("malformed", "there is no task id")
    report = _read(task, task_id)
    if report.state is None or report.note is not None:
        return Report(state=None, provider_id=task_id, ask=True, note=report.note)
    return report


def id_of(body: Mapping[str, Any]) -> str | None:
    """A task's id: `task_id`, on some relays `id`; there or in `data`. The `id` beside a status
    goes before what is in `data`; without one it may be that of the call."""
    task, inner = _task(body), _inner(body)
    own = id_in(task.get("task_id")) or (id_in(task.get("id")) if _word(task) else None)
    return own or id_in(inner.get("task_id")) or id_in(body.get("id"))


def progress_in(task: Mapping[str, Any]) -> Progress | None:
    """How far it is, told in percent: `"45%"`, `"45"`, 45; or as a share between 0 and 1."""
    told = task.get("progress")
    if isinstance(told, bool) or not isinstance(told, str | int | float):
        return None
    try:
        percent = float(told.strip().removesuffix("%") if isinstance(told, str) else told)
    except (ValueError, OverflowError):
        return None
    share = percent if isinstance(told, float) and 0 < percent < 1 else percent / 100
    return Progress(fraction=share) if 0 <= share <= 1 else None


def media_in(output: Any) -> list[dict[str, Any]]:
    """The files in a task, in the order in which relays are known to fill its fields."""
    if not isinstance(output, dict):
        return []
    found: dict[str, dict[str, Any]] = {}
    for url in _urls(output):
        for one in media(url):
            found.setdefault(url, one)
    return list(found.values())[:_MOST_FILES]


def _urls(task: Mapping[str, Any]) -> Iterator[Any]:
    data, result = _inner(task), task.get("task_result")
    result = result if isinstance(result, dict) else {}
    for place, key in (
        *((data, "outputs"), (data, "output"), (task, "outputs"), (task, "output")),
        *((task, "video_url"), (data, "video_url"), (result, "videos")),
    ):
        value = place.get(key)
        for one in value if isinstance(value, list) else [value]:
            yield (one.get("url") or one.get("video_url")) if isinstance(one, dict) else one


def _task(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """The part of a body that is the task: itself, or its `data` where the word is in there."""
    inner = _inner(body)
    if _word(inner) is None or (_word(body) is not None and id_in(inner.get("task_id")) is None):
        return body
    return body if _word(body) is not None and id_in(body.get("task_id")) else inner


def _inner(body: Mapping[str, Any]) -> Mapping[str, Any]:
    data = body.get("data")
    return data if isinstance(data, dict) else {}


def _word(task: Mapping[str, Any]) -> str | None:
    """The task's status word as it came."""
    return text_in(*(task.get(key) for key in _WORDS))


def _read(task: Mapping[str, Any], task_id: str | None = None) -> Report:
    said = _word(task) or ""
    word = said.strip().casefold().replace(" ", "_").replace("-", "_")
    if word in _QUEUED or word in _RUNNING:
        state = State.SUBMITTED if word in _QUEUED else State.RUNNING
        return Report(state=state, provider_id=task_id, progress=progress_in(task))
    if word in _FAILED:
        return failed(*_reason(task), raw=task, provider_id=task_id)
    if word not in _SUCCEEDED:
        return Report(state=None, provider_id=task_id, note=f"unknown status {said[:40]!r}")
    if not media_in(task):
        note = "succeeded, without its URL yet"
        return Report(state=State.RUNNING, provider_id=task_id, note=note, resultless=True)
    return Report(state=State.COMPLETED, provider_id=task_id, output=task)


def _reason(task: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Why it failed: the first of the fields for it that says something; and its code."""
    told = [task.get(key) for key in _REASONS]
    nested = [one for one in told if isinstance(one, dict)]
    said = text_in(*told, *(one.get("message") for one in nested))
    return said, text_in(*(one.get("code") for one in nested))
