"""service/create.py: what an app asks for becomes one job, or a refusal that names the field."""

import asyncio
from datetime import date
from typing import Any
from uuid import UUID

import app_client
import pytest
from app_client import CATALOG, MODEL
from hypothesis import given, settings
from hypothesis import strategies as st
from scene import job_row, make_app

from service import create, ids, jsontext
from service.catalog import Catalog, Model
from service.create import DEFAULT_DEADLINE_SECONDS, Creator, Wanted, fingerprint
from service.database import Database
from service.errors import InvalidRequest, Unavailable

APP = ids.new_id()
PROMPT = {"prompt": "a paper boat"}


def wanted(**more: Any) -> Wanted:
    return Wanted(**{"app_id": APP, "model": MODEL, "input": PROMPT, "metadata": {}} | more)


def model(**more: Any) -> Model:
    known = {"provider": "fal", "id": MODEL, "category": "text-to-video", "typical_seconds": 9.0}
    return Model(**known | more)


def refusal(creator: Creator, **more: Any) -> tuple[str, list[str]]:
    """The code, and the fields named."""
    with pytest.raises(InvalidRequest) as refused:
        creator.prepare(wanted(**more))
    return refused.value.code, [one.field for one in refused.value.fields]


def test_a_deadline_is_the_requests_else_the_settings_else_the_models_else_two_hours(
    db: Database,
) -> None:
    own = Catalog(models=(model(deadline_seconds=600.0),))
    without = Catalog(models=(model(),))
    unset = app_client.creator(db, catalog=without)
    assert unset.prepare(wanted()).deadline_seconds == DEFAULT_DEADLINE_SECONDS
    assert app_client.creator(db).prepare(wanted()).deadline_seconds == 3600, "veo3/fast's own"
    assert app_client.creator(db, catalog=own).prepare(wanted()).deadline_seconds == 600
    set_to = app_client.creator(db, catalog=own, deadline=30.0)
    assert set_to.prepare(wanted()).deadline_seconds == 30
    assert set_to.prepare(wanted(deadline_seconds=5.0)).deadline_seconds == 5


def test_a_retired_model_is_taken_with_a_warning_and_others_without(db: Database) -> None:
    retired = Catalog(models=(model(retired_on=date(2026, 9, 24)),))
    (warning,) = app_client.creator(db, catalog=retired).prepare(wanted()).warnings
    assert "2026-09-24" in warning
    assert app_client.creator(db).prepare(wanted()).warnings == ()


