"""sql/queries/advance.sql by way of store/advance.py: the one statement that moves jobs."""

import asyncio
import json
from uuid import UUID

import asyncpg
import pytest
from scene import job_row, make_app, make_job, move, rows_of, subscribe

from service import ids
from service.database import Database
from service.job import DECIDED, ENDED, MOVES, REPORTED, Charged, ErrorCode, JobError, State
from service.store.advance import InboundCall, Move, advance, find_move, new_event_id

FAILED = JobError(
    code=ErrorCode.INVALID_INPUT, message="no", retryable=False, charged=Charged.UNKNOWN
)


def call(job_id: UUID, body: bytes = b"{}") -> InboundCall:
    return InboundCall(
        id=ids.new_id(ids.bucket_of(job_id)),
        provider="fal",
        address="192.0.2.1",
        headers="{}",
        body=body,
    )


@pytest.mark.parametrize("was", list(State))
async def test_a_providers_word_moves_what_it_may_and_nothing_else(
    db: Database, was: State
) -> None:
    app = await make_app(db)
    for now in State:
        job = await make_job(db, app, was)
        before = await job_row(db, job)
        outcome = await move(db, job, now=now, due_in=60.0)
        after = await job_row(db, job)
        legal = now in REPORTED.get(was, frozenset())
        assert outcome.moved is legal, (was, now)
        assert after["state"] == (now if legal else was)
        assert after["version"] == before["version"] + legal
        assert (after["finished_at"] is not None) is (after["state"] in ENDED)


@pytest.mark.parametrize("was", [state for state in State if DECIDED.get(state)])
async def test_our_own_moves_need_the_state_they_start_from(db: Database, was: State) -> None:
    app = await make_app(db)
    for now in DECIDED[was]:
        job = await make_job(db, app, was)
        elsewhere = State.RUNNING if was is not State.RUNNING else State.SUBMITTED
        to = 2 if now is State.QUEUED and was in ENDED else None  # a rerun
        assert not (await move(db, job, now=now, was=elsewhere, due_in=1.0, to_attempt=to)).moved
        assert (await move(db, job, now=now, was=was, due_in=1.0, to_attempt=to)).moved


async def test_the_database_refuses_a_history_that_is_not_legal(db: Database) -> None:
    job = await make_job(db, await make_app(db), State.RUNNING)
    insert = """insert into job_events (job_id, version, now, was, id, attempt, source, at)
                values ($1, 99, $2, $3, $1, 1, 'operator', now())"""
    for was in State:
        for now in State:
            if now not in MOVES[was]:
                with pytest.raises(asyncpg.CheckViolationError, match="history_is_legal"):
                    await db.pool.execute(insert, job, now, was)
    with pytest.raises(asyncpg.CheckViolationError, match="only_the_first_and_stuck"):
        await db.pool.execute(insert, job, "completed", None)


async def test_the_database_refuses_a_state_that_history_does_not_have(db: Database) -> None:
    job = await make_job(db, await make_app(db), State.RUNNING)
    with pytest.raises(asyncpg.ForeignKeyViolationError, match="state_is_what_history_says"):
        await db.pool.execute("update jobs set state = 'submitted' where id = $1", job)
    with pytest.raises(asyncpg.ForeignKeyViolationError, match="state_is_what_history_says"):
        await db.pool.execute("update jobs set version = version + 1 where id = $1", job)


async def test_a_move_writes_history_event_and_delivery_and_drops_the_agenda(db: Database) -> None:
    app = await make_app(db)
    wanted = await subscribe(db, app, "https://app.example/hook", ["job.completed"])
    await subscribe(db, app, "https://app.example/other", ["job.failed"])
    job = await make_job(db, app, State.SUBMITTED, notify_hook="https://app.example/own")
    event_id = new_event_id(job)
    await move(db, job, now=State.COMPLETED, event_id=event_id, output={"video": {"url": "u"}})

    (*_, last) = await rows_of(db, "job_events", job, "version")
    assert (last["was"], last["now"], last["id"]) == ("submitted", "completed", event_id)
    deliveries = await rows_of(db, "deliveries", job)
    assert {row["subscription_id"] for row in deliveries} == {wanted, None}
    assert len({row["id"] for row in deliveries}) == 2
    for row in deliveries:
        assert row["id"].version == 7
        assert row["id"].bytes[:6] == event_id.bytes[:6]
        assert ids.bucket_of(row["id"]) == ids.bucket_of(job)
    assert [row["version"] for row in await rows_of(db, "unplaced", job, "version")] == [3, 4]
    assert await rows_of(db, "agenda", job) == []
    (attempt,) = await rows_of(db, "attempts", job)
    assert attempt["outcome"] == "completed"


