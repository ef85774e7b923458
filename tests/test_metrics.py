"""service/metrics.py: what Prometheus reads, from a real database, over HTTP."""

import asyncio
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any
from uuid import UUID

import app_client
import pytest
from app_client import JOB, KEY, make_key
from exposed import exposed, ours, samples
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families
from scene import S, make_app, make_job, subscribe

from service.database import Database
from service.metrics import FRESH_SECONDS, Metrics
from service.store import gauges, health
from service.tally import Tally


class Clock:
    """A clock that a test turns."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def tally() -> Tally:
    return Tally()


@pytest.fixture
async def backlog(db: Database) -> UUID:
    """Work of every kind that waits."""
    app = await make_app(db)
    usd = {"currency": "USD", "estimate": Decimal("3.20")}
    waits = await make_job(db, app)
    await make_job(db, app)
    await make_job(db, app, S.SUBMITTING)
    for _ in range(2):
        await make_job(db, app, S.UNCONFIRMED, **usd)
    await make_job(db, app, S.UNCONFIRMED, provider="relay", model="x")
    overdue = await make_job(db, app, S.RUNNING, provider="relay", model="x")
    await make_job(db, app, S.EXPIRED)
    await subscribe(db, app, "https://app.example/", ["job.completed"])
    disabled = await subscribe(db, app, "https://gone.example/", ["job.completed"])
    await make_job(db, app, S.COMPLETED)
    not_yet = await make_job(db, app, S.COMPLETED)
    await db.pool.execute("update subscriptions set enabled = false where id = $1", disabled)
    for job, seconds in ((waits, 30), (overdue, 90)):
        await db.pool.execute(
            "update agenda set due_at = now() - make_interval(secs => $2) where job_id = $1",
            *(job, seconds),
        )
    await db.pool.execute("update deliveries set next_at = now() - interval '50 s'")
    later = "update deliveries set next_at = now() + interval '1 h' where job_id = $1"
    await db.pool.execute(later, not_yet)
    code = {"code": "provider_auth", "message": "no"}
    await health.pause(db, "fal", seconds=60.0, longest=60.0, **code)
    await db.pool.execute(
        "insert into provider_health (provider, silent_since) values ('relay', now())"
    )
    return app


async def test_what_waits_in_the_database_is_measured(
    db: Database, tally: Tally, backlog: UUID
) -> None:
    found = await exposed(Metrics(db, tally))
    assert ours(found, "open_jobs") == {
        ("fal", "submit"): 2,
        ("fal", "sending"): 1,
        ("fal", "give_up"): 2,
        ("fal", "late"): 1,
        ("relay", "give_up"): 1,
        ("relay", "poll"): 1,
    }
    overdue = ours(found, "overdue_seconds")
    assert 30 <= overdue.pop(("fal", "submit")) < 60
    assert 90 <= overdue.pop(("relay", "poll")) < 120
    assert set(overdue.values()) == {0}
    assert ours(found, "unconfirmed_jobs") == {("USD", "fal"): 2, ("", "relay"): 1}
    assert ours(found, "money_at_risk") == {("USD", "fal"): 6.4}
    assert ours(found, "provider_paused") == {("fal",): 1, ("relay",): 0}
    assert ours(found, "provider_silent") == {("fal",): 0, ("relay",): 1}
    assert ours(found, "unplaced_events") == {(): 8}
    assert ours(found, "deliveries") == {("due",): 1, ("held",): 1}
    assert 50 <= ours(found, "deliveries_overdue_seconds")[()] < 80
    assert ours(found, "database_up") == {(): 1}


async def test_an_empty_database_measures_nothing(db: Database, tally: Tally) -> None:
    found = await exposed(Metrics(db, tally, queues=lambda: {"callbacks": 7}))
    assert ours(found, "open_jobs") == {}
    assert ours(found, "deliveries_overdue_seconds") == {(): 0}
    assert ours(found, "queue_items") == {("callbacks",): 7}


async def test_the_counts_have_a_bound(
    db: Database, tally: Tally, backlog: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gauges, "COUNTED", 1)
    found = await exposed(Metrics(db, tally))
    open_jobs = ours(found, "open_jobs")
    assert open_jobs.keys() >= {("fal", "submit"), ("fal", "sending"), ("relay", "poll")}
    assert set(open_jobs.values()) == {1}
    overdue = ours(found, "overdue_seconds")
    assert 90 <= overdue["relay", "poll"] < 120, "the most overdue one is always counted"
    assert ours(found, "unplaced_events") == {(): 1}
    assert max(ours(found, "deliveries").values()) == 1


async def test_the_database_is_read_once_for_all_who_scrape_at_a_time(
    db: Database, tally: Tally
) -> None:
    clock = Clock()
    metrics = Metrics(db, tally, clock=clock)
    app = await make_app(db)
    await make_job(db, app)
    first = await asyncio.gather(*(exposed(metrics) for _ in range(5)))
    assert {ours(one, "open_jobs")[("fal", "submit")] for one in first} == {1}
    await make_job(db, app)
    clock.now += FRESH_SECONDS - 1
    assert ours(await exposed(metrics), "open_jobs")[("fal", "submit")] == 1
    clock.now += 1
    assert ours(await exposed(metrics), "open_jobs")[("fal", "submit")] == 2


async def test_without_the_database_the_process_still_tells_what_it_counted(
    dsn: str, tally: Tally
) -> None:
    tally.tried("pending")
    tally.tried("succeeded")
    away = await Database.connect(dsn)
    await away.close()
    found = await exposed(Metrics(away, tally))
    assert ours(found, "database_up") == {(): 0}
    assert ours(found, "delivery_tries_total") == {("retried",): 1, ("succeeded",): 1}
    assert ours(found, "open_jobs") == ours(found, "unplaced_events") == {}


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", "text/plain; version=0.0.4"),
        ("*/*", "text/plain; version=0.0.4"),
        ("text/plain;version=1.x", "text/plain; version=0.0.4"),
        ("application/openmetrics-text;version=1.0.0,*/*", "application/openmetrics-text; v"),
        ("application/openmetrics-text;version=abc", "application/openmetrics-text; version=1.0.0"),
    ],
)
async def test_the_app_serves_them_without_a_key_in_the_format_that_is_asked_for(
    db: Database, accept: str, content_type: str
) -> None:
    async with app_client.client(app_client.app(db), None) as web:
        answer = await web.get("/metrics", headers={"accept": accept})
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith(content_type)
    read = read_openmetrics if "openmetrics" in content_type else text_string_to_metric_families
    names = {family.name for family in read(answer.text)}
    assert {"callboard_database_up", "callboard_request_duration_seconds"} <= names


async def test_requests_are_timed_by_their_route_and_by_no_word_of_the_callers(
    db: Database,
) -> None:
    await make_app(db, key=KEY)
    await make_key(db, "cb_" + "r" * 43, "read")
    async with app_client.client(app_client.app(db)) as web:
        made = await web.post("/v1/jobs", json=JOB)
        for path in (made.headers["location"], "/v1/jobs/job_x", "/v1/jobs", "/nowhere/at/all"):
            await web.get(path)
        await web.request("BREW", "/v1/jobs")
        await web.delete("/v1/jobs")
        found = samples((await web.get("/metrics")).text)
    assert ours(found, "request_duration_seconds_count") == {
        ("POST", "/v1/jobs", "202"): 1,
        ("GET", "/v1/jobs/{id}", "200"): 1,
        ("GET", "/v1/jobs/{id}", "404"): 1,
        ("GET", "/v1/jobs", "200"): 1,
        ("GET", "none", "404"): 1,
        ("other", "/v1/jobs", "405"): 1,
        ("DELETE", "/v1/jobs", "405"): 1,
    }


CLOSED = {
    *("provider", "verdict", "reason", "state", "source", "outcome", "result", "task", "queue"),
    *("currency", "version", "method", "route", "status", "le"),
}


async def test_names_and_labels_keep_prometheus_conventions_and_tell_no_secret(
    db: Database, tally: Tally, backlog: UUID
) -> None:
    tally.tried("succeeded")
    metrics = Metrics(db, tally, queues=lambda: {"callbacks": 0})
    metrics.requested("GET", "/v1/jobs", 200, 0.1)
    content, _ = await metrics.exposition("")
    text = content.decode()
    families = [*_families(text)]
    assert len(families) > 12
    for family in families:
        assert re.fullmatch(r"(callboard|process)_[a-z0-9_]+", family.name), family.name
        assert family.documentation
        for sample in family.samples:
            assert set(sample.labels) <= CLOSED
        if family.type == "counter" and family.name.startswith("callboard"):
            assert {sample.name for sample in family.samples} <= {f"{family.name}_total"}
    assert not re.search(r"job_|cb_|whsec_|token=|[0-9a-f]{24}", text)


def _families(text: str) -> Iterator[Any]:
    for family in text_string_to_metric_families(text):
        if not family.name.endswith("_created"):
            yield family
