"""What strangers make us keep is bounded, whatever they send, and nobody else suffers for it."""

import asyncio
from collections import Counter
from uuid import UUID

import pytest
import signing
from calling import VAULT, call, kept, receiver, token, told
from embedded_programs import until
from scene import job_row, make_app, make_job

from service.alarm import Alarm
from service.bound import Bound, Limit
from service.database import Database
from service.diagnosis import STRANGERS, Diagnosis
from service.job import State

NONE = Limit(rows=0, bytes=0)


@pytest.fixture
async def job(db: Database) -> UUID:
    return await make_job(db, await make_app(db), State.SUBMITTED)


async def test_a_flood_from_many_sources_is_bounded_and_good_callbacks_are_taken_meanwhile(
    db: Database, caplog: pytest.LogCaptureFixture
) -> None:
    app = await make_app(db)
    jobs = [await make_job(db, app, State.SUBMITTED, provider_id=f"req-{n}") for n in range(20)]
    limits = Limit(rows=5, bytes=10**6), Limit(rows=100, bytes=10**6)
    alarm = Alarm(say_after=0.01)
    door = receiver(db, diagnosis=Diagnosis(db, VAULT, alarm=alarm, strangers=Bound(*limits)))

    async def flood(source: int) -> set[int]:
        given, address = f"fal.{'A' * 34}.{'A' * 43}", f"198.51.{source}.7"
        calls = [call(given, b"x" * 9000, {}, address=address) for _ in range(20)]
        return {(await door.receive(one)).status for one in calls}

    async def good(number: int) -> int:
        body = signing.success(f"req-{number}")
        return (await door.receive(call(token(jobs[number]), body))).status

    floods = [flood(source) for source in range(100)]
    *statuses, _ = await asyncio.gather(*floods, *(good(n) for n in range(20)), asyncio.sleep(0))
    assert statuses == [{401}] * 100 + [200] * 20
    verdicts = Counter(one.verdict for one in await kept(db))
    assert verdicts == {"refused": 100, "accepted": 20}
    sources = Counter(one.address for one in await kept(db) if one.verdict == "refused")
    assert max(sources.values()) <= 5
    assert alarm.kept == {("fal", "unknown_secret"): 100}
    assert alarm.dropped == {("fal", "unknown_secret"): 1900}
    await until(lambda: said(caplog) == 1900)


async def test_what_repeats_itself_under_a_good_token_is_bounded_and_the_end_is_still_taken(
    db: Database, job: UUID
) -> None:
    app = (await job_row(db, job))["app_id"]
    await make_job(db, app, State.SUBMITTED, provider_id="req-of-another")
    alarm, few = Alarm(), Bound(Limit(rows=3, bytes=10**6), Limit(rows=100, bytes=10**6))
    door = receiver(db, diagnosis=Diagnosis(db, VAULT, alarm=alarm), repeats=few)
    of_another, own = signing.success("req-of-another"), signing.success("req-1")
    for _ in range(6):
        assert (await door.receive(call(token(job), of_another))).status == 401
    assert (await door.receive(call(token(job), own))).word == "accepted"
    for _ in range(2):
        assert (await door.receive(call(token(job), own))).word == "duplicate"
    assert await told(db) == [("refused", "other_job")] * 3 + [("accepted", None)]
    assert (await kept(db))[-1].body == own
    assert alarm.dropped == {("fal", "repeated"): 5}


def said(caplog: pytest.LogCaptureFixture) -> int:
    """How many the log says were not kept."""
    words = "too many to be kept: fal unknown_secret"
    lines = [one.message for one in caplog.records if words in one.message]
    return sum(int(line.rpartition(" ")[2]) for line in lines)


async def test_the_addresses_of_one_ipv6_network_are_one_source(db: Database) -> None:
    limits = Limit(rows=3, bytes=10**6), Limit(rows=100, bytes=10**6)
    door = receiver(db, diagnosis=Diagnosis(db, VAULT, strangers=Bound(*limits)))
    for n in range(10):
        await door.receive(call("", headers={}, address=f"2001:db8::{n}"))
        await door.receive(call("", headers={}, address=f"::ffff:192.0.2.{n}"))
    sources = Counter(one.address[:10] for one in await kept(db))
    assert sources == {"2001:db8::": 3, "::ffff:192": 10}


async def test_strangers_do_not_use_up_what_is_kept_for_jobs_whose_token_is_good(
    db: Database, job: UUID
) -> None:
    door = receiver(db, diagnosis=Diagnosis(db, VAULT, strangers=Bound(NONE, NONE)))
    assert (await door.receive(call(""))).status == 401
    assert (await door.receive(call(token(job), headers={}))).status == 401
    assert await told(db) == [("refused", "signature_missing")]


async def test_beyond_the_bound_nothing_is_looked_up(
    db: Database, dsn: str, caplog: pytest.LogCaptureFixture
) -> None:
    away = await Database.connect(dsn, size=1)
    await away.close()
    door = receiver(away, diagnosis=Diagnosis(away, VAULT, strangers=Bound(NONE, NONE)))
    assert (await door.receive(call(""))).status == 401
    assert (await receiver(away).receive(call(""))).status == 503


def test_a_week_of_what_is_kept_of_strangers_does_not_fill_a_disk() -> None:
    _, total = STRANGERS
    assert total.bytes * 24 * 7 < 10**9
