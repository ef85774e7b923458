"""service/tally.py: what a process does is counted, by what became of it."""

import asyncio
import time
from uuid import UUID

import lived
import pytest
import signing
from app_client import JOB, fal_provider
from exposed import exposed, ours
from posting import ACCEPTED, TOKENS, Talk, answering, hang_up, one_round, provider, submitter
from raw_server import serving
from scene import SECRETS, S, make_app, make_job, move, subscribe

from service.call import Call
from service.database import Database
from service.deliver import Delivering
from service.encryption import AtRest
from service.guard import Guard
from service.inquiry import Inquiry
from service.metrics import Metrics
from service.moves import Moves
from service.pooled import Asker, Deliverer
from service.providers import Attempt
from service.receive import Receiver
from service.signature import Keys
from service.tally import Tally
from service.vault import NO_SECRETS
from service.wakes import Wakes


def token(job: UUID) -> str:
    expires_at = time.time() + 60.0
    return TOKENS.make(provider="fal", job_id=job, attempt=1, expires_at=expires_at)


@pytest.fixture
def tally() -> Tally:
    return Tally()


async def test_calls_and_moves_are_counted_by_what_became_of_them(
    db: Database, tally: Tally
) -> None:
    wakes = Wakes(tally)
    keys = {"fal": Keys("https://keys.example", signing.key_set)}
    door = Receiver(db, {"fal": fal_provider()}, TOKENS, keys, Moves(db, wakes.moved))

    def call(body: bytes, job: UUID | None) -> Call:
        return Call(
            provider="fal",
            token=token(job) if job else "forged",
            headers=signing.headers(body),
            body=body,
            address="192.0.2.7",
        )

    app = await make_app(db)
    job, other = await make_job(db, app, S.SUBMITTED), await make_job(db, app, S.SUBMITTED)
    body = signing.success()
    for _ in range(3):
        await door.receive(call(body, job))
    await door.receive(call(body, None))
    await door.receive(call(signing.success("req-9"), other))
    old = await make_job(db, app, S.FAILED)
    again = {"source": "operator", "to_attempt": 2, "due_in": 0.0}
    wakes.moved([await move(db, old, was=S.FAILED, now=S.QUEUED, **again)])
    await door.receive(call(body, old))
    other_door = await make_job(db, app, S.SUBMITTED, provider="relay", model="sora-2")
    wakes.moved([await lived.call(db, other_door, S.COMPLETED, provider="relay")])
    found = await exposed(Metrics(db, tally))
    assert ours(found, "callbacks_total") == {
        ("relay", "", "accepted"): 1,
        ("fal", "", "accepted"): 1,
        ("fal", "", "duplicate"): 2,
        ("fal", "malformed", "refused"): 1,
        ("fal", "other_job", "refused"): 1,
        ("fal", "old_attempt", "ignored"): 1,
    }
    assert ours(found, "moves_total") == {("callback", "completed"): 2, ("operator", "queued"): 1}


@pytest.mark.parametrize(
    ("talk", "outcome"),
    [
        (ACCEPTED, "accepted"),
        (answering("422 Unprocessable Entity", {"detail": "no"}), "refused"),
        (answering("429 Too Many Requests", {"detail": "Too many requests"}), "postponed"),
        (hang_up, "unclear"),
    ],
)
async def test_submits_are_counted_by_how_they_went(
    db: Database, tally: Tally, talk: Talk, outcome: str
) -> None:
    await make_job(db, await make_app(db))
    async with serving(talk) as server:
        await _submitted(db, tally, server.origin)
    found = ours(await exposed(Metrics(db, tally)), "submits_total")
    assert found == {(outcome, "fal"): 1}


async def test_a_submit_that_was_never_sent_is_counted_as_such(db: Database, tally: Tally) -> None:
    await make_job(db, await make_app(db))
    async with serving(hang_up) as server:
        gone = server.origin
    await _submitted(db, tally, gone)
    found = ours(await exposed(Metrics(db, tally)), "submits_total")
    assert found == {("not_sent", "fal"): 1}


async def _submitted(db: Database, tally: Tally, origin: str) -> None:
    await one_round(submitter(db, provider(origin), tally=tally))


STATUS = {"status": "IN_PROGRESS", "request_id": "req-1"}


@pytest.mark.parametrize(
    ("talk", "result"),
    [
        (answering("202 Accepted", STATUS), "running"),
        (answering("200 OK", {"status": "SOMETHING"}), "no_news"),
        (answering("401 Unauthorized", {"detail": "no"}), "denied"),
        (answering("404 Not Found", {"detail": "no"}), "gone"),
        (hang_up, "no_answer"),
    ],
)
async def test_polls_are_counted_by_their_answer(
    db: Database, tally: Tally, talk: Talk, result: str
) -> None:
    asker = Asker()
    job = await make_job(db, await make_app(db), S.SUBMITTED)
    attempt = Attempt(job_id=job, number=1, model=JOB["model"], input={}, provider_id="req-1")
    async with serving(talk) as server:
        inquiry = Inquiry(asker, NO_SECRETS, total=5.0, tally=tally)
        await inquiry.ask(provider(server.origin), attempt, None)
    await asker.aclose()
    found = ours(await exposed(Metrics(db, tally)), "polls_total")
    assert found == {("fal", result): 1}


async def test_tries_of_deliveries_are_counted_by_what_became_of_them(
    db: Database, tally: Tally
) -> None:
    app = await make_app(db)
    gone = await subscribe(db, app, "https://gone.example/", ["job.completed"])
    await make_job(db, app, S.COMPLETED)
    await db.pool.execute("delete from subscriptions where id = $1", gone)
    client = Deliverer(Guard([]))
    delivering = Delivering(db, AtRest(SECRETS), client, wake=asyncio.Event(), tally=tally)
    await delivering.step()
    await delivering.places.drain()
    await client.aclose()
    found = ours(await exposed(Metrics(db, tally)), "delivery_tries_total")
    assert found == {("failed",): 1}
