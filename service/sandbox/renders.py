"""The renders of a pretend provider that is polled by one id: taken in, rendered by the clock,
ended and forgotten."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from service.sandbox.fates import Fate
from service.sandbox.ledger import Entry, Outcome
from service.sandbox.options import Misbehaviour
from service.sandbox.state import Sandbox

QUEUE_SHARE = 0.2
SLOWDOWN = 10
FAULTS = ("The upstream model did not answer in time.", "The prompt was rejected by review.")


class Phase(StrEnum):
    """Where a render stands; each provider has its own words for these."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


@dataclass(slots=True, kw_only=True, eq=False)
class Render:
    """One accepted submission. `fault` is why it will have failed; times are unix seconds.

    `telling` keeps what is told of it in the order in which it happened."""

    ids: Sequence[str]
    model: str
    callback_url: str | None
    fate: Fate
    entry: Entry
    fault: str | None
    created_at: float = field(default_factory=time.time)
    started_at: float | None = None
    ended_at: float | None = None
    kept_until: float | None = None
    looks_at_end: int = 0
    phase: Phase = Phase.QUEUED
    telling: asyncio.Lock = field(default_factory=asyncio.Lock)


Told = Callable[[Render, Phase, asyncio.Event], Coroutine[Any, Any, None]]


class Renders:
    """Every render that one pretend provider still knows, by id. `told` is run, beside the render,
    for each change of its phase; it sets the event once the app has heard of it."""

    def __init__(self, sandbox: Sandbox, told: Told | None = None) -> None:
        self._sandbox = sandbox
        self._told = told
        self._renders: dict[str, Render] = {}

    async def accept(
        self, *, ids: Sequence[str], model: str, body: bytes, callback_url: str | None = None
    ) -> Render:
        """Takes a submission: counted at once, under the first of its ids, and rendered from now
        on. Where its fate is to be early, it is over and told when this returns."""
        sandbox = self._sandbox
        fate = sandbox.fates.draw(sandbox.options, has_callback=callback_url is not None)
        entry = sandbox.ledger.accept(
            request_id=ids[0], model=model, body=body, callback_url=callback_url, fate=fate
        )
        fault = FAULTS[fate.second_kind(Misbehaviour.ERROR)] if Misbehaviour.ERROR in fate else None
        render = Render(
            ids=ids, model=model, callback_url=callback_url, fate=fate, entry=entry, fault=fault
        )
        self._renders |= dict.fromkeys(ids, render)
        if Misbehaviour.EARLY in fate:
            await self._end(render).wait()
        else:
            sandbox.start(self._life(render))
        return render

    def ask(self, render_id: str) -> Render | None:
        """The render that a poll asks for, counted as such; None where it is not known any more."""
        render = self._renders.get(render_id)
        if render is None:
            return None
        if render.kept_until is not None and time.monotonic() >= render.kept_until:
            del self._renders[render_id]
            return None
        render.entry.polls += 1
        if render.phase in (Phase.SUCCEEDED, Phase.FAILED):
            render.looks_at_end += 1
        return render

    async def _life(self, render: Render) -> None:
        seconds = self._sandbox.options.render_seconds
        seconds *= SLOWDOWN if Misbehaviour.SLOW in render.fate else 1
        await asyncio.sleep(seconds * QUEUE_SHARE)
        render.started_at = time.time()
        self._move(render, Phase.RUNNING)
        await asyncio.sleep(seconds * (1 - QUEUE_SHARE))
        self._end(render)

    def _end(self, render: Render) -> asyncio.Event:
        failed = render.fault is not None
        render.ended_at = time.time()
        render.kept_until = time.monotonic() + self._sandbox.options.retention_seconds
        render.entry.outcome = Outcome.FAILED if failed else Outcome.COMPLETED
        return self._move(render, Phase.FAILED if failed else Phase.SUCCEEDED)

    def _move(self, render: Render, phase: Phase) -> asyncio.Event:
        """Moves it, and tells of it; the event is set once the app has heard."""
        render.phase, heard = phase, asyncio.Event()
        if self._told is None:
            heard.set()
        else:
            self._sandbox.start(self._told(render, phase, heard))
        return heard
