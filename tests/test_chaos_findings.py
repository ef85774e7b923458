"""What the chaos runs, and the looks that they led to, found wrong: held so that it stays right."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import aiohttp
import pytest
from chaos.harness import SECRETS, Program, free_port, ready, serving
from embedded_programs import postmaster, until
from posting import ACCEPTED, answering, provider, submitter
from raw_server import serving as raw_serving
from scene import job_row, make_app, make_job, move, rows_of
from sweeping import found_lost

from service.database import Database, migrate
from service.embedded import attached, locks
from service.embedded.place import Place, place_in
from service.errors import DatabaseAway
from service.job import State


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


def server(folder: Path, **env: str) -> tuple[Program, str]:
    """A service of its own, and where it says that it is ready."""
    port = free_port()
    env |= {"CALLBOARD_SECRETS": SECRETS, "CALLBOARD_PORT": str(port)}
    return Program(("serve",), folder / "said.log", env), f"http://127.0.0.1:{port}/readyz"


@pytest.mark.slow
async def test_a_service_that_starts_before_its_database_waits_for_it(
    tmp_path: Path, http: aiohttp.ClientSession
) -> None:
    dsn = place_in(tmp_path).dsn("callboard")
    program, address = server(tmp_path, DATABASE_URL=dsn)
    await program.start()
    try:
        await until(lambda: "waiting for the database" in program.said.read_text())
        async with attached(tmp_path, fsync=False):
            await ready(program, address, http)
            assert "listening on" in program.said.read_text()
    finally:
        await program.end(signal.SIGKILL)


@pytest.mark.slow
async def test_a_service_that_waits_for_its_database_can_be_stopped(tmp_path: Path) -> None:
    program, _ = server(tmp_path, DATABASE_URL=place_in(tmp_path).dsn("callboard"))
    await program.start()
    await until(lambda: "waiting for the database" in program.said.read_text())
    assert await program.end(signal.SIGTERM) == 6
    assert "Traceback" not in program.said.read_text()


@pytest.mark.slow
async def test_an_embedded_postgres_that_dies_is_brought_back_by_who_uses_it(
    tmp_path: Path, http: aiohttp.ClientSession
) -> None:
    program, address = server(tmp_path, CALLBOARD_DATA_DIR=str(tmp_path))
    place = place_in(tmp_path)
    async with serving(program, address, http):
        first = postmaster(place)
        os.kill(first, signal.SIGKILL)
        await until(lambda: is_replaced(place, first))
        await answers(http, address)
        assert await program.end(signal.SIGTERM) == 0
    assert locks.is_free(place.alive)


async def test_a_login_that_postgres_refuses_is_told_in_one_line(dsn: str) -> None:
    with pytest.raises(DatabaseAway):
        await migrate(dsn.replace("postgres@", "nobody_of_that_name@"))


async def test_a_database_that_has_become_read_only_is_away(dsn: str) -> None:
    mark = "&" if "?" in dsn else "?"
    db = await Database.connect(f"{dsn}{mark}default_transaction_read_only=on", size=1)
    try:
        with pytest.raises(DatabaseAway):
            await db.rows("place_events", 60.0)
    finally:
        await db.close()


def is_replaced(place: Place, first: int) -> bool:
    with suppress(OSError, ValueError):  # the pid's file goes, and comes empty
        return postmaster(place) != first
    return False


async def answers(http: aiohttp.ClientSession, address: str) -> None:
    """Returns when it answers 200."""
    status = 0
    while status != 200:
        async with http.get(address) as reply:
            status = reply.status


async def test_a_disagreement_that_holds_a_nul_does_not_stop_later_calls(db: Database) -> None:
    job_id = await make_job(db, await make_app(db), State.COMPLETED)
    for _ in range(2):
        outcome = await move(
            db, job_id, now=State.FAILED, source="callback", output={"a": "b\x00c"}
        )
        assert not outcome.moved
    assert outcome.verdict == "duplicate"


async def test_a_refusal_in_hand_is_worth_more_than_the_doubt_of_who_found_its_lease_ended(
    db: Database,
) -> None:
    """The database was away for longer than a lease, between a POST and the storing of its 429."""
    job_id, doubted = await make_job(db, await make_app(db)), asyncio.Event()
    full = answering("429 Too Many Requests", {"detail": "slow down"}, "Retry-After: 7")

    async def late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await doubted.wait()
        await full(reader, writer)

    async with raw_serving(late) as far:
        submits, other = (submitter(db, provider(far.origin)) for _ in range(2))
        await submits.step()
        await far.arrived.wait()
        await db.pool.execute("update agenda set due_at = now(), lease_until = now()")
        await found_lost(db, other)
        assert (await job_row(db, job_id))["state"] == "unconfirmed"
        doubted.set()
        await submits.finish()
    assert (await job_row(db, job_id))["state"] == "queued"
    assert [row["task"] for row in await rows_of(db, "agenda", job_id)] == ["submit"]
    assert len(far.requests) == 1


async def test_a_sender_whose_lease_ended_does_not_doubt_its_own_reply(db: Database) -> None:
    """The database was away for longer than a lease while the reply waited to be stored."""
    job_id, looked = await make_job(db, await make_app(db)), asyncio.Event()

    async def late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await looked.wait()
        await ACCEPTED(reader, writer)

    async with raw_serving(late) as far:
        submits = submitter(db, provider(far.origin))
        await submits.step()
        await far.arrived.wait()
        await db.pool.execute("update agenda set due_at = now(), lease_until = now()")
        await found_lost(db, submits)
        looked.set()
        await submits.finish()
    history = [row["now"] for row in await rows_of(db, "job_events", job_id, "version")]
    assert history == ["queued", "submitting", "submitted"]
