"""A call that names its job by the provider's id only may come before any job has that id."""

import asyncio
import json
import time
from uuid import UUID

import pytest
import signing
from calling import (
    OLDER,
    SHARED,
    VAULT,
    call,
    fal_provider,
    kept,
    receiver,
    sharing,
    token,
    told,
    waiting,
)
from posting import answering, one_round
from raw_server import serving
from scene import app_of, job_row, make_app, make_job, move, rows_of
from stepping import Actor, Order, Stepped, every_order

from service.call import Answer, Call
from service.catalog import Catalog
from service.database import Database
from service.errors import KeysAway
from service.health import Health
from service.job import State
from service.pace import Pace
from service.registration import Registration
from service.signature import Keys
from service.submission import Timing
from service.submit import Submitter

ACCEPTED, DUPLICATE, IGNORED = (
    Answer(status=200, word=word) for word in ("accepted", "duplicate", "ignored")
)


@pytest.fixture
async def app(db: Database) -> UUID:
    return await make_app(db)


def shared(provider_id: str = "req-1", *, given: str = SHARED) -> Call:
    return call(given, signing.success(provider_id), shared=True)


async def accept(db: Database, job: UUID, provider_id: str = "req-1") -> None:
    """What the submitter does once a job is sent: the provider's id is stored, and then the calls
    that came before it are looked for."""
    await move(
        db,
        job,
        now=State.SUBMITTED,
        source="submit",
        provider_id=provider_id,
        task="poll",
        due_in=60.0,
    )
    await waiting(db, sharing()).accepted(sharing(), provider_id)


async def is_applied_once(db: Database, job: UUID) -> bool:
    """Whether the job came to its end, once, by its call, which is kept under it."""
    events = [row["now"] for row in await rows_of(db, "job_events", job, "version")]
    calls = await rows_of(db, "callbacks", job)
    how = [(row["verdict"], row["reason"], row["attempt"]) for row in calls]
    assert events == ["queued", "submitting", "submitted", "completed"], events
    assert how == [("accepted", None, 1)], how
    return (await job_row(db, job))["learnt_by"] == "callback"


async def test_a_call_for_no_job_is_kept_and_applied_as_soon_as_one_has_its_id(
    db: Database, app: UUID
) -> None:
    assert await receiver(db, sharing()).receive(shared()) == IGNORED
    (before,) = await kept(db)
    assert (before.verdict, before.reason, before.provider_id) == (
        *("ignored", "unknown_job"),
        "req-1",
    )
    job = await make_job(db, app, State.SUBMITTING)
    await accept(db, job)
    assert await is_applied_once(db, job)
    (after,) = await kept(db)
    assert (after.id, after.body, after.received_at) == (before.id, before.body, before.received_at)


async def test_another_id_or_another_providers_job_leaves_it_waiting(
    db: Database, app: UUID
) -> None:
    assert await receiver(db, sharing()).receive(shared()) == IGNORED
    await accept(db, await make_job(db, app, State.SUBMITTING), "req-2")
    await make_job(db, app, State.SUBMITTED, provider="relay", provider_id="req-1")
    assert not await waiting(db, sharing()).step()
    assert await told(db) == [("ignored", "unknown_job")]


async def test_several_that_wait_are_one_end_and_duplicates(db: Database, app: UUID) -> None:
    door = receiver(db, sharing())
    for given in (SHARED, OLDER, SHARED):
        assert await door.receive(shared(given=given)) == IGNORED
    await accept(db, await make_job(db, app, State.SUBMITTING))
    assert await told(db) == [("accepted", None), ("duplicate", None), ("duplicate", None)]


async def test_in_every_order_of_receiver_and_submitter_it_is_applied_once(
    db: Database, app: UUID
) -> None:
    """Without the look each minute: one of the two always sees what the other stored."""
    jobs: list[UUID] = []

    async def run() -> tuple[Actor, Actor]:
        here, there = Stepped.over(db), Stepped.over(db)
        job = await make_job(db, app, State.SUBMITTING)
        jobs.append(job)
        door = receiver(here, sharing())
        return (
            Actor(here, door.receive(shared(job.hex))),
            Actor(there, accept(there, job, job.hex)),
        )

    async def check(order: Order, calling: Actor, submitting: Actor) -> None:
        assert calling.task.result() in (ACCEPTED, DUPLICATE, IGNORED), order
        submitting.task.result()
        assert await is_applied_once(db, jobs[-1]), order

    orders = await every_order(run, check)
    assert len(orders) == len(set(orders)) > 100
    assert {order[:2] for order in orders} == {(0, 0), (0, 1), (1, 0), (1, 1)}


@pytest.mark.parametrize("first", ["call", "submit"])
async def test_whoever_dies_wherever_the_look_each_minute_finds_what_was_missed(
    db: Database, app: UUID, first: str
) -> None:
    """Each dies after so many of its statements; the other comes before it or after it."""
    for of_call in range(7):
        for of_submit in range(6):
            job = await make_job(db, app, State.SUBMITTING)
            here, there = Stepped.over(db), Stepped.over(db)
            actors = [
                (Actor(here, receiver(here, sharing()).receive(shared(job.hex))), of_call),
                (Actor(there, accept(there, job, job.hex)), of_submit),
            ]
            for actor, steps in actors if first == "call" else reversed(actors):
                for _ in range(steps):
                    if await actor.waits():
                        await actor.step()
                await actor.kill()
            await waiting(db, sharing()).step()
            stored = (await kept_for(db, job)) > 0
            if stored and of_submit:
                assert await is_applied_once(db, job), (of_call, of_submit)
            elif of_submit:
                assert (await job_row(db, job))["state"] == "submitted"


