"""service/silence.py: a provider that used to call back and does not is noticed, said and shown."""

import asyncio
import logging
import signal
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from uuid import UUID

import pytest
from app_client import fal_provider, relay_provider
from lived import call, happened, sent
from pydantic import SecretStr
from running import environment, running
from scene import SECRETS, S, make_app, make_job

from service.database import Database
from service.job import State
from service.providers import Provider, prism
from service.silence import JOBS, LOOK_SECONDS, Listener
from service.store import reconciliation

MINUTE = 60.0


class Clock:
    """A clock that a test turns."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def listener(
    db: Database, *providers: Provider, clock: Callable[[], float] | None = None
) -> Listener:
    chosen = {one.name: one for one in providers or (fal_provider(),)}
    more = {} if clock is None else {"clock": clock}
    return Listener(db, chosen, wake=asyncio.Event(), **more)


async def heard(db: Database, app: UUID, minutes_ago: float, **more: str) -> UUID:
    """A job that its callback ended."""
    job = await sent(db, app, **more)
    await call(db, job, S.COMPLETED, provider=more.get("provider", "fal"))
    at = -minutes_ago * MINUTE
    return await happened(db, job, posted=at - 100, ended=at, called=(at,))


async def unheard(
    db: Database, app: UUID, minutes_ago: float, state: State = S.COMPLETED, **more: str
) -> UUID:
    """A job that a poll ended, and whose callback never came."""
    job = await sent(db, app, state, **more)
    at = -minutes_ago * MINUTE
    return await happened(db, job, posted=at - 100, ended=at)


async def silent(db: Database) -> dict[str, datetime]:
    return await reconciliation.silent(db)


@pytest.fixture
async def app(db: Database, caplog: pytest.LogCaptureFixture) -> UUID:
    caplog.set_level(logging.INFO, "service.silence")
    return await make_app(db)


async def test_a_provider_that_stops_calling_is_said_once_and_its_return_too(
    db: Database, app: UUID, caplog: pytest.LogCaptureFixture
) -> None:
    await heard(db, app, 200)
    oldest = await unheard(db, app, 120, S.FAILED)
    for n in range(JOBS - 2):
        await unheard(db, app, 100 - n)
    await listener(db).step()
    assert await silent(db) == {}, "that is not enough to tell"
    await unheard(db, app, 20)
    await asyncio.gather(*(listener(db).step() for _ in range(3)))  # as three processes would
    first = await db.pool.fetchval("select min(finished_at) from jobs where learnt_by = 'poll'")
    assert await silent(db) == {"fal": first}
    (begun,) = caplog.records
    assert begun.levelno == logging.ERROR
    for words in ("fal", first.isoformat()[:19], "CALLBOARD_PUBLIC_URL", "proxy", "tokens"):
        assert words in begun.getMessage()
    await listener(db).step()
    assert len(caplog.records) == 1
    await call(db, oldest, S.FAILED)  # at last: it counts at once
    await asyncio.gather(*(listener(db).step() for _ in range(3)))
    assert await silent(db) == {}
    assert [(one.levelname, one.getMessage()) for one in caplog.records[1:]] == [
        ("INFO", "the callbacks of fal come again")
    ]


async def test_who_never_called_has_not_fallen_silent(db: Database, app: UUID) -> None:
    for n in range(JOBS + 1):
        await unheard(db, app, 30 + n)
    await listener(db).step()
    assert await silent(db) == {}


async def test_a_callback_may_still_be_on_its_way(db: Database, app: UUID) -> None:
    await heard(db, app, 200)
    for _ in range(JOBS + 1):
        await unheard(db, app, 9)
    await listener(db).step()
    assert await silent(db) == {}


async def test_a_few_lost_ones_among_others_are_no_silence(db: Database, app: UUID) -> None:
    await heard(db, app, 200)
    for n in range(JOBS):
        await unheard(db, app, 60 - n)
    await heard(db, app, 5)
    await listener(db).step()
    assert await silent(db) == {}


async def test_only_jobs_that_should_have_been_called_about_count(db: Database, app: UUID) -> None:
    await heard(db, app, 200)
    for n in range(JOBS):
        await unheard(db, app, 100 - n, S.CANCELED)
        await happened(db, await make_job(db, app, S.COMPLETED), posted=-7000, ended=-6000)
        await sent(db, app, S.RUNNING)
    refused = await sent(db, app, S.COMPLETED)
    await call(db, refused, verdict="refused", reason="signature_invalid")
    await happened(db, refused, posted=-7000, ended=-6000, called=(-5990,))
    await listener(db).step()
    assert await silent(db) == {}


async def test_refused_calls_do_not_break_the_silence(db: Database, app: UUID) -> None:
    await heard(db, app, 200)
    for n in range(JOBS):
        job = await sent(db, app, S.COMPLETED)
        await call(db, job, verdict="refused", reason="signature_invalid")
        at = -6000.0 + n
        await happened(db, job, posted=at - 100, ended=at, called=(at,))
    await listener(db).step()
    assert set(await silent(db)) == {"fal"}


async def test_each_provider_is_judged_by_its_own_calls(db: Database, app: UUID) -> None:
    relays = {"provider": "relay", "model": "sora-2"}
    await heard(db, app, 200, **relays)
    for n in range(JOBS):
        await unheard(db, app, 100 - n, **relays)
    await heard(db, app, 200)
    for n in range(JOBS - 1):
        await unheard(db, app, 100 - n)
    await listener(db, fal_provider(), relay_provider()).step()
    assert set(await silent(db)) == {"relay"}


async def test_a_provider_without_callbacks_is_not_looked_at(db: Database, app: UUID) -> None:
    built = prism.build(prism.Settings(prism_key=SecretStr("k")))
    assert built is not None
    await heard(db, app, 200, provider="prism", model="prism-1")
    for n in range(JOBS):
        await unheard(db, app, 100 - n, provider="prism", model="prism-1")
    await listener(db, built).step()
    assert await silent(db) == {}


async def test_it_looks_once_a_minute(db: Database, app: UUID) -> None:
    clock = Clock()
    one = listener(db, clock=clock)
    await heard(db, app, 200)
    assert not await one.step()
    for n in range(JOBS):
        await unheard(db, app, 100 - n)
    clock.now += LOOK_SECONDS - 1
    assert not await one.step()
    assert await silent(db) == {}
    clock.now += 1
    assert not await one.step()
    assert set(await silent(db)) == {"fal"}


async def test_the_service_looks_by_itself(
    db: Database, dsn: str, app: UUID, tmp_path: Path
) -> None:
    await heard(db, app, 200)
    for n in range(JOBS):
        await unheard(db, app, 100 - n)
    secrets = ",".join(SECRETS)
    env = environment(DATABASE_URL=dsn, CALLBOARD_SECRETS=secrets, FAL_KEY="any:key")
    async with running("serve", "--role", "worker", env=env, cwd=str(tmp_path)) as service:
        await service.said("ERROR.* the callbacks of fal have stopped")
        service.send(signal.SIGTERM)
        assert await service.ended() == 0
