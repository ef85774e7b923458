"""`callboard jobs|config|keys`: what they print, where they read it, and how they exit."""

import asyncio
import io
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import pytest
from app_client import KEY, app, make_key
from command_line import callboard, fails, stand_alone
from running import environment
from scene import SECRETS, S, make_app, make_job, move, posted_ago
from starlette.applications import Starlette

from service import ids
from service.commands import timeline
from service.commands.demo.subscriber import served
from service.commands.local import LocalJobs
from service.database import Database
from service.errors import DatabaseAway
from service.job import Charged, ErrorCode, JobError, State

PATIENCE = 20


@pytest.fixture(autouse=True)
def here(dsn: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    stand_alone(monkeypatch, dsn, tmp_path)
    return tmp_path


@pytest.fixture
async def studio(db: Database) -> UUID:
    return await make_app(db)


@pytest.fixture
async def remote(db: Database, studio: UUID, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    """A Callboard over HTTP, asked with the studio's key."""
    async with served(app(db)) as url:
        monkeypatch.setenv("CALLBOARD_URL", url)
        monkeypatch.setenv("CALLBOARD_API_KEY", KEY)
        yield url


@pytest.fixture(params=["near", "far"])
async def anywhere(
    request: pytest.FixtureRequest, db: Database, studio: UUID, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[None]:
    """Once over the database and once over HTTP."""
    if request.param == "near":
        yield
        return
    async with served(app(db)) as url:
        monkeypatch.setenv("CALLBOARD_URL", url)
        monkeypatch.setenv("CALLBOARD_API_KEY", KEY)
        yield


def shown(job: UUID) -> str:
    return ids.show("job", job)


async def test_jobs_are_listed_newest_first_with_their_whole_ids(
    db: Database, studio: UUID
) -> None:
    model = "fal-ai/minimax/hailuo-02/standard/text-to-video"
    older = await make_job(db, studio, S.COMPLETED, model=model)
    newer = await make_job(db, studio)
    ran = await callboard("jobs", "list")
    assert ran.code == 0
    assert [line.split()[0] for line in ran.lines] == ["id", shown(newer), shown(older)]
    assert ran.lines[2].split()[1:4] == ["completed", model, "poll"]


@pytest.mark.parametrize("columns", ["30", "60", "100"])
async def test_a_terminal_however_narrow_cuts_no_id(
    columns: str, db: Database, studio: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await make_job(db, studio, S.COMPLETED, model="fal-ai/minimax/hailuo-02/standard/x")
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setenv("NO_COLOR", "1")
    ran = await callboard("jobs", "list")
    for words in (shown(job), "learnt by", "completed", "poll", "age"):
        assert words in ran.out
    seen = re.sub("\x1b[^m]*m", "", ran.out).splitlines()
    assert max(len(line) for line in seen) <= max(90, int(columns))


async def test_jobs_are_listed_by_state_and_by_page(db: Database, studio: UUID) -> None:
    queued = [await make_job(db, studio) for _ in range(3)]
    await make_job(db, studio, S.FAILED)
    first = await callboard("jobs", "list", "--state", "queued", "--limit", "2", "--json")
    assert [job["id"] for job in first.json()["data"]] == [shown(queued[2]), shown(queued[1])]
    rest = await callboard("jobs", "list", "--state", "queued", "--after", first.json()["next"])
    assert [line.split()[0] for line in rest.lines[1:]] == [shown(queued[0])]
    told = await callboard("jobs", "list", "--limit", "2")
    assert f"--after {told.lines[2].split()[0]}" in told.err
    assert "no such jobs" in (await callboard("jobs", "list", "--state", "expired")).err


async def test_only_an_open_job_that_is_overdue_is_stuck(db: Database, studio: UUID) -> None:
    overdue = await make_job(db, studio, S.RUNNING)
    ended = await make_job(db, studio, S.COMPLETED)
    await make_job(db, studio, S.RUNNING)
    await posted_ago(db, 86_400.0, overdue, ended)
    ran = await callboard("jobs", "list", "--stuck")
    assert [line.split()[0] for line in ran.lines[1:]] == [shown(overdue)]
    assert "running (stuck)" in ran.lines[1]


@pytest.mark.usefixtures("anywhere")
async def test_what_needs_action_is_listed(db: Database, studio: UUID) -> None:
    doubted = await make_job(db, studio, S.UNCONFIRMED)
    await make_job(db, studio, S.RUNNING)
    ran = await callboard("jobs", "list", "--needs-action")
    assert [line.split()[:2] for line in ran.lines[1:]] == [[shown(doubted), "unconfirmed"]]


async def test_a_job_is_shown_with_everything_that_happened(db: Database, studio: UUID) -> None:
    job = await make_job(db, studio, S.COMPLETED, provider_id="req-7", reference="order 1017")
    ran = await callboard("jobs", "show", shown(job))
    assert ran.code == 0
    for words in (
        shown(job),
        "req-7",
        "order 1017",
        "queued → submitting",
        "submitted → completed",
    ):
        assert words in ran.out
    told = (await callboard("jobs", "show", shown(job), "--json")).json()
    assert told["state"] == "completed"
    assert [one["detail"].get("now", one["kind"]) for one in told["timeline"]] == [
        *("queued", "submitting", "submit", "submitted", "completed")
    ]


async def test_what_would_steer_a_terminal_is_shown_as_text(db: Database, studio: UUID) -> None:
    job = await make_job(db, studio, S.SUBMITTED, reference="\x1b[2Jgone\n[red]\u202e")
    error = JobError(
        code=ErrorCode.INTERNAL, message="\x1b]0;x", retryable=False, charged=Charged.NO
    )
    await move(db, job, now=S.FAILED, error=error)
    for words in (("show", shown(job)), ("list",), ("watch", shown(job))):
        ran = await callboard("jobs", *words)
        assert shown(job) in ran.out or "submitted → failed" in ran.out
        assert not set(ran.out) & {"\x1b", "\u202e"}
    assert "\\x1b[2Jgone [red]\\u202e" in (await callboard("jobs", "show", shown(job))).out


@pytest.mark.parametrize(("state", "code"), [(S.COMPLETED, 0), (S.FAILED, 1), (S.EXPIRED, 1)])
async def test_watching_a_job_that_has_ended_tells_how(
    state: State, code: int, db: Database, studio: UUID
) -> None:
    job = await make_job(db, studio, state)
    ran = await callboard("jobs", "watch", shown(job))
    assert ran.code == code
    assert f"→ {state}" in ran.out


@pytest.mark.usefixtures("anywhere")
async def test_a_job_is_watched_until_it_has_ended(db: Database, studio: UUID) -> None:
    job = await make_job(db, studio, S.SUBMITTED)
    out = io.StringIO()
    watching = asyncio.create_task(callboard("jobs", "watch", shown(job), "--json", out=out))
    async with asyncio.timeout(PATIENCE):
        while '"submitted"' not in out.getvalue():
            assert not watching.done()
            await asyncio.sleep(0.01)
        await move(db, job, now=S.COMPLETED)
        ran = await watching
    assert ran.code == 0
    assert '"completed"' in ran.lines[-1]
    assert len(ran.lines) == 2


async def test_a_watch_outlasts_a_database_that_is_away_for_a_while(
    db: Database, studio: UUID
) -> None:
    class Ill(LocalJobs):
        pause = 0.001
        looks = 0

        async def job(self, job_id: str) -> dict[str, object]:
            self.looks += 1
            if self.looks in (2, 3):
                raise DatabaseAway
            if self.looks == 4:
                await move(db, job, now=S.COMPLETED)
            return await super().job(job_id)

    job = await make_job(db, studio, S.SUBMITTED)
    news = [look async for look in timeline.follow(Ill(db), shown(job))]
    assert [look.job["state"] for look in news] == ["submitted", "completed"]
    assert [entry["detail"]["now"] for entry in news[1].entries] == ["completed"]


@pytest.mark.parametrize("command", ["show", "watch"])
@pytest.mark.usefixtures("anywhere")
async def test_an_id_that_names_nothing_exits_3(command: str) -> None:
    unknown = shown(ids.new_id())
    assert fails(await callboard("jobs", command, unknown), 3, "no")
    assert fails(await callboard("jobs", command, unknown[:-1]), 3, unknown[:-1])
    assert fails(await callboard("jobs", command, "job/../x?y=1"), 3, "no")


@pytest.mark.parametrize(
    "words",
    [
        ("jobs", "list", "--state", "done"),
        ("jobs", "list", "--limit", "0"),
        ("jobs", "list", "--limit", "201"),
        ("jobs", "list", "--after", "yesterday"),
        ("jobs", "list", "--stuk"),
        ("jobs", "lst"),
        ("jobs", "show"),
        ("keys", "create", "--app", "studio", "--scope", "admin"),
        ("keys", "create", "--app", "studio", "--scope", "read", "--all-apps"),
    ],
)
async def test_a_typo_exits_2(words: tuple[str, ...]) -> None:
    assert fails(await callboard(*words), 2, "")


async def test_a_database_that_is_away_exits_6(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://127.0.0.1:1/none")
    assert fails(await callboard("jobs", "list"), 6, "does not answer")


async def test_a_bad_setting_exits_2_and_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALLBOARD_PORT", "many")
    assert fails(await callboard("jobs", "list"), 2, "CALLBOARD_PORT")
    assert fails(await callboard("config", "show"), 2, "CALLBOARD_PORT")


def ageless(told: str) -> str:
    """What was told, whatever time has passed since the job was made."""
    return re.sub(r" +\d+s$", " now", told, flags=re.MULTILINE)


async def test_the_commands_tell_the_same_over_http(
    db: Database, studio: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await make_job(db, studio, S.COMPLETED, input={"prompt": "x" * 5000})
    commands = (("list",), ("list", "--json"), ("show", shown(job)), ("show", shown(job), "--json"))
    near = [await callboard("jobs", *words) for words in commands]
    async with served(app(db)) as url:
        monkeypatch.setenv("CALLBOARD_URL", url)
        monkeypatch.setenv("CALLBOARD_API_KEY", KEY)
        monkeypatch.setenv("DATABASE_URL", "postgresql://127.0.0.1:1/none")
        far = [await callboard("jobs", *words) for words in commands]
    assert [ageless(ran.out) for ran in far] == [ageless(ran.out) for ran in near]
    assert {ran.code for ran in far} == {0}


async def test_a_service_that_refuses_exits_4(
    db: Database, remote: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CALLBOARD_API_KEY", "cb_" + "x" * 43)
    assert fails(await callboard("jobs", "list"), 4, "unknown")
    await make_key(db, "cb_" + "s" * 43, "submit")
    monkeypatch.setenv("CALLBOARD_API_KEY", "cb_" + "s" * 43)
    assert fails(await callboard("jobs", "list"), 4, "scope read")


async def test_a_service_that_cannot_be_asked_is_said_clearly(
    remote: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fails(await callboard("jobs", "list", "--after", "x"), 2, "after")
    monkeypatch.setenv("CALLBOARD_URL", "http://127.0.0.1:1")
    assert fails(await callboard("jobs", "list"), 6, "http://127.0.0.1:1 does not answer")
    monkeypatch.delenv("CALLBOARD_API_KEY")
    assert fails(await callboard("jobs", "list"), 2, "CALLBOARD_API_KEY")
    async with served(Starlette()) as stranger:
        monkeypatch.setenv("CALLBOARD_URL", stranger)
        monkeypatch.setenv("CALLBOARD_API_KEY", KEY)
        assert fails(await callboard("jobs", "list"), 1, "not as a Callboard")


def test_the_command_itself_exits_with_the_code(dsn: str, here: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "service", "jobs", "show", "job_7"],
        env=environment(DATABASE_URL=dsn, CALLBOARD_SECRETS=SECRETS[0]),
        cwd=here,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (3, "")
    assert ran.stderr == "callboard: 'job_7' is no job's id: it is job_ and 32 hex digits\n"
