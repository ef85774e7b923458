"""Anything at all sent to the API: never a 5xx, and every refusal a whole problem document."""

import json
from collections.abc import AsyncIterator
from typing import Any

import app_client
import httpx
import pytest
from app_client import JOB, KEY, is_problem
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scene import make_app

from service.catalog.params import NAMES as NAMES_OF_PARAMS
from service.database import Database
from service.web.deliveries import FILTERS as OF_DELIVERIES
from service.web.jobs import FILTERS

several = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
# Lone surrogates and NUL among them: JSON can say both, and neither fits everywhere.
TEXT = st.text(max_size=20) | st.text("\x00\ud800\udfff\u202e\U0001f600a", max_size=5)
PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT
VALUE = st.recursive(
    PLAIN | st.integers(min_value=2**64),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
URL = st.from_regex(r"https?://[a-z0-9.\[\]:@%\\/#?]{0,30}", fullmatch=True) | TEXT
JOBS = st.fixed_dictionaries(
    {
        "model": st.sampled_from([JOB["model"], "nobody/knows"]) | VALUE,
        "input": st.fixed_dictionaries({"prompt": TEXT}) | st.dictionaries(TEXT, VALUE) | VALUE,
    },
    optional={
        "params": st.dictionaries(st.sampled_from(NAMES_OF_PARAMS) | TEXT, PLAIN) | VALUE,
        "provider": st.just("fal") | VALUE,
        "unlisted": st.booleans() | VALUE,
        "dry_run": st.booleans() | VALUE,
        "metadata": st.dictionaries(TEXT, TEXT) | VALUE,
        "reference": TEXT | VALUE,
        "notify_hook": URL | VALUE,
        "deadline_seconds": st.floats(allow_nan=False) | VALUE,
        "count": VALUE,
    },
)
SUBSCRIPTIONS = st.fixed_dictionaries(
    {"url": URL | VALUE},
    optional={
        "events": st.lists(st.sampled_from(["job.completed", "job.stuck"]) | TEXT) | VALUE,
        "secret": st.just("whsec_" + "A" * 43 + "=") | TEXT.map("whsec_".__add__) | VALUE,
        "headers": st.dictionaries(TEXT, TEXT) | VALUE,
        "since": st.sampled_from(["2026-01-01", "evt_" + "0" * 32]) | VALUE,
    },
)
SINCE = st.sampled_from(["2026-01-01", "0001-01-01", "9999-12-31T23:59:59-14:00"]) | VALUE
ACTS = st.sampled_from(["rotate", "recover"])  # a test would call whoever it names
ON_SUBSCRIPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "overlap_seconds": VALUE,
        "since": SINCE,
        "until": SINCE,
        "all": st.booleans() | VALUE,
        "dry_run": st.booleans() | VALUE,
        "enabled": st.booleans() | VALUE,
        "url": URL | VALUE,
        "events": st.lists(st.sampled_from(["job.completed", "job.stuck"]) | TEXT) | VALUE,
        "headers": st.dictionaries(TEXT, TEXT) | VALUE,
    },
)
NAMES = st.sampled_from(
    [*FILTERS, *OF_DELIVERIES, "metadata[a]", "metadata[", "metadata[]"],
)
SENSIBLE = st.sampled_from(["queued", "true", "1", "2026-01-01", "job_" + "0" * 32, "fal"])
QUERY = st.lists(st.tuples(NAMES | TEXT, SENSIBLE | TEXT), max_size=4)


@pytest.fixture
async def web(db: Database) -> AsyncIterator[httpx.AsyncClient]:
    await make_app(db, key=KEY)
    async with app_client.client(app_client.app(db)) as client:
        yield client


def is_answered(answer: httpx.Response) -> bool:
    """Whether it is a success in JSON, or a problem document of the caller's own making."""
    if answer.status_code < 300:
        return answer.headers["content-type"] == "application/json"
    body = json.loads(answer.content)
    fields = [one["field"] for one in body.get("errors", ())]
    named = answer.status_code != 422 or fields or body["code"] == "idempotency_conflict"
    return bool(
        400 <= answer.status_code < 500
        and named
        and is_problem(answer, answer.status_code, body["code"], *fields)
    )


async def posted(web: httpx.AsyncClient, path: str, body: Any) -> httpx.Response:
    content = json.dumps(body)
    return await web.post(path, content=content, headers={"content-type": "application/json"})


@several
@given(body=JOBS | VALUE)
async def test_any_job_is_taken_or_refused(web: httpx.AsyncClient, body: Any) -> None:
    answer = await posted(web, "/v1/jobs", body)
    assert is_answered(answer), answer.text
    if answer.status_code == 202:
        again = await web.get(answer.headers["location"])
        assert again.status_code == 200
        assert json.loads(again.text)["input"] == json.loads(json.dumps(body["input"]))


@several
@given(body=SUBSCRIPTIONS | VALUE)
async def test_any_subscription_is_taken_or_refused(web: httpx.AsyncClient, body: Any) -> None:
    answer = await posted(web, "/v1/subscriptions", body)
    assert is_answered(answer), answer.text
    if answer.status_code == 201:
        assert (await web.get(answer.headers["location"])).status_code == 200


@several
@given(name=ACTS, body=ON_SUBSCRIPTIONS | VALUE)
async def test_anything_done_to_a_subscription_is_done_or_refused(
    web: httpx.AsyncClient, name: str, body: Any
) -> None:
    made = await web.post("/v1/subscriptions", json={"url": "https://app.example/"})
    at = made.headers["location"]
    kind = {"content-type": "application/json"}
    changed = await web.patch(at, content=json.dumps(body), headers=kind)
    assert is_answered(changed), changed.text
    answer = await posted(web, f"{at}/{name}", body)
    assert is_answered(answer), answer.text


@several
@given(query=QUERY)
async def test_any_query_is_answered_or_refused(
    web: httpx.AsyncClient, query: list[tuple[str, str]]
) -> None:
    sendable = [tuple(part.encode("utf-8", "replace").decode() for part in pair) for pair in query]
    for path in ("/v1/jobs", "/v1/subscriptions", "/v1/deliveries", "/v1/reconciliation"):
        answer = await web.get(path, params=sendable)
        assert is_answered(answer), answer.text


@several
@given(raw=st.binary(max_size=40), name=st.sampled_from(["prefer", "idempotency-key"]))
async def test_any_body_or_header_is_answered_or_refused(
    web: httpx.AsyncClient, raw: bytes, name: str
) -> None:
    kind = {"content-type": "application/json"}
    assert is_answered(await web.post("/v1/jobs", content=raw, headers=kind))
    value = raw.replace(b"\n", b"").replace(b"\r", b"").replace(b"\x00", b"")
    answer = await web.post("/v1/jobs", json=JOB, headers=[(name.encode(), value)])
    assert is_answered(answer), answer.text
