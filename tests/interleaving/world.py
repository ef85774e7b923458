"""One story's world: its jobs, and what was begun and done about them, by whom."""

import asyncio
import itertools
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any
from uuid import UUID

import scene

from interleaving import tables
from interleaving.books import Deed, Word
from interleaving.calls import VERDICTS, What, call_of
from interleaving.fal import Render
from interleaving.process import DEADLINE
from interleaving.stage import Stage
from interleaving.tables import Snapshot
from service.errors import DatabaseAway, RequestFault
from service.job import ALL_EVENT_TYPES, END_EVENT_TYPES
from service.operating import Actor

MOST = 5  # that wait in one process: it has a connection for each


class Complaints(logging.Handler):
    """What Callboard logs as an error, or asyncio; less what it says of calls that were refused."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        fault = record.exc_info[1] if record.exc_info else None
        if record.levelno == logging.ERROR and record.name != "service.alarm":
            self.said.append(f"{record.getMessage()}: {fault!r}" if fault else record.getMessage())


class World:
    """What has happened on the stage since the story began. `faults` is what nobody should raise,
    `story` what is told."""

    def __init__(self, dsn: str) -> None:
        self.story: list[str] = []
        self.stage = Stage(dsn, self.story.append)
        self.complaints = Complaints()

    async def begin(self) -> None:
        """A new story: nothing has happened yet."""
        self.story.clear()
        self.deeds: list[Deed] = []
        self.words: list[Word] = []
        self.faults: list[str] = []
        self.rounds: dict[tuple[str, str], asyncio.Task[None]] = {}
        self.orphans: set[tuple[str, int]] = set()  # attempts whose sender may have been killed
        self.complaints.said.clear()
        self._numbers = itertools.count(1)
        db = self.stage.control
        self.app_id = await scene.make_app(db)
        self.subscriptions = {
            str(await scene.subscribe(db, self.app_id, "https://app.example/", [*wanted])): wanted
            for wanted in (ALL_EVENT_TYPES, END_EVENT_TYPES)
        }

    async def make(self, *, hook: bool) -> None:
        """A job, queued."""
        number = len(self.stage.fal.names) + 1
        job_id = await scene.make_job(
            self.stage.control,
            self.app_id,
            input={"prompt": f"boat {number}"},
            deadline_seconds=DEADLINE,
            notify_hook="https://hook.example/" if hook else None,
        )
        self.stage.fal.names[job_id] = f"j{number}"

    def start(
        self, name: str, what: str, work: Callable[..., Coroutine[Any, Any, None]], *values: Any
    ) -> None:
        """Lets a process begin something, unless it has enough to do already."""
        if len(self.stage.gate.of(name)) < MOST:
            self.story.append(f"  {name} begins: {what}")
            self.stage.loop.start(name, self._watched(what, work(*values)))

    def goes_round(self, name: str, what: str, step: Callable[[], Awaitable[bool]]) -> None:
        """The same, of what a process does by itself: one such step after the other."""
        before = self.rounds.get((name, what))
        if before is None or before.done():
            self.rounds[name, what] = self.stage.loop.start(name, self._watched(what, step()))

    async def _watched(self, what: str, work: Awaitable[Any]) -> None:
        try:
            await work
        except DatabaseAway as fault:
            self.story.append(f"  {what}: {fault}")
        except Exception as fault:
            self.faults.append(f"{what} raised {fault!r}")

    async def act(self, deed: Deed, work: Callable[[], Awaitable[None]]) -> None:
        """Does it, and keeps what came of it."""
        self.deeds.append(deed)
        try:
            await work()
            deed.result = "done"
        except RequestFault as fault:
            deed.result = None if fault.charged == "unknown" else fault.code
        self.story.append(f"  {deed.who}, {deed.act} of attempt {deed.attempt}: {deed.result}")

    def actor(self, source: str) -> Actor:
        """Somebody who acts once."""
        return Actor(who=f"key_{next(self._numbers)}", source=source, reason="it is time")

    async def call(self, name: str, render: Render, what: What) -> None:
        """The provider calls a process about a render."""
        render.called |= what in VERDICTS
        call = call_of(render, what, f"192.0.2.{next(self._numbers)}")
        answer = await self.stage.processes[name].receiver.receive(call)
        if answer.status == 200 and (verdict := VERDICTS.get(what)):
            self.words.append((render.about.job_id, render.about.attempt, verdict))
        if what is What.FORGED and answer.status == 200:
            self.faults.append("a forged call was taken")
        self.story.append(f"  {name} answers {what} of {render.id}: {answer.status} {answer.word}")

    async def kill(self, name: str) -> None:
        """A process is gone, in the middle of what it was doing; a new one is there."""
        self.stage.counts["kills"] += 1
        posts = self.stage.fal.posts
        elsewhere = {post.key for post in posts if post.who != name and not post.settled}
        self.orphans |= {post.key for post in posts if post.who == name}
        for job in (await tables.look(self.stage.control))["jobs"]:
            if job["state"] in ("queued", "submitting", "unconfirmed"):
                self.orphans |= {(job["id"], job["attempt"])} - elsewhere
        await self.stage.replace(name)

    async def look(self) -> Snapshot:
        """How everything stands; the story says it in short."""
        snapshot = await tables.look(self.stage.control)
        self.story.append("  " + "; ".join(self._shown(snapshot)))
        return snapshot

    def _shown(self, snapshot: Snapshot) -> Iterator[str]:
        for job in snapshot["jobs"]:
            tasks = [
                row["task"] + " due" * row["is_due"] + " leased" * row["is_leased"]
                for row in tables.of_job(snapshot, "agenda", job["id"])
            ]
            state, version, attempt = job["state"], job["version"], job["attempt"]
            yield f"{self.name(job['id'])}#{attempt} {state} v{version} {tasks}"

    def name(self, job_id: str) -> str:
        """What the story calls a job."""
        return self.stage.fal.names[UUID(job_id)]
