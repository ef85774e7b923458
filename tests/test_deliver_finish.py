"""store/deliveries.finish: what a try's end means for its delivery and its endpoint."""

import pytest
from scene import make_app, rows_of, subscribe
from subscribing import completed

from service.database import Database
from service.store import subscriptions
from service.store.deliveries import Delivery, Finished, claim, finish
from service.store.subscriptions import Change

DAYS = 5 * 86400.0


def finished(delivery: Delivery, *, state: str, gone: bool = False) -> Finished:
    """A try that heard 500, or 410 where the endpoint is `gone`."""
    return Finished(
        delivery=delivery,
        state=state,
        status=410 if gone else 500,
        duration_ms=1,
        error=None,
        response=b"",
        again_in=5.0,
        gone=gone,
    )


async def test_two_last_tries_that_hear_410_one_after_the_other_are_both_held(
    db: Database,
) -> None:
    app = await make_app(db)
    await subscribe(db, app, "https://a.example/", ["job.completed"])
    jobs = [await completed(db, app) for _ in range(2)]
    for delivery in await claim(db, limit=10, lease_seconds=30.0):
        last = finished(delivery, state="failed", gone=True)
        assert await finish(db, [last], patience_seconds=DAYS) == ["pending"]
    for job in jobs:
        assert (await rows_of(db, "deliveries", job))[0]["state"] == "pending"


async def test_what_was_sent_to_a_deleted_endpoint_can_fail_for_good(db: Database) -> None:
    app = await make_app(db)
    wanted = await subscribe(db, app, "https://a.example/", ["job.completed"])
    await completed(db, app)
    (delivery,) = await claim(db, limit=10, lease_seconds=30.0)
    assert await subscriptions.delete(db, app, wanted)
    last = finished(delivery, state="failed", gone=True)
    assert await finish(db, [last], patience_seconds=DAYS) == ["failed"]
    assert await db.pool.fetchval("select count(*) from failing_endpoints") == 0


@pytest.mark.parametrize("enabled_before", [True, False])
async def test_an_endpoint_that_is_enabled_again_has_not_failed_yet(
    db: Database, enabled_before: bool
) -> None:
    app = await make_app(db)
    wanted = await subscribe(db, app, "https://a.example/", ["job.completed"])
    await completed(db, app)
    (delivery,) = await claim(db, limit=10, lease_seconds=30.0)
    await finish(db, [finished(delivery, state="pending")], patience_seconds=DAYS)
    shown = await subscriptions.change(db, app, wanted, Change(enabled=enabled_before))
    assert shown is not None
    assert shown["failing_since"] is not None
    shown = await subscriptions.change(db, app, wanted, Change(enabled=True))
    assert shown is not None
    assert (shown["failing_since"] is None) == shown["enabled_again"] == (not enabled_before)
    read = await subscriptions.get(db, app, wanted)
    assert read is not None
    assert read["failing_since"] == shown["failing_since"]


async def test_a_deleted_endpoint_is_not_remembered_as_failing(db: Database) -> None:
    app = await make_app(db)
    wanted = await subscribe(db, app, "https://a.example/", ["job.completed"])
    await completed(db, app)
    (delivery,) = await claim(db, limit=10, lease_seconds=30.0)
    await finish(db, [finished(delivery, state="pending")], patience_seconds=DAYS)
    assert await subscriptions.delete(db, app, wanted)
    assert await db.pool.fetchval("select count(*) from failing_endpoints") == 0


async def test_a_try_recorded_twice_counts_once(db: Database) -> None:
    app = await make_app(db)
    await subscribe(db, app, "https://a.example/", ["job.completed"])
    job = await completed(db, app)
    (delivery,) = await claim(db, limit=10, lease_seconds=30.0)
    tried = finished(delivery, state="pending")
    assert await finish(db, [tried], patience_seconds=DAYS) == ["pending"]
    assert await finish(db, [tried], patience_seconds=DAYS) == [None]
    assert (await rows_of(db, "deliveries", job))[0]["tries"] == 1
    assert len(await rows_of(db, "delivery_tries", job)) == 1
