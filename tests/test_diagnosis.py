"""service/diagnosis.py: the operator sees why, and which job was meant; the caller a bare 401."""

import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import UUID

import app_client
import httpx
import pytest
import signing
from calling import VAULT, call, kept, receiver, relay_provider, task, token, told
from in_step import follow
from nacl.signing import SigningKey
from scene import app_of, make_app, make_job, rows_of

from service import ids
from service.call import Answer
from service.database import Database
from service.diagnosis import REFUSED_BYTES
from service.errors import KeysAway
from service.job import State
from service.providers import Provider
from service.signature import Keys
from service.tokens import Tokens
from service.web.callbacks import BODY_BYTES

BODY = signing.success()
RETIRED = Tokens(["a secret that is no longer among them"])
OPERATOR = "cb_" + "o" * 43
PLANTED = "sk-proj-planted-0123456789abcdef"


@pytest.fixture
async def job(db: Database) -> UUID:
    return await make_job(db, await make_app(db), State.SUBMITTED)


@pytest.fixture
async def web(db: Database, job: UUID) -> AsyncIterator[httpx.AsyncClient]:
    """A client with an operator's key; its calls at the door come from 127.0.0.1."""
    await app_client.make_key(db, OPERATOR, "operate", all_apps=True)
    fal: dict[str, Provider] = {"fal": app_client.fal_provider(fal_user_id="user-42")}
    app = app_client.app(db, app_client.creator(db, providers=fal))
    async with app_client.client(app, OPERATOR) as client:
        yield client


def signed(body: bytes = BODY, **more: Any) -> dict[str, str]:
    """Signed now: what was signed when this file was read is stale by the end of a long run."""
    return signing.headers(body, **more)


def forged() -> dict[str, str]:
    return signed(key=SigningKey(bytes(range(1, 33))))


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A call: its token from the job's own good one, and what comes with it."""

    reason: str
    given: Callable[[UUID], str] = token
    body: bytes = BODY
    headers: Callable[[], dict[str, str]] = signed
    status: int = 401
    verdict: str = "refused"
    meant: bool = True


OTHERS = signing.success("req-of-nobody")


def unreadable(reason: str, body: bytes) -> Case:
    """A body that is signed, and that nobody can read."""
    headers = partial(signed, body, request_id="req-1")
    return Case(reason=reason, body=body, headers=headers, status=400, verdict="unreadable")


CASES = [
    Case(reason="no_token", given=lambda job: ""),
    Case(reason="truncated", given=lambda job: token(job)[:-3]),
    Case(reason="truncated", given=lambda job: token(job)[:20]),
    Case(reason="double_encoded", given=lambda job: token(job).replace(".", "%252E")),
    Case(reason="malformed", given=lambda job: "a.token.of.another-make"),
    Case(reason="unknown_secret", given=lambda job: token(job, tokens=RETIRED)),
    Case(reason="expired", given=lambda job: token(job, lasts=-1.0)),
    Case(reason="other_provider", given=lambda job: token(job, provider="relay")),
    Case(reason="other_job", body=OTHERS, headers=partial(signed, OTHERS)),
    Case(reason="signature_missing", headers=lambda: {"content-type": "application/json"}),
    Case(reason="signature_invalid", headers=forged),
    Case(reason="user_mismatch", headers=partial(signed, user_id="user-7")),
    Case(
        reason="request_id_mismatch",
        headers=partial(signed, request_id="req-2"),
    ),
    Case(
        reason="wrong_type",
        headers=lambda: signed() | {"content-type": "text/html"},
        status=415,
        verdict="unreadable",
    ),
    Case(
        reason="too_large",
        body=BODY + b" " * BODY_BYTES,
        status=413,
        verdict="unreadable",
    ),
    Case(
        reason="too_large",
        given=lambda job: "",
        body=BODY + b" " * BODY_BYTES,
        status=413,
        verdict="unreadable",
        meant=False,
    ),
    unreadable("not_json", b"<html>"),
    unreadable("truncated", b'{"a'),
    unreadable("double_encoded", json.dumps(BODY.decode()).encode()),
    unreadable("malformed", b"[]"),
]
WORDS = {
    400: {"error": "not a callback of this provider"},
    401: {"error": "refused"},
    413: {"error": "larger than 1 MiB"},
    415: {"error": "application/json only"},
}


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.verdict}-{case.reason}")
async def test_the_operator_sees_the_reason_and_the_job_and_the_caller_neither(
    db: Database, web: httpx.AsyncClient, job: UUID, case: Case
) -> None:
    query = {"token": case.given(job)}
    answer = await web.post(
        "/callbacks/fal", params=query, content=case.body, headers=case.headers()
    )
    assert (answer.status_code, answer.json()) == (case.status, WORDS[case.status])
    (seen,) = (await web.get("/v1/callbacks")).json()["data"]
    assert (seen["verdict"], seen["reason"]) == (case.verdict, case.reason)
    assert seen["job"] == (ids.show("job", job) if case.meant else None)
    assert await db.pool.fetchval("select state from jobs where id = $1", job) == "submitted"