async def test_sent_again_it_changes_nothing(db: Database) -> None:
    job = await make_job(db, await make_app(db), State.SUBMITTED)
    again = Move(
        job_id=job,
        attempt=1,
        source="callback",
        event_id=new_event_id(job),
        now=State.COMPLETED,
        output={"video": {"url": "u"}},
        call=call(job),
    )
    (first,) = await advance(db, [again])
    (second,) = await advance(db, [again])
    assert (first.moved, second.moved) == (True, False)
    assert (first.verdict, second.verdict) == ("accepted", "duplicate")
    assert len(await rows_of(db, "callbacks", job)) == 1
    assert len(await rows_of(db, "job_events", job)) == 4
    assert await find_move(db, again) == 4


async def test_the_first_end_wins_and_a_later_one_is_kept_as_a_disagreement(db: Database) -> None:
    job = await make_job(db, await make_app(db), State.SUBMITTED)
    await move(db, job, now=State.COMPLETED, output={"video": {"url": "u"}})
    late = await move(db, job, now=State.FAILED, error=FAILED, source="callback", call=call(job))
    assert (late.moved, late.verdict) == (False, "ignored")
    again = await move(db, job, now=State.FAILED, error=FAILED, source="callback", call=call(job))
    assert again.verdict == "duplicate"
    (attempt,) = await rows_of(db, "attempts", job)
    assert attempt["outcome"] == "completed"
    assert '"failed"' in attempt["disagreement"]
    assert (await job_row(db, job))["state"] == "completed"


async def test_a_late_success_completes_an_expired_job_and_a_late_failure_does_not(
    db: Database,
) -> None:
    app = await make_app(db)
    lucky, unlucky = [await make_job(db, app, State.EXPIRED) for _ in range(2)]
    assert (await move(db, lucky, now=State.COMPLETED, source="callback")).moved
    assert not (await move(db, unlucky, now=State.FAILED, error=FAILED)).moved
    row = await job_row(db, lucky)
    assert (row["state"], row["late"], row["learnt_by"]) == ("completed", True, "callback")
    assert (await job_row(db, unlucky))["state"] == "expired"
    assert (await rows_of(db, "attempts", unlucky))[0]["outcome"] == "failed"


async def test_another_attempt_and_a_foreign_id_move_nothing(db: Database) -> None:
    job = await make_job(db, await make_app(db), State.SUBMITTED, provider_id="req-1")
    old = await move(db, job, now=State.COMPLETED, attempt=7, source="callback", call=call(job))
    assert (old.moved, old.verdict) == (False, "ignored")
    foreign = await move(
        db, job, now=State.COMPLETED, source="callback", provider_id="req-2", call=call(job)
    )
    assert (foreign.moved, foreign.verdict) == (False, "refused")
    assert (await job_row(db, job))["state"] == "submitted"
    reasons = [row["reason"] for row in await rows_of(db, "callbacks", job, "id")]
    assert reasons == ["old_attempt", "other_job"]


async def test_a_call_for_a_job_we_do_not_have_is_kept_and_ignored(db: Database) -> None:
    nobody = ids.new_id()
    outcome = await move(db, nobody, now=State.COMPLETED, source="callback", call=call(nobody))
    assert (outcome.verdict, outcome.state, outcome.moved) == ("ignored", None, False)
    assert (await rows_of(db, "callbacks", nobody))[0]["reason"] == "unknown_job"