async def kept_for(db: Database, job: UUID) -> int:
    """How many calls for a job are stored, be it under its id yet or not."""
    return int(
        await db.pool.fetchval(
            "select count(*) from callbacks where job_id = $1 or provider_id = $2", job, job.hex
        )
    )


async def test_the_submitter_itself_looks_for_what_came_before_its_answer(
    db: Database, app: UUID
) -> None:
    """The provider calls back and is answered before it answers our own POST."""
    door, answers = receiver(db, sharing()), []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers.append(await door.receive(shared("req-1")))
        await answering("200 OK", {"request_id": "req-1"})(reader, writer)

    job = await make_job(db, app)
    clocks = Timing(lease=60.0, unconfirmed=600.0, give_up=3600.0)
    async with serving(talk) as server:
        one = sharing(fal_queue_url=server.origin)
        submits = Submitter(
            db,
            {"fal": one},
            Registration(tokens=door._tokens, timing=clocks, public_url=None),
            clocks,
            Pace(catalog=Catalog.load()),
            Health(db),
            lambda moved: None,
            wake=asyncio.Event(),
            accepted=waiting(db, one).accepted,
        )
        await one_round(submits)
    assert answers == [IGNORED]
    assert await is_applied_once(db, job)


async def test_without_shared_tokens_nobody_looks(db: Database, app: UUID) -> None:
    away = await Database.connect("postgresql://127.0.0.1:1/none")
    await waiting(away, fal_provider()).accepted(fal_provider(), "req-1")
    await away.close()


async def test_what_waits_is_worth_what_it_was_when_it_came(db: Database, app: UUID) -> None:
    """An hour later its signature is an hour old, and still of its own time."""
    assert await receiver(db, sharing()).receive(shared()) == IGNORED
    await db.pool.execute("update callbacks set received_at = now() - interval '1 hour'")
    at = int(time.time()) - 3600
    resigned = json.dumps(signing.headers(signing.success(), at=at))
    await db.pool.execute("update callbacks set headers = $1", resigned)
    job = await make_job(db, app, State.SUBMITTING)
    await accept(db, job)
    assert await is_applied_once(db, job)


async def test_one_whose_signature_was_stale_already_is_a_hint(db: Database, app: UUID) -> None:
    stale = signing.headers(signing.success(), at=int(time.time()) - 3600)
    door = receiver(db, sharing())
    assert await door.receive(call(SHARED, headers=stale, shared=True)) == IGNORED
    job = await make_job(db, app, State.SUBMITTING)
    await accept(db, job)
    assert await told(db) == [("hint", "signature_stale")]
    assert (await job_row(db, job))["state"] == "submitted"
    assert await db.pool.fetchval("select due_at <= now() from agenda where job_id = $1", job)


async def test_while_the_keys_are_away_it_goes_on_waiting(db: Database, app: UUID) -> None:
    assert await receiver(db, sharing()).receive(shared()) == IGNORED

    async def away(url: str) -> bytes:
        raise KeysAway

    job = await make_job(db, app, State.SUBMITTED)
    without = waiting(db, sharing(), keys={"fal": Keys("https://keys.example", away)})
    await without.step()
    assert await told(db) == [("ignored", "unknown_job")]
    await waiting(db, sharing()).step()
    assert await told(db) == [("accepted", None)]
    assert (await job_row(db, job))["state"] == "completed"


async def test_what_cannot_be_read_any_more_waits_no_longer(db: Database, app: UUID) -> None:
    assert await receiver(db, sharing()).receive(shared()) == IGNORED
    await db.pool.execute("update callbacks set body = '[]'")
    job = await make_job(db, app, State.SUBMITTED)
    await waiting(db, sharing()).step()
    assert await told(db) == [("unreadable", "malformed")]
    assert (await kept(db))[0].job_id == job
    assert await waiting(db, sharing()).step() is False


async def test_a_secret_of_the_job_is_cleared_once_the_job_is_known(
    db: Database, app: UUID
) -> None:
    secret = "sk-proj-planted-0123456789abcdef"
    body = json.dumps(json.loads(signing.success()) | {"echo": secret}).encode()
    one = sharing(fal_trust="token")
    assert await receiver(db, one).receive(call(SHARED, body, {}, shared=True)) == IGNORED
    shown, sealed = VAULT.sealed("fal", {"prompt": "a boat", "api_key": secret})
    job = await make_job(db, app, State.SUBMITTED, input=shown, secrets=sealed)
    await waiting(db, one).step()
    (call_now,) = await kept(db)
    assert (call_now.verdict, call_now.job_id) == ("accepted", job)
    assert secret.encode() not in call_now.body


async def test_a_jobs_own_token_finds_no_waiting_calls_and_no_job_waits_for_it(
    db: Database, app: UUID
) -> None:
    job = await make_job(db, app, State.SUBMITTED)
    await receiver(db).receive(call(token(job), signing.success("req-1")))
    assert await waiting(db, sharing()).step() is False
    assert await app_of(db, job) == app
    assert await told(db) == [("accepted", None)]
