"""The pretend relay's calls to `notify_hook`: the task at each change of its status, unsigned, one
try each. So midjourney-proxy does it, the only one of the family whose code is open."""

import asyncio
from collections.abc import Iterator
from typing import Any

from service import jsontext
from service.sandbox.callbacks import Call, Hold, attempts, tampered
from service.sandbox.ledger import Answer, CallKind
from service.sandbox.options import Misbehaviour
from service.sandbox.renders import Phase, Render
from service.sandbox.state import Sandbox

_FORGED_URL = "https://media.relay.example/forged.mp4"
_WORDS = {
    Phase.QUEUED: "NOT_START",
    Phase.RUNNING: "IN_PROGRESS",
    Phase.SUCCEEDED: "SUCCESS",
    Phase.FAILED: "FAILURE",
}
_PROGRESS = {Phase.QUEUED: "0%", Phase.RUNNING: "45%"}


def task(render: Render, phase: Phase) -> dict[str, Any]:
    """A task in `phase`, as a query answers it and as a call tells it."""
    url = f"https://media.relay.example/{render.ids[0]}.mp4"
    return {
        "task_id": render.ids[0],
        "status": _WORDS[phase],
        "fail_reason": (render.fault or "") if phase is Phase.FAILED else "",
        "submit_time": int(render.created_at),
        "start_time": int(render.started_at or 0),
        "finish_time": int(render.ended_at or 0) if phase not in _PROGRESS else 0,
        "progress": _PROGRESS.get(phase, "100%"),
        "data": {"output": url, "outputs": [url]} if phase is Phase.SUCCEEDED else {},
    }


class Hooks:
    """Tells the app of each change."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._hold = Hold()

    async def tell(self, render: Render, phase: Phase, heard: asyncio.Event) -> None:
        """Makes the calls about one change, one after another, and notes how each was answered.

        `heard` is set after the true one, and in any case at the end.
        """
        try:
            async with render.telling:
                if Misbehaviour.REORDER in render.fate and phase is not Phase.RUNNING:
                    await self._hold.wait()
                for call in self._calls(render, phase):
                    await self._make(render, call)
                    if call.kind is CallKind.TRUE:
                        heard.set()
                        self._hold.gone()
        finally:
            heard.set()

    async def _make(self, render: Render, call: Call) -> None:
        async for status in attempts(self._sandbox.session, call):
            render.entry.callbacks.append(Answer(kind=call.kind, status=status))

    def _calls(self, render: Render, phase: Phase) -> Iterator[Call]:
        url, fate = render.callback_url, render.fate
        if url is None:
            return
        lost, late = Misbehaviour.LOSE in fate, Misbehaviour.REORDER in fate
        begun = _call(CallKind.PROGRESS, url, task(render, Phase.RUNNING))
        if phase is Phase.RUNNING:
            if not lost and not late:
                yield begun
            return
        shown = task(render, phase)
        if Misbehaviour.NULL_PAYLOAD in fate:
            shown["data"] = None
        true = _call(CallKind.TRUE, url, shown)
        if Misbehaviour.FORGE in fate:
            yield _forged(render, url)
        if Misbehaviour.CORRUPT in fate:
            yield Call(**_parts(CallKind.CORRUPT, url, true.body[: len(true.body) * 2 // 3]))
        if not lost:
            yield true
        if Misbehaviour.DUPLICATE in fate:
            yield Call(**_parts(CallKind.DUPLICATE, url, true.body))
        if late and not lost:  # the older state after the newer one
            yield begun


def _forged(render: Render, url: str) -> Call:
    """A false success: by turns under a tampered token, and, by someone who has seen the address,
    under the right one."""
    body = task(render, Phase.SUCCEEDED) | {"data": {"outputs": [_FORGED_URL]}}
    second = render.fate.second_kind(Misbehaviour.FORGE)
    return _call(CallKind.FORGED, url if second else tampered(url), body)


def _call(kind: CallKind, url: str, body: dict[str, Any]) -> Call:
    return Call(**_parts(kind, url, jsontext.dumps(body).encode()))


def _parts(kind: CallKind, url: str, body: bytes) -> dict[str, Any]:
    return {"kind": kind, "url": url, "body": body, "headers": lambda _: {}, "tries": 1}
