"""`callboard jobs cancel|resync|rerun|resolve|adopt`, in the database and over HTTP."""

import asyncio
import getpass
import os
import pty
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import pytest
from acting import Stage, staged
from app_client import KEY, app, make_key
from command_line import callboard, fails, stand_alone
from running import environment
from scene import SECRETS, make_app, make_job, move

from service import ids
from service.commands.demo.subscriber import served
from service.database import Database
from service.job import State

S = State
CLI = f"command line ({getpass.getuser()})"


@pytest.fixture
async def stage(
    db: Database, dsn: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> AsyncIterator[Stage]:
    stand_alone(monkeypatch, dsn, tmp_path)
    async with staged(db, await make_app(db, key=KEY), render_seconds=0.0) as stage:
        monkeypatch.setenv("FAL_KEY", "id:secret")
        monkeypatch.setenv("FAL_QUEUE_URL", f"{stage.sandbox.url}/fal")
        yield stage


@pytest.fixture(params=["near", "far"])
async def who(
    request: pytest.FixtureRequest, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[str]:
    """Who acts: once in the database and once over HTTP."""
    if request.param == "near":
        yield CLI
        return
    async with served(app(stage.db, acting=stage.parts)) as url:
        monkeypatch.setenv("CALLBOARD_URL", url)
        monkeypatch.setenv("CALLBOARD_API_KEY", KEY)
        monkeypatch.setenv("DATABASE_URL", "postgresql://127.0.0.1:1/none")
        monkeypatch.delenv("FAL_KEY")
        yield ids.show("key", await stage.db.pool.fetchval("select id from api_keys"))


def shown(job: UUID) -> str:
    return ids.show("job", job)


async def test_a_queued_job_is_canceled(stage: Stage, who: str) -> None:
    job = await stage.job()
    ran = await callboard("jobs", "cancel", shown(job), "--reason", "a typo")
    assert (ran.code, ran.lines[1].split()) == (0, ["state", "canceled"])
    assert await stage.acts(job) == [("cancel", 1, who, "a typo")]
    learnt_by = (await callboard("jobs", "show", shown(job), "--json")).json()["learnt_by"]
    assert learnt_by == ("operator" if who == CLI else None)
    assert fails(await callboard("jobs", "cancel", shown(job)), 5, "canceled")
    told = await callboard("jobs", "show", shown(job))
    assert f"{who}: cancel of attempt 1 (a typo)" in told.out


async def test_a_provider_is_asked_now(stage: Stage, who: str) -> None:
    job = await stage.sent()
    await stage.rendered()
    ran = await callboard("jobs", "resync", shown(job), "--json")
    assert (ran.code, ran.json()["state"], ran.json()["learnt_by"]) == (0, "completed", "poll")
    assert await stage.acts(job) == [("resync", 1, who, None)]


async def test_a_provider_that_is_away_exits_6(
    stage: Stage, who: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAL_QUEUE_URL", "http://127.0.0.1:9")
    job = await make_job(stage.db, stage.app_id, S.RUNNING)
    if who != CLI:  # the service asks its own provider, which answers
        assert (await callboard("jobs", "resync", shown(job))).code == 0
        monkeypatch.setenv("CALLBOARD_URL", "http://127.0.0.1:1")
    assert fails(await callboard("jobs", "resync", shown(job)), 6, "no")


async def test_a_rerun_tells_its_price_and_means_the_current_attempt(
    stage: Stage, who: str
) -> None:
    job = await make_job(stage.db, stage.app_id, S.RUNNING, currency="USD", estimate=320)
    refused = await callboard("jobs", "rerun", shown(job))
    assert fails(refused, 5, "may still be rendered")
    assert "costs about 320 USD" in refused.err
    assert fails(await callboard("jobs", "rerun", shown(job), "--force"), 2, "reason")
    words = ("jobs", "rerun", shown(job), "--force", "--reason", "it hangs")
    ran = await callboard(*words)
    assert (ran.code, ran.lines[2].split()) == (0, ["attempt", "2"])
    assert await stage.acts(job) == [("rerun", 1, who, "it hangs")]
    assert fails(await callboard(*words, "--attempt", "1"), 5, "attempt 2 is the job's")
    assert fails(await callboard(*words), 5, "has not been sent")
    unpriced = await make_job(stage.db, stage.app_id, S.FAILED)
    assert "nobody knows" in (await callboard("jobs", "rerun", shown(unpriced))).err


async def test_an_unconfirmed_job_is_resolved_either_way(stage: Stage, who: str) -> None:
    await stage.sandbox.control(drop_submit_reply=1)
    job = await stage.sent()
    (entry,) = (await stage.sandbox.ledger())["jobs"]
    await stage.rendered()
    words = ("--as", "accepted", "--provider-id", entry["request_ids"][0])
    ran = await callboard("jobs", "resolve", shown(job), *words, "--json")
    assert (ran.code, ran.json()["state"]) == (0, "completed")
    assert "costs" not in ran.err
    lost = await make_job(stage.db, stage.app_id, S.UNCONFIRMED)
    words = ("jobs", "resolve", shown(lost), "--as", "not_accepted")
    assert fails(await callboard(*words), 2, "reason")
    ran = await callboard(*words, "--reason", "not in fal's list", "--json")
    assert (ran.code, ran.json()["state"], ran.json()["attempt"]) == (0, "queued", 2)
    assert await stage.acts(lost) == [("resolve", 1, who, "not in fal's list")]
    assert fails(await callboard("jobs", "resolve", shown(job), "--as", "perhaps"), 2, "")


async def test_a_kept_success_is_adopted(stage: Stage, who: str) -> None:
    job = await make_job(stage.db, stage.app_id, S.RUNNING)
    assert fails(await callboard("jobs", "adopt", shown(job), "--attempt", "1"), 5, "no success")
    assert fails(await callboard("jobs", "adopt", shown(job)), 2, "--attempt")
    await callboard("jobs", "rerun", shown(job), "--force", "--reason", "it hangs", "--yes")
    await move(stage.db, job, now=S.COMPLETED, output={}, outputs=[{"url": "https://a.example/v"}])
    ran = await callboard("jobs", "adopt", shown(job), "--attempt", "1")
    assert (ran.code, ran.lines[1].split()) == (0, ["state", "completed"])
    assert "https://a.example/v" in ran.out
    assert (await stage.acts(job))[-1] == ("adopt", 1, who, None)


@pytest.mark.parametrize("act", ["cancel", "resync", "rerun", "resolve", "adopt"])
async def test_an_id_that_names_nothing_exits_3(stage: Stage, who: str, act: str) -> None:
    more = {"resolve": ("--as", "accepted"), "adopt": ("--attempt", "1")}.get(act, ())
    assert fails(await callboard("jobs", act, shown(ids.new_id()), *more), 3, "no")
    assert fails(await callboard("jobs", act, "job_7", *more), 3, "job_7")


async def test_a_key_without_the_scope_exits_4(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make_key(stage.db, "cb_" + "s" * 43, "submit", "read")
    job = await make_job(stage.db, stage.app_id, S.FAILED)
    async with served(app(stage.db, acting=stage.parts)) as url:
        monkeypatch.setenv("CALLBOARD_URL", url)
        monkeypatch.setenv("CALLBOARD_API_KEY", "cb_" + "s" * 43)
        assert fails(await callboard("jobs", "rerun", shown(job), "--yes"), 4, "scope operate")


@pytest.mark.parametrize(("answer", "code", "attempt"), [("n\n", 1, 1), ("y\n", 0, 2)])
async def test_at_a_terminal_it_asks_before_it_pays(
    stage: Stage, dsn: str, tmp_path: Path, answer: str, code: int, attempt: int
) -> None:
    job = await make_job(stage.db, stage.app_id, S.FAILED, currency="USD", estimate=320)
    ours, theirs = pty.openpty()
    os.write(ours, answer.encode())
    ran = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "service", "jobs", "rerun", shown(job)],
        env=environment(DATABASE_URL=dsn, CALLBOARD_SECRETS=SECRETS[0], FAL_KEY="id:secret")
        | {"PYTHONPATH": str(Path(__file__).parent.parent)},
        cwd=tmp_path,
        stdin=theirs,
        capture_output=True,
        text=True,
        check=False,
    )
    for end in (ours, theirs):
        os.close(end)
    assert (ran.returncode, "pay for it?" in ran.stderr) == (code, True), ran.stderr
    assert "pay for it?" not in ran.stdout
    row = await stage.db.pool.fetchrow("select attempt from jobs where id = $1", job)
    assert row["attempt"] == attempt
    assert bool(ran.stdout) is (code == 0)
