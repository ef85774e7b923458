"""Jobs for providers that refuse or fail them, and what is known of the providers then."""

import re
from uuid import UUID

import pytest
from posting import answering, one_round, sending
from pydantic import SecretStr
from raw_server import Talk
from scene import make_job

from service.database import Database
from service.providers import Provider, genviral, prism
from service.store import health
from service.store.health import Room

OUT_OF_BALANCE = answering("403 No", {"detail": "User is locked. Reason: Exhausted balance."})
DENIED = answering("401 Who", {"detail": "bad key"})
NO_FREE_TIER = answering("503 Paused", {"error": "free_tier_paused", "message": "Paused for now"})
AWAY = answering("503 Away", {})


async def jobs(db: Database, studio: UUID, count: int, **more: object) -> list[UUID]:
    """Queued jobs, oldest first."""
    made = [await make_job(db, studio, **more) for _ in range(count)]
    await due(db)
    return made


async def due(db: Database) -> None:
    """What waits for its own time to be submitted is due, in the order in which it was made."""
    await db.pool.execute(
        "update agenda set due_at = created_at from jobs"
        " where jobs.id = job_id and task = 'submit' and lease_until is null"
    )


async def room_of(db: Database, name: str = "fal") -> Room:
    return (await health.rooms(db, [name], count_to=100))[name]


async def pause_ends(db: Database) -> None:
    await db.pool.execute("update provider_health set paused_until = now()")


def pauses_told(caplog: pytest.LogCaptureFixture) -> list[int]:
    """How long each pause was, in seconds, as the log has it."""
    told = [re.search(r"is paused, (\d+) s", record.message) for record in caplog.records]
    return [int(found[1]) for found in told if found]


async def sent(db: Database, talk: Talk, *, rounds: int = 1) -> int:
    """How many POSTs a process that starts now makes to fal, which answers so."""
    async with sending(db, talk) as (submits, server):
        for _ in range(rounds):
            await one_round(submits)
    return len(server.requests)


def genviral_at(url: str) -> Provider:
    built = genviral.build(genviral.Settings(genviral_key=SecretStr("a.b"), genviral_url=url))
    assert built is not None
    return built


def prism_at(url: str) -> Provider:
    built = prism.build(prism.Settings(prism_key=SecretStr("key"), prism_url=url))
    assert built is not None
    return built
