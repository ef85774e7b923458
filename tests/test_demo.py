"""The demo is real: it passes from its script, fails when something is wrong, and cleans up."""

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from glob import glob
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from running import environment

from service import jsontext
from service.commands import demo
from service.commands.demo.cases import CASES
from service.commands.demo.report import Outcome
from service.commands.demo.subscriber import Event

ROOT = Path(__file__).parent.parent
SECONDS = 120
ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+")
FOREIGN = {"DATABASE_URL": "postgresql://nowhere/none", "FAL_TRUST": "hint", "CALLBOARD_PORT": "x"}


class Running:
    """The demo under way, in a group of its own as under a terminal."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.out = ""
        self.err = asyncio.create_task(self._all_of(process.stderr))

    async def _all_of(self, stream: asyncio.StreamReader | None) -> str:
        assert stream is not None
        return (await stream.read()).decode()

    async def said(self, words: str) -> None:
        """Returns when a line on stdout has `words` in it."""
        assert self.process.stdout is not None
        async with asyncio.timeout(SECONDS):
            while not any(words in line for line in self.out.splitlines()):
                line = await self.process.stdout.readline()
                assert line, f"ended without {words!r}:\n{self.out}\n{await self.err}"
                self.out += line.decode()

    async def ended(self) -> int:
        """Its exit code, once all is read and it is gone."""
        async with asyncio.timeout(SECONDS):
            self.out += await self._all_of(self.process.stdout)
            await self.err
            return await self.process.wait()


@asynccontextmanager
async def demonstrating(folder: Path, *words: str, **more: str) -> AsyncIterator[Running]:
    """`scripts/demo *words`, with `folder` for everything temporary."""
    process = await asyncio.create_subprocess_exec(
        *(ROOT / "scripts" / "demo", *words),
        env=environment(HOME=str(folder), **more) | {"TMPDIR": str(folder)},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    under_way = Running(process)
    try:
        yield under_way
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGTERM)
        await under_way.ended()


async def nothing_is_left(folder: Path, told: str) -> bool:
    """Whether every address that was named is silent again and nothing lies or runs in `folder`."""
    addresses = {address[0] for address in ADDRESS.finditer(told)}
    assert addresses
    for address in addresses:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", urlsplit(address).port)
        except ConnectionRefusedError:
            continue
        writer.close()
        return False
    return not processes_in(folder) and os.listdir(folder) == []


def processes_in(folder: Path) -> list[str]:
    """The processes that stand in `folder` or were started on files in it (Linux only)."""
    found = []
    for process in glob("/proc/[0-9]*"):
        with suppress(OSError):
            words = Path(process, "cmdline").read_bytes() + os.fsencode(
                os.readlink(f"{process}/cwd")
            )
            if os.fsencode(folder) in words:
                found.append(process)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A demo that went on to its end, in its `folder`; `listed` is what `jobs list` said of it."""

    folder: Path
    code: int
    out: str
    err: str
    listed: str = ""


async def shown(folder: Path, *words: str, **more: str) -> Shown:
    """Runs it with this empty folder to itself."""
    async with demonstrating(folder, *words, **more) as under_way:
        listed = await stopped(folder, under_way) if "--keep" in words else ""
        code = await under_way.ended()
    return Shown(
        folder=folder, code=code, out=under_way.out, err=await under_way.err, listed=listed
    )


async def stopped(folder: Path, kept: Running) -> str:
    """Tells a demo that goes on to end; what it said of its jobs, asked as it says itself."""
    await kept.said("the service's log")
    told = dict(re.findall(r"(CALLBOARD_\w+)=(\S+)", kept.out))
    listed = await asyncio.create_subprocess_exec(
        *(ROOT / ".venv/bin/callboard", "jobs", "list"),
        env=environment(**told),
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await listed.communicate()
    kept.process.send_signal(signal.SIGTERM)
    return out.decode()


@pytest.fixture(scope="module")
async def demos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Shown]:
    """Three at once, which mostly wait: as it is, as JSON, and kept."""
    words = {"plain": (), "json": ("--json",), "kept": ("--keep",)}
    foreign = {"plain": FOREIGN}
    async with asyncio.TaskGroup() as tasks:
        begun = {
            name: tasks.create_task(
                shown(tmp_path_factory.mktemp(name), *more, **foreign.get(name, {}))
            )
            for name, more in words.items()
        }
    return {name: one.result() for name, one in begun.items()}


