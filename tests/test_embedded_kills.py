"""The embedded Postgres, when a process of it or of ours dies at a bad moment."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
from embedded_programs import (
    HOLDER,
    ended,
    kill,
    postmaster,
    program,
    rows,
    run,
    running,
    said,
    tell,
    until,
    with_a_row,
)

from service.embedded import attach, attached, locks, server
from service.embedded.place import Place, place_in


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    """The place of an empty data directory, where no server is left behind."""
    found = place_in(tmp_path / "data")
    yield found
    if found.home.exists():
        await server.stop(found)


@pytest.fixture
def data_dir(place: Place) -> Path:
    return place.home.parent


async def test_a_killed_owner_leaves_it_running_for_the_next_and_is_not_counted(
    data_dir: Path, place: Place
) -> None:
    async with program(HOLDER, data_dir) as owner:
        assert await said(owner) == "up"
        pid = postmaster(place)
        await with_a_row(place.dsn("callboard"))
        owner.kill()
        await ended(owner)
    async with attached(data_dir) as embedded:
        assert postmaster(place) == pid
        assert await rows(embedded.dsn) == [42]
    assert locks.is_free(place.alive)


@pytest.mark.slow
async def test_ctrl_c_at_the_terminal_of_its_starter_does_not_reach_it(
    data_dir: Path, place: Place
) -> None:
    async with program(HOLDER, data_dir, start_new_session=True) as owner:
        assert await said(owner) == "up"
        assert os.getsid(postmaster(place)) != owner.pid
        async with attached(data_dir, fsync=False):
            os.killpg(owner.pid, signal.SIGINT)
            tell(owner)  # its thread reads on, whatever the signal said
            await ended(owner)
            assert await server.answers(place)


async def test_ensure_brings_back_a_killed_server_with_what_was_committed(
    data_dir: Path, place: Place
) -> None:
    async with attached(data_dir, fsync=False) as embedded:
        await with_a_row(embedded.dsn)
        pid = postmaster(place)
        await embedded.ensure()
        assert postmaster(place) == pid
        await kill(pid, place)
        await asyncio.gather(embedded.ensure(), embedded.ensure())
        assert postmaster(place) != pid
        assert await rows(embedded.dsn) == [42]


@pytest.mark.parametrize("left_behind", ["a living pid", "nothing in it", "garbage"])
async def test_a_stale_pid_file_fools_nobody(
    data_dir: Path, place: Place, left_behind: str
) -> None:
    pid_file = place.cluster / "postmaster.pid"
    async with program("input()") as stranger, attached(data_dir, fsync=False) as embedded:
        await with_a_row(embedded.dsn)
        _, *lines = pid_file.read_text().split("\n")
        await kill(postmaster(place), place)
        for path in (pid_file, place.socket.with_name(f"{place.socket.name}.lock")):
            first = {"a living pid": str(stranger.pid), "garbage": "\xff?"}.get(left_behind)
            path.write_text("\n".join([first, *lines]) if first else "")
        await embedded.ensure()
        assert await rows(embedded.dsn) == [42]
        assert stranger.returncode is None


@pytest.mark.slow
async def test_a_process_of_a_dead_server_keeps_the_next_one_waiting(
    data_dir: Path, place: Place
) -> None:
    """Two servers on the same files would destroy them."""
    async with attached(data_dir, fsync=False) as embedded:
        connection = await asyncpg.connect(embedded.dsn)
        backend = connection.get_server_pid()
        os.kill(backend, signal.SIGSTOP)
        os.kill(postmaster(place), signal.SIGKILL)
        again = asyncio.create_task(embedded.ensure())
        await until(lambda: not locks.is_free(place.turn))
        assert not locks.is_free(place.alive)
        assert not await server.answers(place)
        os.kill(backend, signal.SIGCONT)
        await again
        assert await server.answers(place)
        connection.terminate()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="finds initdb in /proc")
async def test_an_owner_killed_during_initdb_leaves_nothing_in_the_way(
    data_dir: Path, place: Place
) -> None:
    async with program(HOLDER, data_dir) as owner:
        await until(lambda: list(place.home.glob("new-*/base")))
        [initdb] = running(*place.home.glob("new-*"))[:1]
        os.kill(initdb, signal.SIGSTOP)
        owner.kill()
        await ended(owner)
    again = asyncio.create_task(attach(data_dir, fsync=False))
    assert not locks.is_free(place.turn)  # initdb itself holds on to it
    os.kill(initdb, signal.SIGCONT)
    embedded = await again
    await with_a_row(embedded.dsn)
    await embedded.detach()
    assert not list(place.home.glob("new-*"))


@pytest.mark.slow
async def test_an_owner_killed_as_the_server_starts_leaves_nothing_in_the_way(
    data_dir: Path, place: Place
) -> None:
    async with attached(data_dir, fsync=False) as embedded:
        await with_a_row(embedded.dsn)
    for _ in range(3):
        async with program(HOLDER, data_dir) as owner:
            await until(lambda: not locks.is_free(place.alive))
            owner.kill()
            await ended(owner)
        async with attached(data_dir, fsync=False) as embedded:
            assert await rows(embedded.dsn) == [42]
        assert locks.is_free(place.alive)


@pytest.mark.slow
async def test_a_database_that_a_killed_process_was_just_making_is_no_error(
    data_dir: Path, place: Place
) -> None:
    async with attached(data_dir, fsync=False) as embedded:
        await run(place.dsn("postgres"), "drop database callboard")
        await asyncio.gather(*(server.answers(place) for _ in range(4)))
        await embedded.ensure()
        assert await run(embedded.dsn, "select 1")


@pytest.mark.slow
async def test_a_canceled_attach_leaves_no_server_and_no_lock_behind(
    data_dir: Path, place: Place
) -> None:
    attaching = asyncio.create_task(attach(data_dir, fsync=False))
    await until(lambda: list(place.home.glob("new-*/base")))
    attaching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await attaching
    for lock in (place.turn, place.users, place.alive):
        assert locks.is_free(lock), lock
    async with attached(data_dir, fsync=False) as embedded:
        assert await run(embedded.dsn, "select 1")