async def test_a_stale_signature_is_a_hint_with_its_reason(
    web: httpx.AsyncClient, job: UUID
) -> None:
    stale = signing.headers(BODY, at=int(time.time()) - 3600)
    answer = await web.post(f"/callbacks/fal?token={token(job)}", content=BODY, headers=stale)
    assert (answer.status_code, answer.json()) == (200, {"status": "accepted"})
    (seen,) = (await web.get("/v1/callbacks")).json()["data"]
    assert (seen["verdict"], seen["reason"]) == ("hint", "signature_stale")


async def test_old_attempts_and_unknown_jobs_are_ignored_with_their_reason(
    db: Database, web: httpx.AsyncClient, job: UUID
) -> None:
    await db.pool.execute("insert into attempts (job_id, number) values ($1, 2)", job)
    await db.pool.execute("update jobs set attempt = 2 where id = $1", job)
    await follow(db)
    for about in (job, ids.new_id()):
        url = f"/callbacks/fal?token={token(about)}"
        answer = await web.post(url, content=BODY, headers=signed())
        assert (answer.status_code, answer.json()) == (200, {"status": "ignored"})
    seen = (await web.get("/v1/callbacks")).json()["data"]
    assert [(one["verdict"], one["reason"]) for one in seen] == [
        ("ignored", "unknown_job"),
        ("ignored", "old_attempt"),
    ]


async def test_while_the_keys_are_away_the_call_is_kept_whole_and_asked_for_again(
    db: Database, job: UUID
) -> None:
    async def away(url: str) -> bytes:
        raise KeysAway

    body = json.dumps(json.loads(BODY) | {"more": "x" * 2 * REFUSED_BYTES}).encode()
    door = receiver(db, keys={"fal": Keys("https://keys.example", away)})
    assert await door.receive(call(token(job), body)) == Answer(status=503)
    (one,) = await kept(db)
    assert (one.verdict, one.reason, one.job_id) == ("refused", "keys_away", job)
    assert one.body == body


async def test_a_call_with_a_good_token_that_names_a_job_of_another_is_refused_before_it_has_an_id(
    db: Database, job: UUID
) -> None:
    early = await make_job(db, await app_of(db, job), State.SUBMITTING)
    assert await receiver(db).receive(call(token(early))) == Answer(status=401)
    assert await told(db) == [("refused", "other_job")]
    assert (await rows_of(db, "attempts", early))[0]["provider_id"] is None
    assert (await receiver(db).receive(call(token(job)))).word == "accepted"


async def test_of_a_refused_call_the_beginning_is_kept_and_how_long_it_was(
    db: Database, web: httpx.AsyncClient, job: UUID
) -> None:
    body = json.dumps(json.loads(BODY) | {"more": "é" * 3000}, ensure_ascii=False).encode()
    url = f"/callbacks/fal?token={token(job)[:-1]}"
    headers = {"content-type": "application/json", "user-agent": "x" * 9000}
    headers |= {f"x-fal-webhook-{n}": "y" for n in range(40)}
    assert (await web.post(url, content=body, headers=headers)).status_code == 401
    (one,) = await kept(db)
    assert (one.job_id, one.body, one.whole) == (job, body[:REFUSED_BYTES], False)
    assert sum(map(len, one.headers.values())) < 1000
    assert len(one.headers) <= 13
    (seen,) = (await web.get("/v1/callbacks")).json()["data"]
    assert (seen["encoding"], seen["bytes"], seen["cut"]) == ("text", len(body), True)
    assert seen["body"].endswith("é")
    assert not any("callboard" in name for name in seen["headers"])


async def test_no_token_and_no_secret_is_kept_of_a_refused_call(db: Database) -> None:
    shown, sealed = VAULT.sealed("fal", {"prompt": "a boat", "api_key": PLANTED})
    job = await make_job(db, await make_app(db), State.SUBMITTED, input=shown, secrets=sealed)
    bad = token(job)[:-1] + "!"
    said = {"request_id": "req-1", "status": "OK", "payload": None}
    body = json.dumps(said | {"hook": f"https://x/?token={bad}", "echo": PLANTED}).encode()
    assert (await receiver(db).receive(call(bad, body, {}))).status == 401
    (one,) = await kept(db)
    assert one.job_id == job
    assert bad.encode() not in one.body
    assert PLANTED.encode() not in one.body
    assert one.body.count(b"***") == 2


async def test_a_provider_that_sends_its_notify_hook_back_leaves_no_token_behind(
    db: Database,
) -> None:
    job = await make_job(db, await make_app(db), State.SUBMITTED, provider="relay")
    given = token(job, provider="relay")
    body = task().replace(
        b"{", b'{"notify_hook": "https://x/callbacks/relay?token=%s", ' % given.encode(), 1
    )
    door = receiver(db, relay_provider("token"))
    assert (await door.receive(call(given, body, {}, provider="relay"))).word == "accepted"
    (one,) = await kept(db)
    assert b"?token=***" in one.body
    (attempt,) = await rows_of(db, "attempts", job)
    assert given not in attempt["output"]
