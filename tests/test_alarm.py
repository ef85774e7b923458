"""service/alarm.py: an open job's call that is not taken is said out loud, once an hour."""

import logging
from uuid import UUID

import pytest
import signing
from calling import VAULT, call, receiver, token
from scene import app_of, make_app, make_job

from service import ids
from service.alarm import Alarm
from service.database import Database
from service.diagnosis import Diagnosis
from service.errors import KeysAway
from service.job import State
from service.metrics import Metrics
from service.signature import Keys
from service.store import callbacks
from service.tally import Tally

OTHERS = signing.success("req-of-nobody")


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def job(db: Database) -> UUID:
    return await make_job(db, await make_app(db), State.SUBMITTED)


async def test_a_refused_call_for_an_open_job_is_said_once_an_hour_and_counted(
    db: Database, job: UUID, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    alarm = Alarm(clock=clock)
    door = receiver(db, diagnosis=Diagnosis(db, VAULT, alarm=alarm))
    other = await make_job(db, await app_of(db, job), State.COMPLETED, provider_id="req-ended")

    async def refused(given: str, body: bytes | None = None) -> None:
        assert (await door.receive(call(given, body))).status == 401

    for _ in range(3):
        await refused("")  # its body names it
        await refused(token(job, lasts=-1.0), OTHERS)  # its token does
        await refused(token(job), OTHERS)  # and this one is a good one
        await refused(token(other, lasts=-1.0), signing.success("req-ended"))
    lines = [one for one in caplog.records if one.levelno == logging.ERROR]
    assert [one.message for one in lines] == [
        f"a callback of fal for the open {ids.show('job', job)} was refused: no_token"
    ]
    assert alarm.of_open_jobs == {
        ("fal", "no_token"): 3,
        ("fal", "expired"): 3,
        ("fal", "other_job"): 3,
    }
    clock.now += 3600
    await refused("")
    assert sum(one.levelno == logging.ERROR for one in caplog.records) == 2
    found = await callbacks.refusals_of_open_jobs(db, seconds=3600)
    assert {one["reason"]: (one["calls"], one["jobs"]) for one in found} == {
        "no_token": (4, 1),
        "expired": (3, 1),
        "other_job": (3, 1),
    }


async def test_without_the_keys_one_line_says_so_for_all_jobs(
    db: Database, caplog: pytest.LogCaptureFixture
) -> None:
    async def away(url: str) -> bytes:
        raise KeysAway

    app = await make_app(db)
    door = receiver(db, keys={"fal": Keys("https://keys.example", away)})
    for n in range(5):
        job = await make_job(db, app, State.SUBMITTED, provider_id=f"req-{n}")
        body = signing.success(f"req-{n}")
        assert (await door.receive(call(token(job), body))).status == 503
    assert sum(one.levelno == logging.ERROR for one in caplog.records) == 1


async def test_prometheus_reads_what_was_not_taken(db: Database) -> None:
    alarm = Alarm(say_after=0.01)
    alarm.drop("fal", "no_token")
    alarm.sound("fal", ids.new_id(), verdict="refused", reason="expired")
    text, _ = await Metrics(db, Tally(), alarm=alarm).exposition("")
    told = text.decode().splitlines()
    assert 'callboard_callbacks_dropped_total{provider="fal",reason="no_token"} 1.0' in told
    assert 'callboard_callbacks_missed_total{provider="fal",reason="expired"} 1.0' in told