@pytest.mark.parametrize(
    ("more", "code", "field"),
    [
        ({"model": "no/such"}, "unsupported_model", "model"),
        ({"model": "no/such", "provider": "fal"}, "unsupported_model", "model"),
        ({"provider": "prism"}, "provider_not_configured", "provider"),
        ({"provider": "prism", "unlisted": True}, "provider_not_configured", "provider"),
        ({"notify_hook": "http://10.0.0.1/"}, "invalid_request", "notify_hook"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(
    db: Database, more: dict[str, Any], code: str, field: str
) -> None:
    assert refusal(app_client.creator(db), **more) == (code, [field])


def test_where_no_provider_is_configured_the_model_says_which_lacks_its_key(db: Database) -> None:
    none = app_client.creator(db, providers={})
    assert refusal(none) == ("provider_not_configured", ["model"])
    assert refusal(none, model="no/such", unlisted=True) == ("provider_not_configured", ["model"])
    with pytest.raises(InvalidRequest, match="fal has no key"):
        none.prepare(wanted())


def test_an_unlisted_model_goes_to_the_only_provider_or_to_the_one_named(db: Database) -> None:
    providers = {"fal": app_client.fal_provider()}
    one = app_client.creator(db, providers=providers)
    assert one.prepare(wanted(model="no/such", unlisted=True)).provider == "fal"
    two = app_client.creator(db, providers=providers | {"twin": app_client.fal_provider()})
    assert refusal(two, model="x", unlisted=True) == ("invalid_request", ["provider"])
    assert two.prepare(wanted(model="x", unlisted=True, provider="fal")).provider == "fal"


def test_a_jobs_id_lies_in_its_keys_bucket(db: Database) -> None:
    creator = app_client.creator(db)
    for key in map(str, range(20)):
        made = creator.prepare(wanted(idempotency_key=key, fingerprint=b"f"))
        assert ids.bucket_of(made.id) == ids.bucket_for(APP, key)
        assert made.fingerprint == b"f"
    assert creator.prepare(wanted(fingerprint=b"f")).fingerprint is None


async def test_what_is_prepared_is_what_is_stored_and_shown(db: Database) -> None:
    app_id = await make_app(db)
    asked = wanted(
        app_id=app_id,
        input={"prompt": "a paper boat", "aspect_ratio": "1:1"},
        metadata={"user": "42"},
        reference="order-7",
        notify_hook="https://app.example/hook",
        deadline_seconds=60.0,
    )
    made = await app_client.creator(db).create(asked)
    row = await job_row(db, made.id)
    assert not made.replayed
    assert made.row is not None
    assert dict(made.row) == dict(row)
    assert (row["input"], row["reference"]) == (
        '{"prompt":"a paper boat","aspect_ratio":"1:1"}',
        "order-7",
    )
    assert jsontext.loads(row["metadata"]) == {"user": "42"}
    assert (row["notify_hook"], row["deadline_seconds"]) == ("https://app.example/hook", 60.0)
    agenda = await db.pool.fetchrow("select * from agenda where job_id = $1", made.id)
    assert agenda is not None
    assert (agenda["task"], agenda["provider"], agenda["lease"]) == ("submit", "fal", 0)


async def test_many_keys_many_times_each_at_once_are_one_job_each(db: Database) -> None:
    app_id = await make_app(db)
    creator = app_client.creator(db)

    async def made(key: str) -> tuple[str, UUID, bool]:
        asked = wanted(app_id=app_id, idempotency_key=key, fingerprint=b"same")
        answer = await creator.create(asked)
        return key, answer.id, answer.replayed

    answers = await asyncio.gather(*(made(str(n % 8)) for n in range(64)))
    assert len({(key, job) for key, job, _ in answers}) == 8
    assert sum(not replayed for *_, replayed in answers) == 8
    for table in ("jobs", "attempts", "job_events", "agenda", "idempotency_keys"):
        assert await db.pool.fetchval(f"select count(*) from {table}") == 8


async def test_of_two_bodies_under_one_key_at_once_just_one_is_made(db: Database) -> None:
    app_id = await make_app(db)
    creator = app_client.creator(db)
    answers = await asyncio.gather(
        *(
            creator.create(wanted(app_id=app_id, idempotency_key="k", fingerprint=bytes([n % 2])))
            for n in range(20)
        ),
        return_exceptions=True,
    )
    refused = [one for one in answers if isinstance(one, InvalidRequest)]
    assert len(refused) == 10
    assert {one.code for one in refused} == {"idempotency_conflict"}
    assert await db.pool.fetchval("select count(*) from jobs") == 1


async def test_a_database_that_stays_away_leaves_it_unknown(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(create, "STORE_WITHIN_SECONDS", 0.15)
    away = await Database.connect(dsn, size=1)
    await away.close()
    for key, retryable in ((None, False), ("k", True)):
        with pytest.raises(Unavailable) as unknown:
            await app_client.creator(away).create(wanted(idempotency_key=key))
        assert (unknown.value.charged, unknown.value.retryable) == ("unknown", retryable)
        assert unknown.value.retry_after


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=100, deadline=None)
@given(one=JSON, other=JSON)
def test_fingerprints_are_equal_just_where_the_values_are(one: Any, other: Any) -> None:
    def of(value: Any) -> bytes:
        return fingerprint(jsontext.canonical(value))

    again = jsontext.loads(jsontext.dumps(one))
    assert of(again) == of(one)
    assert (of(one) == of(other)) == (jsontext.canonical(one) == jsontext.canonical(other))


def test_the_catalog_in_service_offers_the_tests_model() -> None:
    assert [one.provider for one in CATALOG.find(MODEL)] == ["fal"]


async def test_a_job_made_while_its_provider_is_paused_is_answered_with_what_it_waits_for(
    db: Database,
) -> None:
    await db.pool.execute(
        "insert into provider_health (provider, pauses, paused_at, paused_until, code, message)"
        " values ('fal', 1, now(), now() + interval '1 hour', 'provider_auth', 'bad key')"
    )
    made = await app_client.creator(db).create(wanted(app_id=await make_app(db)))
    assert made.row is not None
    assert dict(made.row) == dict(await job_row(db, made.id))
    assert made.row["waiting_code"] == "provider_auth"
