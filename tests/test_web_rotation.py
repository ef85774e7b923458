"""Signing secrets replaced over HTTP, while whoever verifies still has the old one."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from app_client import is_problem
from raw_server import says, serving
from scene import SECRETS
from standardwebhooks.webhooks import Webhook
from telling import Board, answering, board, parts

from service.database import Database
from service.encryption import AtRest
from service.renewal import renew_secrets
from service.store import access

OK = says(answering("200 OK"), then_closes=False)
URL = "https://app.example/events"


@pytest.fixture
async def studio(db: Database) -> AsyncIterator[Board]:
    async with board(db) as made:
        yield made


async def test_a_secret_can_be_replaced_while_both_sign(studio: Board, db: Database) -> None:
    async with serving(OK) as server:
        made = await studio.subscribe(server.origin)
        at = f"/v1/subscriptions/{made['id']}/rotate"
        answer = await studio.web.post(at, json={"overlap_seconds": 600})
        assert answer.status_code == 200
        new = answer.json()["secret"]
        until = datetime.fromisoformat(answer.json()["previous_valid_until"])
        assert timedelta(minutes=9) < until - datetime.now(UTC) <= timedelta(minutes=10)
        await studio.ended()
        await studio.send()
        headers, body = parts(server.requests[0])
        for secret in (new, made["secret"]):
            assert Webhook(secret).verify(body, headers)["type"] == "job.completed"
        first, second = headers["webhook-signature"].split(" ")
        assert Webhook(new).verify(body, headers | {"webhook-signature": first})
        assert Webhook(made["secret"]).verify(body, headers | {"webhook-signature": second})
        await studio.web.post(f"/v1/subscriptions/{made['id']}/test")
        assert len(parts(server.requests[1])[0]["webhook-signature"].split(" ")) == 2
        await db.pool.execute("update former_secrets set valid_until = now()")
        await studio.ended()
        await studio.send()
        headers, body = parts(server.requests[2])
        assert Webhook(new).verify(body, headers)
        assert " " not in headers["webhook-signature"]


async def test_replaced_without_overlap_the_old_secret_signs_no_more(studio: Board) -> None:
    async with serving(OK) as server:
        made = await studio.subscribe(server.origin)
        at = f"/v1/subscriptions/{made['id']}/rotate"
        new = (await studio.web.post(at, json={"overlap_seconds": 0})).json()["secret"]
        await studio.ended()
        await studio.send()
    headers, body = parts(server.requests[0])
    assert Webhook(new).verify(body, headers)
    assert " " not in headers["webhook-signature"]


async def test_replaced_twice_even_the_first_secret_signs_on(studio: Board, db: Database) -> None:
    """An answer that got lost is asked for again; whoever verifies still has the first secret."""
    async with serving(OK) as server:
        made = await studio.subscribe(server.origin)
        at = f"/v1/subscriptions/{made['id']}/rotate"
        secrets = [made["secret"]]
        secrets += [(await studio.web.post(at)).json()["secret"] for _ in range(2)]
        await studio.ended()
        await studio.send()
    headers, body = parts(server.requests[0])
    for secret in secrets:
        assert Webhook(secret).verify(body, headers)
    stored = await db.pool.fetch("select secret from former_secrets order by id")
    assert [AtRest(SECRETS).decrypt(row["secret"]) for row in stored] == secrets[:2]


async def test_replaced_twice_at_once_no_secret_is_forgotten(studio: Board, db: Database) -> None:
    made = await studio.subscribe(URL)
    at = f"/v1/subscriptions/{made['id']}/rotate"
    answers = await asyncio.gather(*(studio.web.post(at) for _ in range(5)))
    secrets = {made["secret"], *(one.json()["secret"] for one in answers)}
    stored = [one["secret"] for one in await db.pool.fetch("select secret from former_secrets")]
    stored.append(await db.pool.fetchval("select secret from subscriptions"))
    assert sorted(AtRest(SECRETS).decrypt(one) for one in stored) == sorted(secrets)


async def test_only_so_many_secrets_sign_at_once(studio: Board, db: Database) -> None:
    made = await studio.subscribe(URL)
    at = f"/v1/subscriptions/{made['id']}/rotate"
    answers = [await studio.web.post(at) for _ in range(11)]
    assert [one.status_code for one in answers] == [200] * 10 + [409]
    assert is_problem(answers[-1], 409, "conflict")
    await db.pool.execute("update former_secrets set valid_until = now() - interval '1 second'")
    assert (await studio.web.post(at)).status_code == 200
    assert await db.pool.fetchval("select count(*) from former_secrets") == 1


@pytest.mark.parametrize("overlap", [-1, 604801, "600", 1.5, None, True])
async def test_an_overlap_has_bounds(studio: Board, overlap: object) -> None:
    made = await studio.subscribe(URL)
    at = f"/v1/subscriptions/{made['id']}/rotate"
    answer = await studio.web.post(at, json={"overlap_seconds": overlap})
    assert is_problem(answer, 422, "invalid_request", "overlap_seconds")


async def test_former_secrets_are_put_under_the_newest_key_like_all_others(
    studio: Board, db: Database
) -> None:
    made = await studio.subscribe(URL)
    assert (await studio.web.post(f"/v1/subscriptions/{made['id']}/rotate")).status_code == 200
    rotated = ("a secret made today and long enough", *SECRETS)
    await renew_secrets(db, AtRest(rotated), rotated)
    stored = await db.pool.fetchval("select secret from former_secrets")
    assert AtRest(rotated[:1]).decrypt(stored) == made["secret"]


async def test_a_secret_that_is_replaced_while_all_are_renewed_stays_replaced(
    studio: Board, db: Database
) -> None:
    made = await studio.subscribe(URL)
    (old,) = [one for one in await access.list_encrypted(db) if one[0] == "secret"]
    answer = await studio.web.post(f"/v1/subscriptions/{made['id']}/rotate")
    kind, owner, stored = old
    await access.renew_encrypted(db, kind, owner, AtRest(SECRETS).encrypt("old"), stored)
    stored = await db.pool.fetchval("select secret from subscriptions")
    assert AtRest(SECRETS).decrypt(stored) == answer.json()["secret"]