async def test_a_hint_makes_the_poll_due_at_once_and_proves_that_the_provider_has_it(
    db: Database,
) -> None:
    app = await make_app(db)
    for was, then in (
        (State.SUBMITTED, "submitted"),
        (State.RUNNING, "running"),
        (State.UNCONFIRMED, "submitted"),
        (State.SUBMITTING, "submitted"),
        (State.EXPIRED, "expired"),
    ):
        job = await make_job(db, app, was, provider_id=f"req-{was}")
        outcome = await move(
            db,
            job,
            now=State.SUBMITTED,
            source="callback",
            ask=True,
            task="poll",
            due_in=0.0,
            provider_id=f"req-{was}",
            call=call(job),
        )
        assert outcome.verdict == "hint"
        assert (await job_row(db, job))["state"] == then
        assert await db.pool.fetchval(
            "select due_at <= now() and task = $2 from agenda where job_id = $1",
            *(job, "late" if then == "expired" else "poll"),
        )


async def test_a_move_made_for_an_older_version_is_not_made(db: Database) -> None:
    job = await make_job(db, await make_app(db), State.SUBMITTING)
    back = {"now": State.QUEUED, "was": State.SUBMITTING, "due_in": 0.0, "task": "submit"}
    assert (await move(db, job, expected=2, **back)).moved
    assert (await move(db, job, now=State.SUBMITTING, was=State.QUEUED, due_in=60.0)).moved
    assert not (await move(db, job, expected=2, **back)).moved, "another sender has it now"


async def test_many_jobs_move_in_one_statement_and_answer_in_order(db: Database) -> None:
    app = await make_app(db)
    made = [await make_job(db, app, State.SUBMITTED) for _ in range(20)]
    moves = [
        Move(
            job_id=job,
            attempt=1,
            source="poll",
            event_id=new_event_id(job),
            now=State.COMPLETED if n % 2 else State.SUBMITTING,
        )
        for n, job in enumerate(reversed(made))
    ]
    outcomes = await advance(db, moves)
    assert [outcome.moved for outcome in outcomes] == [bool(n % 2) for n in range(20)]


async def test_batches_that_cross_do_not_deadlock(db: Database) -> None:
    app = await make_app(db)
    made = [await make_job(db, app, State.SUBMITTED) for _ in range(40)]

    async def batch(order: list[UUID], now: State) -> int:
        moves = [
            Move(job_id=job, attempt=1, source="poll", event_id=new_event_id(job), now=now)
            for job in order
        ]
        return sum(outcome.moved for outcome in await advance(db, moves))

    batches = [
        batch(made if n % 2 else made[::-1], State.RUNNING if n < 5 else State.COMPLETED)
        for n in range(10)
    ]
    await asyncio.gather(*batches)
    for job in made:
        versions = [row["version"] for row in await rows_of(db, "job_events", job, "version")]
        assert versions == list(range(1, len(versions) + 1))
        assert (await job_row(db, job))["state"] == "completed"


async def test_json_that_postgres_text_cannot_hold_is_kept_as_it_came(db: Database) -> None:
    job = await make_job(db, await make_app(db), State.SUBMITTED)
    odd = {"video": {"url": "u"}, "note": "a\x00b\ud800c", "big": 2**80}
    assert (await move(db, job, now=State.COMPLETED, output=odd)).moved
    (attempt,) = await rows_of(db, "attempts", job)
    assert "\\u0000" in attempt["output"]
    assert str(2**80) in attempt["output"]


@pytest.mark.parametrize("told", [[State.FAILED], [State.FAILED, State.CANCELED]])
async def test_a_late_success_settles_what_was_told_while_the_job_was_expired(
    db: Database, told: list[State]
) -> None:
    job = await make_job(db, await make_app(db), State.EXPIRED)
    for state in told:
        outcome = await move(db, job, now=state, source="callback", error=FAILED)
        assert not outcome.moved
    film = {"video": {"url": "https://media.example/v.mp4"}}
    outcome = await move(db, job, now=State.COMPLETED, output=film, outputs=[film["video"]])
    assert outcome.moved
    row = await job_row(db, job)
    assert (row["state"], row["late"], json.loads(row["output"])) == ("completed", True, film)
    (attempt,) = await rows_of(db, "attempts", job)
    assert (attempt["outcome"], attempt["error"]) == ("completed", None)
    kept = json.loads(attempt["disagreement"])
    assert kept["now"] == ("failed" if len(told) == 1 else "canceled")
