"""The embedded Postgres: shared by processes, private to us, and run as any user."""

import asyncio
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest
from embedded_programs import (
    HOLDER,
    ended,
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

from service.embedded import attach, attached, cluster, locks, server
from service.embedded.place import Place, place_in
from service.errors import DatabaseAway

AS_ROOT = os.geteuid() == 0
# Becomes root of a user namespace with the same ids, in which no more namespaces can be made:
# what root is in most containers.
CONTAINED = """
import ctypes, sys
assert ctypes.CDLL(None).unshare(0x10000000) == 0
print("apart", flush=True)
sys.stdin.readline()
open("/proc/sys/user/max_user_namespaces", "w").write("0")
"""
# PR_CAPBSET_DROP of CAP_DAC_OVERRIDE: what the root of a narrower container lacks.
NARROWED = """
assert ctypes.CDLL(None).prctl(24, 1, 0, 0, 0) == 0
"""


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


@pytest.fixture
def open_dir() -> Iterator[Path]:
    """A directory that every user can reach."""
    path = Path(tempfile.mkdtemp(prefix="callboard-test-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


async def test_the_first_to_attach_gets_a_private_empty_database(
    data_dir: Path, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"PGPORT": "1", "PGTZ": "Asia/Tokyo", "LANG": "xx_XX", "HOME": ""}.items():
        monkeypatch.setenv(name, value)
    async with attached(data_dir) as embedded:
        [found] = await run(
            embedded.dsn,
            "select current_database() as name, current_setting('listen_addresses') as tcp,"
            " current_setting('data_checksums') as checksums, current_setting('fsync') as fsync,"
            " current_setting('wal_segment_size') as wal_segment,"
            " current_setting('server_encoding') as encoding, current_setting('timezone') as tz,"
            " (select datcollate from pg_database where datname = 'callboard') as collation,"
            " current_setting('server_version_num')::int / 10000 as major",
        )
        assert dict(found) == {
            "name": "callboard",
            "tcp": "",
            "checksums": "on",
            "fsync": "on",
            "wal_segment": "1MB",
            "encoding": "UTF8",
            "tz": "UTC",
            "collation": "C",
            "major": cluster.MAJOR,
        }
        for path in (place.sockets, place.home, place.socket, place.cluster):
            assert stat.S_IMODE(path.stat().st_mode) == 0o700, path
        assert place.home.stat().st_uid == place.sockets.stat().st_uid == os.geteuid()
    assert locks.is_free(place.alive)


async def test_others_join_and_the_last_one_out_stops_it(data_dir: Path, place: Place) -> None:
    first = await attach(data_dir, fsync=False)
    pid = postmaster(place)
    second = await attach(data_dir, fsync=False)
    async with program(HOLDER, data_dir) as other:
        assert await said(other) == "up"
        await first.detach()
        await first.detach()
        await second.detach()
        assert postmaster(place) == pid
        assert await server.answers(place)
        tell(other)
        assert await ended(other) == 0
    assert locks.is_free(place.alive)
    with pytest.raises(DatabaseAway, match="has left"):
        await first.ensure()


@pytest.mark.slow
async def test_a_start_that_takes_long_is_waited_for_and_told(
    data_dir: Path, place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    if sys.platform != "linux":
        pytest.skip("only Linux has /proc to find the starting process in")
    async with attached(data_dir, fsync=False):
        pass
    caplog.set_level("INFO", "service.embedded")
    attaching = asyncio.create_task(attach(data_dir, fsync=False))
    await until(lambda: running(place.cluster))
    [pid] = running(place.cluster)
    os.kill(pid, signal.SIGSTOP)
    await until(lambda: "Postgres is on its way" in caplog.text)
    assert not attaching.done()
    os.kill(pid, signal.SIGCONT)
    embedded = await attaching
    assert postmaster(place) == pid
    await embedded.detach()


@pytest.mark.slow
async def test_six_processes_racing_on_an_empty_directory_share_one_server(
    data_dir: Path, place: Place
) -> None:
    async with (
        program(HOLDER, data_dir) as one,
        program(HOLDER, data_dir) as two,
        program(HOLDER, data_dir) as three,
        program(HOLDER, data_dir) as four,
        program(HOLDER, data_dir) as five,
        program(HOLDER, data_dir) as six,
    ):
        racers = (one, two, three, four, five, six)
        assert await asyncio.gather(*map(said, racers)) == ["up"] * 6
        assert place.log.read_text().count("starting PostgreSQL") == 1
        for racer in racers:
            assert not locks.is_free(place.alive)
            tell(racer)
        assert await asyncio.gather(*map(ended, racers)) == [0] * 6
    assert locks.is_free(place.alive)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["long" * 30, "a, comma"])
async def test_a_path_that_no_socket_can_have_gets_a_private_directory_elsewhere(
    tmp_path: Path, name: str
) -> None:
    place = place_in(tmp_path / name)
    try:
        async with attached(tmp_path / name, fsync=False) as embedded:
            assert await run(embedded.dsn, "select 1")
            assert not place.sockets.is_relative_to(tmp_path)
            assert stat.S_IMODE(place.sockets.stat().st_mode) == 0o700
        place.sockets.chmod(0o755)
        with pytest.raises(DatabaseAway, match="not a private directory"):
            await attach(tmp_path / name)
    finally:
        shutil.rmtree(place.sockets)


@pytest.mark.slow
async def test_two_directories_have_two_servers(data_dir: Path, tmp_path: Path) -> None:
    async with attached(data_dir, fsync=False) as ours:
        async with attached(tmp_path / "other", fsync=False) as theirs:
            await with_a_row(theirs.dsn)
            with pytest.raises(asyncpg.UndefinedTableError):
                await rows(ours.dsn)
        assert await run(ours.dsn, "select 1")


async def test_a_cluster_of_another_major_version_is_named(data_dir: Path, place: Place) -> None:
    place.cluster.mkdir(parents=True, mode=0o700)
    (place.cluster / "PG_VERSION").write_text("15\n")
    with pytest.raises(DatabaseAway, match=r"Postgres 15, and this is Postgres 18.*DATABASE_URL"):
        await attach(data_dir)


async def test_a_server_that_ends_as_it_starts_says_why(data_dir: Path, place: Place) -> None:
    async with attached(data_dir, fsync=False):
        pass
    (place.cluster / "postgresql.conf").write_text("no_such_setting = on\n")
    with pytest.raises(DatabaseAway, match=r"postgresql\.conf"):
        await attach(data_dir)
    assert locks.is_free(place.users)


def stranger() -> tuple[str, pwd.struct_passwd]:
    """A Python that every user can run, and a user that is not root; skips where there is none."""
    python = f"/usr/bin/python3.{sys.version_info.minor}"
    if not AS_ROOT:
        pytest.skip("only root can become another user")
    if not Path(python).exists():
        pytest.skip(f"this needs {python}: other users may not reach the Python of the tests")
    return python, pwd.getpwnam("nobody")


@pytest.mark.slow
async def test_it_runs_as_an_ordinary_user_without_any_environment(open_dir: Path) -> None:
    python, user = stranger()
    os.chown(open_dir, user.pw_uid, user.pw_gid)
    place = place_in(open_dir)
    paths = {"PYTHONPATH": sysconfig.get_path("purelib")}
    who = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    async with program(HOLDER, open_dir, python=python, env=paths, **who) as owner:
        assert await said(owner) == "up"
        assert place.socket.stat().st_uid == user.pw_uid
        async with attached(open_dir):  # root joins, and later starts it as its owner
            tell(owner)
            assert await ended(owner) == 0
            await with_a_row(place.dsn("callboard"))
    async with attached(open_dir):
        assert place.socket.stat().st_uid == user.pw_uid
    async with program(HOLDER, open_dir, python=python, env=paths, **who) as owner:
        assert await said(owner) == "up"
        assert await rows(place.dsn("callboard")) == [42]
        tell(owner)
        assert await ended(owner) == 0
    assert locks.is_free(place.alive)


def map_all_ids(pid: int) -> None:
    try:
        for kind in ("uid", "gid"):
            Path(f"/proc/{pid}/{kind}_map").write_text("0 0 65536")
    except PermissionError:
        pytest.skip("this root does not have all ids")


@asynccontextmanager
async def contained(
    data_dir: Path, narrower: str = ""
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A holder as a root that may not make user namespaces; skips where nobody may."""
    if not AS_ROOT or sys.platform != "linux":
        pytest.skip("only root on Linux can lose its right to user namespaces")
    words = CONTAINED + narrower + HOLDER
    async with program(words, data_dir, stderr=subprocess.STDOUT) as owner:
        if await said(owner) != "apart":
            pytest.skip("user namespaces are not allowed here anyway")
        map_all_ids(owner.pid)
        tell(owner)
        yield owner


@pytest.mark.slow
async def test_root_in_a_closed_directory_needs_no_user_namespaces(
    data_dir: Path, place: Place, tmp_path: Path
) -> None:
    os.chmod(tmp_path, 0o700)
    async with attached(data_dir, fsync=False) as embedded:
        before = place.cluster.stat().st_uid
        await with_a_row(embedded.dsn)
    async with contained(data_dir) as owner:
        assert before == 0  # as there are namespaces
        assert await said(owner) == "up"
        assert place.cluster.stat().st_uid == place.socket.stat().st_uid != 0
        assert place.sockets.stat().st_uid == place.home.stat().st_uid == 0  # only root gets in
        tell(owner)
        assert await ended(owner) == 0
    async with attached(data_dir, fsync=False) as embedded:
        assert await rows(embedded.dsn) == [42]
    shutil.rmtree(data_dir)
    async with contained(data_dir) as owner:  # its first start, too
        assert await said(owner) == "up"
    assert stat.S_IMODE(os.stat(tmp_path).st_mode) == 0o700


@pytest.mark.slow
async def test_where_no_user_can_run_it_the_error_says_what_to_do(data_dir: Path) -> None:
    async with contained(data_dir, NARROWED) as owner:
        talk, _ = await owner.communicate()
        assert b"DatabaseAway: Postgres does not run as root, and user" in talk
        assert b"set DATABASE_URL" in talk