@pytest.mark.slow
async def test_demos_at_once_pass_and_leave_nothing(demos: dict[str, Shown]) -> None:
    for one in demos.values():
        assert one.code == 0, one.out + one.err
        assert await nothing_is_left(one.folder, one.out + one.err)


@pytest.mark.slow
def test_its_story_ends_with_what_came_of_each_job(demos: dict[str, Shown]) -> None:
    told = demos["plain"].out
    assert "\x1b" not in told
    for case in CASES:
        assert re.search(rf"^{case.name} +completed +{case.learnt_by} ", told, re.MULTILINE)
    assert "forged callback was answered HTTP 401" in told


@pytest.mark.slow
def test_its_json_counts_what_came_of_each_job(demos: dict[str, Shown]) -> None:
    for one, case in zip(jsontext.loads(demos["json"].out), CASES, strict=True):
        assert (one["state"], one["learnt_by"], one["accepted"]) == ("completed", case.learnt_by, 1)
        assert [event["type"] for event in one["events"]] == ["job.completed"]
        calls = tuple((call["kind"], call["status"]) for call in one["callbacks"])
        assert (calls, tuple(one["verdicts"])) == (case.calls, case.verdicts)


@pytest.mark.slow
def test_kept_it_goes_on_until_it_is_told_to_end(demos: dict[str, Shown]) -> None:
    lines = demos["kept"].listed.splitlines()[1:]
    assert [line.split()[1] for line in lines] == ["completed"] * len(CASES)


@pytest.mark.slow
async def test_ctrl_c_in_the_middle_ends_everything(tmp_path: Path) -> None:
    async with demonstrating(tmp_path) as under_way:
        await under_way.said(CASES[1].name)
        os.killpg(under_way.process.pid, signal.SIGINT)
        await under_way.said("stopping everything")
        os.killpg(under_way.process.pid, signal.SIGINT)  # an impatient person
        assert await under_way.ended() == 128 + signal.SIGINT
        assert "Traceback" not in under_way.out + await under_way.err
        assert await nothing_is_left(tmp_path, under_way.out)


@pytest.mark.slow
async def test_a_case_that_goes_otherwise_fails_the_demo_with_the_log() -> None:
    told: list[str] = []
    assert await demo.run(told.append, cases=[replace(CASES[0], learnt_by="poll")]) == 1
    wrong = "learnt by: 'callback', and must be 'poll'"
    assert [line for line in told if "WRONG" in line] == [f"WRONG: {CASES[0].name}: {wrong}"]
    assert any("listening on http" in line for line in told)


@pytest.mark.slow
async def test_a_service_that_does_not_start_fails_the_demo_with_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "uvicorn.py").write_text("raise OSError('no uvicorn today')\n")
    assert await demo.run(told.append) == 1
    assert any("no uvicorn today" in line for line in told)
    assert "\nWRONG: callboard serve did not start" in told


JOB: Mapping[str, Any] = {
    "id": "job_1", "state": "completed", "learnt_by": "callback", "error": None,
}  # fmt: skip
GOOD = Outcome(
    case=CASES[0],
    job=JOB,
    timeline=[{"kind": "callback", "detail": {"verdict": "accepted"}}],
    events=[Event(id="evt_1", type="job.completed", job=JOB)],
    ledger={"accepted": 1, "callbacks": [{"kind": "true", "status": 200}]},
)
BAD: dict[str, dict[str, Any]] = {
    "state": {"job": dict(JOB) | {"state": "submitted"}},
    "learnt by": {"job": dict(JOB) | {"learnt_by": "poll"}},
    "the provider's calls": {
        "ledger": dict(GOOD.ledger) | {"callbacks": [{"kind": "true", "status": 401}]}
    },
    "verdicts": {"timeline": []},
    "distinct events": {"events": [*GOOD.events, replace(GOOD.events[0], id="evt_2")]},
    "accepted submissions": {"ledger": dict(GOOD.ledger) | {"accepted": 2}},
}


def test_an_outcome_as_it_must_be_has_no_fault() -> None:
    assert GOOD.faults() == []
    assert replace(GOOD, events=[*GOOD.events, *GOOD.events]).faults() == []  # one event, twice


@pytest.mark.parametrize("what", BAD)
def test_an_outcome_that_is_otherwise_is_named(what: str) -> None:
    (fault,) = replace(GOOD, **BAD[what]).faults()
    assert fault.startswith(f"{CASES[0].name}: {what}")
