"""service/reconciliation.py: which jobs are read, and how many rows at a time."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from scene import S, make_app, make_job

from service import ids
from service.database import Database
from service.errors import InvalidRequest
from service.reconciliation import EPOCH, Wanted, read, wanted


@pytest.fixture
async def app(db: Database) -> UUID:
    return await make_app(db)


async def test_only_the_jobs_made_in_the_span_count(db: Database, app: UUID) -> None:
    job = await make_job(db, app, S.COMPLETED)
    made = datetime.fromtimestamp(ids.made_at(job), UTC)
    step = timedelta(milliseconds=1)

    async def jobs(since: datetime, until: datetime) -> int:
        found = await read(db, app, Wanted(since=since, until=until), limit=None)
        return sum(row["jobs"] for row in found["data"])

    assert await jobs(made, made + step) == 1
    assert await jobs(made - step, made) == 0
    assert await jobs(made + step, made + 2 * step) == 0


async def test_models_come_page_by_page_and_the_providers_stay_whole(
    db: Database, app: UUID
) -> None:
    for model in ("b/1", "a:2", "a/2"):
        await make_job(db, app, model=model)
    await make_job(db, app, provider="relay", model="a")
    until = datetime.now(UTC) + timedelta(hours=1)
    since = until - timedelta(hours=2)
    seen, after = [], ("", "")
    for _ in range(4):
        page = await read(db, None, Wanted(since=since, until=until, after=after), limit=1)
        assert [whole["jobs"] for whole in page["providers"]] == [3, 1]
        (row,) = page["data"]
        seen.append((row["provider"], row["model"]))
        if page["next"] is not None:
            after = wanted({"after": page["next"]}, datetime.now(UTC)).after
    assert page["next"] is None
    assert sorted(seen) == sorted([("fal", "a/2"), ("fal", "a:2"), ("fal", "b/1"), ("relay", "a")])


NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


def test_the_last_day_is_read_unless_another_span_is_asked_for() -> None:
    day = timedelta(days=1)
    assert wanted({}, NOW) == Wanted(since=NOW - day, until=NOW)
    assert wanted({"since": "2026-01-01T12:00:00Z"}, NOW).since == NOW - 30 * day
    past = wanted({"until": "2025-06-01T02:00:00+02:00"}, NOW)
    assert (past.since, past.until) == (
        datetime(2025, 5, 31, tzinfo=UTC),
        datetime(2025, 6, 1, tzinfo=UTC),
    )
    assert wanted({"until": "1970-01-01T01:00"}, NOW).since == EPOCH


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"since": "yesterday"}, "since"),
        ({"until": ""}, "until"),
        ({"since": "2026-01-31T12:00:00Z"}, "since"),
        ({"since": "2025-12-31T11:59:59Z"}, "since"),
        ({"until": "1969-12-31T23:59:59Z"}, "until"),
        ({"until": "9999-12-31T23:59:59-14:00"}, "until"),
        ({"after": "fal"}, "after"),
        ({"after": "fal:\x00"}, "after"),
        ({"after": "fal:\ud800"}, "after"),
    ],
)
def test_a_span_that_cannot_be_read_is_refused_by_its_name(
    query: dict[str, str], field: str
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        wanted(query, NOW)
    assert [one.field for one in refused.value.fields] == [field]
