"""What acts by hand are tested with: a sandbox's fal, a submitter and a sweeper run by the test."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import app_client
import posting
import pytest
import sweeping
from sandbox_client import Client
from sandbox_rounds import serving
from scene import job_row, make_job, rows_of

from service.database import Database
from service.errors import RequestFault
from service.job import State
from service.operating import Actor, Parts
from service.pooled import Asker
from service.providers import Provider
from service.submit import Submitter
from service.sweep import Sweeper

PATIENCE = 20
ALICE = Actor(who="key_alice")
WHY = Actor(who="key_alice", reason="the customer waits")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A Callboard whose background work goes round when the test says so."""

    db: Database
    app_id: UUID
    sandbox: Client
    provider: Provider
    parts: Parts
    submits: Submitter
    sweeper: Sweeper

    async def job(self, **more: Any) -> UUID:
        """A queued job with a prompt of its own."""
        prompt = f"boat {next(self.sandbox.numbers)}"
        return await make_job(self.db, self.app_id, input={"prompt": prompt}, **more)

    async def sent(self, **more: Any) -> UUID:
        """A job that was submitted to the sandbox."""
        job = await self.job(**more)
        await self.submit()
        return job

    async def submit(self) -> None:
        """One round of the submitter, over what is due."""
        await posting.one_round(self.submits)

    async def sweep(self) -> None:
        """One round of the sweeper, over what is due."""
        await sweeping.one_round(self.sweeper)

    async def asked(self) -> None:
        """The same, over everything that is left to ask."""
        await self.db.pool.execute(
            "update agenda set due_at = now(), lease_until = null where task <> 'submit'"
        )
        await self.sweep()

    async def state(self, job: UUID) -> str:
        return str((await job_row(self.db, job))["state"])

    async def until(self, job: UUID, state: State) -> None:
        """Asks after everything until the job is there."""
        async with asyncio.timeout(PATIENCE):
            while await self.state(job) != state:
                await self.asked()

    async def rendered(self) -> None:
        """Waits until the sandbox has ended all that it took."""
        async with asyncio.timeout(PATIENCE):
            while (await self.sandbox.ledger())["totals"]["pending"]:
                pass

    async def acts(self, job: UUID) -> list[tuple[str, int, str, str | None]]:
        """What was done to it by hand: the act, its attempt, who, and why."""
        rows = await rows_of(self.db, "operator_actions", job, "id")
        return [(row["act"], row["attempt"], row["who"], row["reason"]) for row in rows]

    async def detail(self, job: UUID) -> Any:
        """What came of the last act."""
        *_, last = await rows_of(self.db, "operator_actions", job, "id")
        return json.loads(last["detail"])

    async def attempt(self, job: UUID, number: int = 1) -> Any:
        rows = await rows_of(self.db, "attempts", job, "number")
        return rows[number - 1]

    async def accepted(self) -> int:
        """How many submissions the sandbox has taken."""
        return int((await self.sandbox.ledger())["totals"]["accepted"])


@asynccontextmanager
async def acting_at(db: Database, provider: Provider) -> AsyncIterator[Parts]:
    """The parts of acts over one provider."""
    asker = Asker()
    try:
        yield app_client.parts(db, {provider.name: provider}, asker)
    finally:
        await asker.aclose()


@asynccontextmanager
async def staged(db: Database, app_id: UUID, **options: Any) -> AsyncIterator[Stage]:
    """A stage whose sandbox never calls back; it renders for a minute unless told otherwise."""
    async with serving(**{"lose": 1.0, "render_seconds": 60.0} | options) as sandbox:
        provider = posting.provider(f"{sandbox.url}/fal")
        async with acting_at(db, provider) as parts:
            submits = posting.submitter(db, provider)
            asker = Asker()
            sweeper = sweeping.sweeper_of(db, {"fal": provider}, asker, lost=submits.doubt)
            yield Stage(
                db=db,
                app_id=app_id,
                sandbox=sandbox,
                provider=provider,
                parts=parts,
                submits=submits,
                sweeper=sweeper,
            )
            await asker.aclose()


async def refused(act: Awaitable[None], code: str, *words: str) -> RequestFault:
    """The fault with which the act is refused: its code, and its words."""
    with pytest.raises(RequestFault) as caught:
        await act
    assert caught.value.code == code, caught.value
    for word in words:
        assert word in str(caught.value)
    return caught.value
