"""A secret in a job's input: sent as given, encrypted at rest, and *** wherever anyone looks."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from uuid import UUID

import app_client
import httpx
import pytest
import signing
from nacl.signing import SigningKey
from posting import ACCEPTED, Talk, answering, submitter
from pydantic import SecretStr
from raw_server import Server, serving
from scene import SECRETS, job_row, make_app, rows_of
from sweeping import sweeper_of

from service import ids
from service.call import Answer, Call
from service.catalog import Catalog
from service.database import Database
from service.deliver import Delivering
from service.encryption import AtRest
from service.errors import SettingInvalid
from service.guard import Guard
from service.job import State
from service.moves import Moves
from service.pooled import Asker, Deliverer
from service.providers import fal
from service.receive import Receiver
from service.renewal import renew_secrets
from service.signature import Keys
from service.store import access
from service.tokens import Tokens
from service.vault import Vault

MODEL = "fal-ai/sora-2/text-to-video"
SECRET = "sk-proj-planted-0123456789abcdef"
GIVEN = {"prompt": "a paper boat", "api_key": SECRET, "duration": 8}
SHOWN = GIVEN | {"api_key": "***"}
STRANGER = SigningKey(bytes(32))
CATALOG, TOKENS = Catalog.load(), Tokens(SECRETS)
VAULT = Vault(AtRest(SECRETS), CATALOG.secret_fields())
ECHO = [{"loc": ["body", "api_key"], "msg": f"{SECRET} is refused", "type": "x", "input": SECRET}]


@pytest.fixture
async def web(db: Database) -> AsyncIterator[httpx.AsyncClient]:
    await make_app(db)
    async with app_client.client(app_client.app(db)) as client:
        yield client


async def made(web: httpx.AsyncClient, **more: Any) -> UUID:
    answer = await web.post("/v1/jobs", json={"model": MODEL, "input": GIVEN} | more)
    assert answer.status_code == 202, answer.text
    job = ids.read("job", answer.json()["id"])
    assert job is not None
    return job


async def leaks(db: Database, web: httpx.AsyncClient) -> list[str]:
    """Every table and every answer that holds the secret in plain."""
    tables = await db.pool.fetch(
        "select table_name from information_schema.tables where table_schema = 'public'"
    )
    found = []
    for (table,) in tables:
        rows = await db.pool.fetch(f"select * from {table}")
        if any(SECRET.encode() in _bytes(value) for row in rows for value in row.values()):
            found.append(table)
    for path in ["/v1/jobs"] + [
        f"/v1/jobs/{ids.show('job', one)}{rest}"
        for (one,) in await db.pool.fetch("select id from jobs")
        for rest in ("", "/timeline")
    ]:
        answer = await web.get(path)
        assert answer.status_code == 200
        if SECRET in answer.text:
            found.append(path)
    return found


def _bytes(value: Any) -> bytes:
    return bytes(value) if isinstance(value, bytes) else str(value).encode()


def body_of(request: bytes) -> bytes:
    return request.partition(b"\r\n\r\n")[2]


def token_in(request: bytes) -> str:
    """The callback token that a submission carried."""
    asked = httpx.URL(request.split(b" ")[1].decode())
    return httpx.URL(asked.params["fal_webhook"]).params["token"]


def provider(url: str) -> fal.Fal:
    return app_client.fal_provider(fal_queue_url=url)


async def submitted(db: Database, talk: Talk, vault: Vault = VAULT) -> Server:
    async with serving(talk) as server:
        sender = submitter(db, provider(server.origin), vault=vault)
        await sender.step()
        await sender.finish()
        return server


async def test_it_is_sent_as_given_and_shown_as_stars(web: httpx.AsyncClient, db: Database) -> None:
    job = await made(web)
    server = await submitted(db, ACCEPTED)
    (request,) = server.requests
    assert json.loads(body_of(request)) == GIVEN
    assert list(json.loads(body_of(request))) == list(GIVEN)
    row = await job_row(db, job)
    assert (row["state"], json.loads(row["input"])) == ("submitted", SHOWN)
    shown = (await web.get(f"/v1/jobs/{ids.show('job', job)}")).json()
    assert shown["input"] == SHOWN
    assert shown["cost"]["estimate"] == "0"
    assert await leaks(db, web) == []


async def test_a_dry_run_and_an_unlisted_model_show_stars_too(
    web: httpx.AsyncClient, db: Database
) -> None:
    body = {"model": MODEL, "input": GIVEN, "dry_run": True}
    dry = await web.post("/v1/jobs", json=body)
    assert dry.json()["input"] == SHOWN
    assert SECRET not in dry.text
    await made(web, model="fal-ai/sora-3", unlisted=True)
    assert await leaks(db, web) == []
    assert json.loads(body_of((await submitted(db, ACCEPTED)).requests[0])) == GIVEN


async def test_the_same_key_and_secret_are_the_same_job_and_another_secret_is_not(
    web: httpx.AsyncClient, db: Database
) -> None:
    headers, body = {"Idempotency-Key": "k"}, {"model": MODEL, "input": GIVEN}
    first = await web.post("/v1/jobs", json=body, headers=headers)
    again = await web.post("/v1/jobs", json=body, headers=headers)
    assert again.json()["id"] == first.json()["id"]
    other = await web.post("/v1/jobs", json=body | {"input": SHOWN}, headers=headers)
    assert other.status_code == 422
    assert len(await db.pool.fetch("select * from job_secrets")) == 1


@pytest.mark.parametrize("status", ["422 Unprocessable Entity", "500 Internal Server Error"])
async def test_a_reply_that_repeats_it_is_kept_without_it(
    web: httpx.AsyncClient, db: Database, status: str
) -> None:
    job = await made(web)
    await submitted(db, answering(status, {"detail": ECHO}))
    row = await job_row(db, job)
    assert row["state"] in (State.FAILED, State.UNCONFIRMED)
    assert "***" in row["error"]
    assert await leaks(db, web) == []


async def test_a_poll_that_repeats_it_ends_the_job_without_it(
    web: httpx.AsyncClient, db: Database
) -> None:
    job = await made(web)
    await submitted(db, ACCEPTED)
    await db.pool.execute("update agenda set due_at = now()")
    asker = Asker()
    told = iter(({"status": "COMPLETED", "request_id": "req-1"}, {"detail": ECHO}))

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        body = next(told)
        await answering("200 OK" if "status" in body else "422 No", body)(reader, writer)

    async with serving(talk) as server:
        sweeper = sweeper_of(db, {"fal": provider(server.origin)}, asker, vault=VAULT)
        await sweeper.step()
        await sweeper.turns.drain()
    await asker.aclose()
    row = await job_row(db, job)
    assert (row["state"], row["learnt_by"]) == ("failed", "poll")
    assert "*** is refused" in row["error"]
    assert await leaks(db, web) == []


def door(db: Database) -> Receiver:
    keys = {"fal": Keys("https://keys.example", signing.key_set)}
    one = app_client.fal_provider(fal_webhook_token=(SecretStr("s" * 20),))
    return Receiver(db, {"fal": one}, TOKENS, keys, Moves(db), VAULT)


def call(token: str, body: bytes, **more: Any) -> Call:
    headers = signing.headers(body)
    return Call(
        provider="fal", token=token, headers=headers, body=body, address="192.0.2.7", **more
    )


FAILED = {
    "request_id": "req-1",
    "status": "ERROR",
    "error": f"the key {SECRET} is refused",
    "payload": {"detail": ECHO},
}


@pytest.mark.parametrize("how", ["token", "shared", "bad signature"])
async def test_a_callback_that_repeats_it_is_kept_without_it(
    web: httpx.AsyncClient, db: Database, how: str
) -> None:
    job = await made(web)
    token = token_in((await submitted(db, ACCEPTED)).requests[0])
    assert TOKENS.read(token, provider="fal", now=time.time()).sealed
    body = json.dumps(FAILED).encode()
    if how == "bad signature":
        unsigned = replace(call(token, body), headers=signing.headers(body, key=STRANGER))
        assert await door(db).receive(unsigned) == Answer(status=401)
    elif how == "shared":
        assert (await door(db).receive(call("s" * 20, body, shared=True))).word == "accepted"
    else:
        assert (await door(db).receive(call(token, body))).word == "accepted"
        assert (await door(db).receive(call(token, body))).word == "duplicate"
    kept = await rows_of(db, "callbacks", job)
    assert kept
    assert all(b"the key *** is refused" in one["body"] for one in kept)
    state = "submitted" if how == "bad signature" else "failed"
    assert (await job_row(db, job))["state"] == state
    assert await leaks(db, web) == []


async def test_a_callback_that_repeats_nothing_is_kept_byte_for_byte(
    web: httpx.AsyncClient, db: Database
) -> None:
    job = await made(web)
    token = token_in((await submitted(db, ACCEPTED)).requests[0])
    assert (await door(db).receive(call(token, signing.success()))).word == "accepted"
    assert [one["body"] for one in await rows_of(db, "callbacks", job)] == [signing.success()]


async def test_a_subscriber_is_told_stars(web: httpx.AsyncClient, db: Database) -> None:
    async with serving(answering("200 OK", {})) as server:
        await made(web)
        await db.pool.execute("update jobs set notify_hook = $1", f"{server.origin}/hook")
        await submitted(db, answering("422 No", {"detail": ECHO}))
        client = Deliverer(Guard(["127.0.0.0/8"]))
        sending = Delivering(db, AtRest(SECRETS), client, wake=asyncio.Event())
        await sending.step()
        await asyncio.wait_for(server.arrived.wait(), 10)
        await sending.finish()
        await client.aclose()
        heard = [body_of(one) for one in server.requests]
    assert heard
    assert all(SECRET.encode() not in one and b'"api_key":"***"' in one for one in heard)


async def test_the_start_renews_it_and_stops_where_nothing_opens_it(
    web: httpx.AsyncClient, db: Database
) -> None:
    await made(web)
    rotated = ("a secret made today and long enough", *SECRETS)
    await renew_secrets(db, AtRest(rotated), rotated)
    (stored,) = [one for kind, _, one in await access.list_encrypted(db) if kind == "job"]
    newest = Vault(AtRest(rotated[:1]), CATALOG.secret_fields())
    assert newest.restored(SHOWN, stored) == GIVEN
    await db.pool.execute("delete from api_keys")
    with pytest.raises(SettingInvalid, match="CALLBOARD_SECRETS"):
        await renew_secrets(db, AtRest(SECRETS), SECRETS)


async def test_what_cannot_be_opened_is_not_sent_without_it(
    web: httpx.AsyncClient, db: Database, caplog: pytest.LogCaptureFixture
) -> None:
    job = await made(web)
    stranger = Vault(AtRest(["not one of those that were used"]), CATALOG.secret_fields())
    assert (await submitted(db, ACCEPTED, stranger)).requests == []
    assert (await job_row(db, job))["state"] == "queued"
    assert "CALLBOARD_SECRETS" in caplog.text
    assert SECRET not in caplog.text
