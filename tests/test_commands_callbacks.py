"""`callboard callbacks`: near and far, what came is listed, shown and replayed."""

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import pytest
import signing
from app_client import app, make_key
from calling import call, kept, receiver, token
from command_line import callboard, fails, stand_alone
from scene import job_row, make_app, make_job, rows_of

from service import ids
from service.commands.demo.subscriber import served
from service.database import Database
from service.job import State

OPERATOR = "cb_" + "o" * 43


@pytest.fixture(params=["near", "far"])
async def anywhere(
    request: pytest.FixtureRequest,
    db: Database,
    dsn: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> AsyncIterator[str]:
    """Once over the database and once over HTTP."""
    stand_alone(monkeypatch, dsn, tmp_path)
    await make_key(db, OPERATOR, "operate", all_apps=True)
    if request.param == "near":
        # Its keys are asked for where no signature was checked before; nobody is there.
        monkeypatch.setenv("FAL_KEY", "id:secret")
        monkeypatch.setenv("FAL_TRUST", "token")
        yield "near"
        return
    async with served(app(db)) as url:
        monkeypatch.setenv("CALLBOARD_URL", url)
        monkeypatch.setenv("CALLBOARD_API_KEY", OPERATOR)
        yield "far"


@pytest.fixture
async def job(db: Database) -> UUID:
    return await make_job(db, await make_app(db), State.SUBMITTED)


async def test_calls_are_listed_with_verdict_reason_and_job(
    db: Database, anywhere: str, job: UUID
) -> None:
    door = receiver(db)
    for given in ("", token(job), token(job)):
        await door.receive(call(given))
    refused, taken, again = (ids.show("cbk", one.id) for one in await kept(db))
    ran = await callboard("callbacks", "list")
    assert ran.code == 0
    assert {line.split()[0] for line in ran.lines} == {"id", refused, taken, again}
    (line,) = [line for line in ran.lines if refused in line]
    assert line.split()[1:5] == ["refused", "no_token", "fal", ids.show("job", job)]
    told = await callboard("callbacks", "list", "--verdict", "refused", "--json")
    assert [one["id"] for one in told.json()["data"]] == [refused]
    for words, found in (
        (("--reason", "no_token"), {refused}),
        (("--job", ids.show("job", job), "--verdict", "accepted"), {taken}),
        (("--provider", "relay"), set()),
    ):
        told = await callboard("callbacks", "list", "--json", *words)
        assert {one["id"] for one in told.json()["data"]} == found
    page = await callboard("callbacks", "list", "--limit", "2")
    assert f"--after {page.lines[2].split()[0]}" in page.err


async def test_a_call_is_shown_with_its_body(db: Database, anywhere: str, job: UUID) -> None:
    body = signing.success().replace(b"media", b"\\u001b[2Jmedia")
    await receiver(db).receive(call(token(job), body))
    (one,) = await kept(db)
    ran = await callboard("callbacks", "show", ids.show("cbk", one.id))
    assert ran.code == 0
    for words in ("accepted", "192.0.2.7", "x-fal-webhook-user-id", f"{len(body)} bytes"):
        assert words in ran.out
    assert "\x1b" not in ran.out
    told = await callboard("callbacks", "show", ids.show("cbk", one.id), "--json")
    assert told.json()["body"] == body.decode()


async def test_a_call_is_replayed_dry_first(db: Database, anywhere: str, job: UUID) -> None:
    await receiver(db).receive(call(token(job)[:-1]))
    (one,) = await kept(db)
    named = ids.show("cbk", one.id)
    near = anywhere == "near"  # there the token alone would be enough, and it was no good one
    told = await callboard("callbacks", "replay", named, "--dry-run")
    assert told.code == 0
    assert told.lines[0] == ("would be hint (truncated)" if near else "would be accepted")
    assert (await job_row(db, job))["state"] == "submitted"
    assert await rows_of(db, "operator_actions", job) == []
    told = await callboard("callbacks", "replay", named, "--reason", "it was cut", "--json")
    assert told.json()["moved"] is not near
    (act,) = await rows_of(db, "operator_actions", job)
    assert act["reason"] == "it was cut"
    assert act["who"].startswith("command line (" if near else "key_")
    again = await callboard("callbacks", "replay", named)
    assert again.lines[0] == ("hint (truncated)" if near else "duplicate")
    assert again.lines[1].startswith(f"{ids.show('job', job)} stays ")


@pytest.mark.usefixtures("anywhere")
async def test_what_is_not_there_exits_3_and_a_typo_2() -> None:
    unknown = ids.show("cbk", ids.new_id())
    for command in ("show", "replay"):
        assert fails(await callboard("callbacks", command, unknown), 3, "no")
        assert fails(await callboard("callbacks", command, "job_7"), 3, "cbk_")
    assert fails(await callboard("callbacks", "list", "--verdict", "good"), 2, "verdict")
    assert fails(await callboard("callbacks", "list", "--job", "7"), 2, "job")
    assert fails(await callboard("callbacks", "list", "--after", "x"), 2, "after")


async def test_without_the_providers_key_there_is_no_replay(
    db: Database, dsn: str, job: UUID, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stand_alone(monkeypatch, dsn, tmp_path)
    await receiver(db).receive(call(token(job)))
    (one,) = await kept(db)
    ran = await callboard("callbacks", "replay", ids.show("cbk", one.id))
    assert fails(ran, 5, "fal has no key")
