"""What a callback with a good token is worth by each setting, and what happens when it rains."""

import asyncio
import json
from uuid import UUID

import pytest
import signing
from calling import call, fal_provider, receiver, relay_provider, task, token, told
from embedded_programs import until
from scene import app_of, job_row, make_app, make_job, rows_of

from service.call import Answer
from service.database import Database
from service.job import State
from service.moves import Moves

ACCEPTED = Answer(status=200, word="accepted")
UNSIGNED = {"content-type": "application/json"}


@pytest.fixture
async def job(db: Database) -> UUID:
    return await make_job(db, await make_app(db), State.SUBMITTED)


async def is_due(db: Database, job: UUID) -> bool:
    query = "select due_at <= now() from agenda where job_id = $1"
    return bool(await db.pool.fetchval(query, job))


@pytest.mark.parametrize(
    ("trust", "headers", "status", "verdict", "state"),
    [
        ("signed", None, 200, ("accepted", None), "completed"),
        ("signed", UNSIGNED, 401, ("refused", "signature_missing"), "submitted"),
        ("token", None, 200, ("accepted", None), "completed"),
        ("token", UNSIGNED, 200, ("accepted", None), "completed"),
        ("hint", None, 200, ("hint", None), "submitted"),
        ("hint", UNSIGNED, 200, ("hint", None), "submitted"),
    ],
)
async def test_what_fal_says_counts_as_its_trust_is_set(
    db: Database,
    job: UUID,
    trust: str,
    headers: dict[str, str] | None,
    status: int,
    verdict: tuple[str, str | None],
    state: str,
) -> None:
    door = receiver(db, fal_provider(fal_trust=trust))
    assert (await door.receive(call(token(job), headers=headers))).status == status
    assert await told(db) == [verdict]
    assert (await job_row(db, job))["state"] == state
    if verdict[0] == "hint":
        assert await is_due(db, job)


@pytest.mark.parametrize(
    ("trust", "verdict", "state"),
    [("hint", "hint", "submitted"), ("token", "accepted", "completed")],
)
async def test_what_a_relay_says_counts_as_its_trust_is_set(
    db: Database, trust: str, verdict: str, state: str
) -> None:
    job = await make_job(db, await make_app(db), State.SUBMITTED, provider="relay")
    given = token(job, provider="relay")
    door = receiver(db, relay_provider(trust))
    assert await door.receive(call(given, task(), {}, provider="relay")) == ACCEPTED
    assert await told(db) == [(verdict, None)]
    assert (await job_row(db, job))["state"] == state
    assert await is_due(db, job) is (verdict == "hint")


async def test_a_relays_type_is_no_matter_and_fals_is(db: Database, job: UUID) -> None:
    relayed = await make_job(db, await app_of(db, job), State.SUBMITTED, provider="relay")
    odd = {"content-type": "text/plain"}
    door = receiver(db, fal_provider(fal_trust="token"), relay_provider())
    given = token(relayed, provider="relay")
    assert (await door.receive(call(given, task(), odd, provider="relay"))).status == 200
    assert (await door.receive(call(token(job), headers=odd))).status == 415
    for kind in ("application/json; charset=utf-8", "Application/JSON", "application/x.y+json", ""):
        assert (await door.receive(call(token(job), headers={"content-type": kind}))).status == 200
    assert (await job_row(db, job))["state"] == "completed"


async def test_the_ids_of_header_and_body_must_be_the_same(db: Database, job: UUID) -> None:
    for trust in ("signed", "token", "hint"):
        door = receiver(db, fal_provider(fal_trust=trust))
        headers = signing.headers(signing.success(), request_id="req-2")
        assert (await door.receive(call(token(job), headers=headers))).status == 401
    assert await told(db) == [("refused", "request_id_mismatch")] * 3


@pytest.mark.parametrize("status", ["OK", "ERROR"])
async def test_a_nul_in_what_fal_says_hurts_nobody(db: Database, job: UUID, status: str) -> None:
    others = [
        await make_job(db, await app_of(db, job), State.SUBMITTED, provider_id=f"other-{n}")
        for n in range(8)
    ]
    payload = {"video": {"url": "https://media.example/a.mp4"}, "detail": "a\x00b \ud800"}
    body = json.dumps({"request_id": "req-1", "status": status, "payload": payload}).encode()
    door = receiver(db)
    answers = await asyncio.gather(
        *(
            door.receive(call(token(one), signing.success(f"other-{n}")))
            for n, one in enumerate(others)
        ),
        door.receive(call(token(job), body)),
    )
    assert answers == [ACCEPTED] * 9
    ended = "completed" if status == "OK" else "failed"
    assert (await job_row(db, job))["state"] == ended
    assert (await door.receive(call(token(job), body))).word == "duplicate"


async def test_when_more_wait_than_may_the_rest_is_told_to_come_again(
    db: Database, job: UUID
) -> None:
    door = receiver(db, fal_provider(fal_trust="token"), moves=Moves(db, most_waiting=3))
    async with db.pool.acquire() as held, held.transaction():
        await held.execute("select from jobs where id = $1 for update", job)
        calls = [asyncio.create_task(door.receive(call(token(job)))) for _ in range(10)]
        await until(lambda: sum(one.done() for one in calls) >= 6)
        turned_away = [one for one in calls if one.done()]
        assert {one.result() for one in turned_away} == {Answer(status=503)}
    taken = [(await one).word for one in calls if one not in turned_away]
    assert sorted(taken) == ["accepted", *["duplicate"] * (len(taken) - 1)]
    assert len(await told(db)) == len(taken) >= 3


async def test_an_ok_without_its_payload_is_asked_after_at_once_and_leaves_its_id(
    db: Database, job: UUID
) -> None:
    early = await make_job(db, await app_of(db, job), State.SUBMITTING)
    said = {"request_id": "req-early", "status": "OK", "payload": None, "payload_error": "odd"}
    assert await receiver(db).receive(call(token(early), json.dumps(said).encode())) == ACCEPTED
    row = await job_row(db, early)
    assert (row["state"], row["provider_id"]) == ("submitted", "req-early")
    assert await is_due(db, early)
    assert (await rows_of(db, "callbacks", early))[0]["verdict"] == "hint"
