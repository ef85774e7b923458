"""service/receive.py and a relay's unsigned callbacks: hints, whatever they say, unless trusted."""

import json
import time
from typing import Any
from uuid import UUID

import pytest
from scene import SECRETS, job_row, make_app, make_job, rows_of
from test_sweep_resultless import done, look

from service.call import Answer, Call
from service.database import Database
from service.job import State
from service.moves import Moves
from service.providers import relay
from service.receive import Receiver
from service.tokens import Tokens

TOKENS = Tokens(SECRETS)
FORGED, FILM = "https://evil.example/v.mp4", "https://cdn.example/v.mp4"
BODIES = {
    "success": {"task_id": "req-1", "status": "SUCCESS", "data": {"output": FORGED}},
    "failure": {"task_id": "req-1", "status": "FAILURE", "fail_reason": "no"},
    "progress": {"task_id": "req-1", "status": "IN_PROGRESS", "progress": "45%"},
    "unknown": {"task_id": "req-1", "status": "MODAL"},
}


async def called(db: Database, job: UUID, body: Any, trust: str = "hint") -> Answer:
    """What a call with the job's own token is answered."""
    one = relay.build(
        relay.Settings(relay_key="sk-1", relay_url="https://relay.example", relay_trust=trust)
    )
    assert one is not None
    token = TOKENS.make(provider="relay", job_id=job, attempt=1, expires_at=time.time() + 60)
    receiver = Receiver(db, {"relay": one}, TOKENS, {}, Moves(db))
    content = json.dumps(body).encode()
    call = Call(provider="relay", token=token, headers={}, body=content, address="192.0.2.7")
    return await receiver.receive(call)


async def made(db: Database, state: State) -> UUID:
    return await make_job(db, await make_app(db), state, provider="relay", model="sora-2")


async def is_due(db: Database, job: UUID) -> bool:
    due: bool = await db.pool.fetchval(
        "select task = 'poll' and due_at <= now() from agenda where job_id = $1", job
    )
    return due


@pytest.mark.parametrize("says", BODIES)
async def test_a_call_moves_nothing_and_the_relay_is_asked_at_once(db: Database, says: str) -> None:
    job = await made(db, State.SUBMITTED)
    assert not await is_due(db, job)
    assert await called(db, job, BODIES[says]) == Answer(status=200, word="accepted")
    row = await job_row(db, job)
    assert (row["state"], row["output"], row["error"]) == ("submitted", None, None)
    assert await is_due(db, job)
    (kept,) = await rows_of(db, "callbacks", job)
    assert kept["verdict"] == "hint"
    await look(db, "relay", done("relay", FILM))
    row = await job_row(db, job)
    assert (row["state"], row["learnt_by"]) == ("completed", "poll")
    assert json.loads(row["outputs"])[0]["url"] == FILM


async def test_a_call_tells_the_id_of_a_job_whose_reply_was_lost(db: Database) -> None:
    job = await made(db, State.UNCONFIRMED)
    assert (await job_row(db, job))["provider_id"] is None
    assert await called(db, job, BODIES["success"]) == Answer(status=200, word="accepted")
    row = await job_row(db, job)
    assert (row["state"], row["provider_id"]) == ("submitted", "req-1")
    assert await is_due(db, job)


async def test_a_call_of_another_task_is_refused(db: Database) -> None:
    job = await made(db, State.SUBMITTED)
    body = {**BODIES["success"], "task_id": "req-9"}
    assert (await called(db, job, body)).status == 401
    assert not await is_due(db, job)


async def test_a_relay_whose_token_is_trusted_is_believed(db: Database) -> None:
    job = await made(db, State.SUBMITTED)
    assert await called(db, job, BODIES["progress"], "token") == Answer(status=200, word="accepted")
    assert (await job_row(db, job))["state"] == "running"
    assert await called(db, job, BODIES["success"], "token") == Answer(status=200, word="accepted")
    row = await job_row(db, job)
    assert (row["state"], row["learnt_by"]) == ("completed", "callback")


async def test_a_trusted_call_without_its_url_is_asked_after(db: Database) -> None:
    job = await made(db, State.SUBMITTED)
    body = {"task_id": "req-1", "status": "SUCCESS", "data": None}
    assert await called(db, job, body, "token") == Answer(status=200, word="accepted")
    assert (await job_row(db, job))["state"] == "submitted"
    assert await is_due(db, job)
