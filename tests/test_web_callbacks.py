"""service/web/callbacks.py: HTTP at the providers' door, in front of a real Receiver."""

import json
import time
from uuid import UUID

import app_client
import pytest
import signing
from app_client import spoken
from scene import SECRETS, make_app, make_job, rows_of
from starlette.types import ASGIApp

from service.database import Database
from service.job import State
from service.providers import Provider
from service.tokens import Tokens
from service.web.callbacks import BODY_BYTES, Door

PATH = "/callbacks/fal"
BODY = signing.success()


@pytest.fixture
async def job(db: Database) -> UUID:
    return await make_job(db, await make_app(db), State.SUBMITTED)


@pytest.fixture
def door(db: Database) -> ASGIApp:
    providers: dict[str, Provider] = {"fal": app_client.fal_provider()}
    return Door(app_client.receiver(db, providers))


def query(job: UUID, lasts: float = 60.0) -> bytes:
    token = Tokens(SECRETS).make(
        provider="fal", job_id=job, attempt=1, expires_at=time.time() + lasts
    )
    return f"token={token}".encode()


async def called(
    door: ASGIApp, query: bytes, *parts: bytes | None, path: str = PATH, **headers: str
) -> tuple[int, dict[str, object]]:
    """The status and body of the answer to a signed call; `parts` default to the whole body."""
    answer = await spoken(
        door, parts or [BODY], path=path, query=query, headers=signing.headers(BODY) | headers
    )
    assert answer is not None
    status, shown, body = answer
    assert shown["content-type"] == "application/json"
    assert shown["content-length"] == str(len(body))
    return status, json.loads(body)


async def state_of(db: Database, job: UUID) -> str:
    return str(await db.pool.fetchval("select state from jobs where id = $1", job))


@pytest.mark.parametrize("path", [PATH, "/api/fal/webhook"])
async def test_both_doors_take_a_callback_and_answer_in_a_word(
    db: Database, door: ASGIApp, job: UUID, path: str
) -> None:
    assert await called(door, query(job), path=path) == (200, {"status": "accepted"})
    assert await state_of(db, job) == "completed"
    assert await called(door, query(job), path=path) == (200, {"status": "duplicate"})


async def test_the_whole_app_leads_to_the_door(db: Database, job: UUID) -> None:
    assert await called(app_client.app(db), query(job)) == (200, {"status": "accepted"})


async def test_a_body_in_parts_is_read_to_its_end(db: Database, door: ASGIApp, job: UUID) -> None:
    parts = [BODY[:1], b"", BODY[1:40], BODY[40:], b""]
    assert await called(door, query(job), *parts) == (200, {"status": "accepted"})
    (kept,) = await rows_of(db, "callbacks", job)
    assert kept["body"] == BODY
    assert kept["address"] == "192.0.2.7"


async def test_one_byte_over_the_limit_is_413_however_it_comes(
    db: Database, door: ASGIApp, job: UUID
) -> None:
    half = b" " * (BODY_BYTES // 2)
    for parts in ([half + half + b" "], [half, half, b" "], [half, half, b" ", b"never read"]):
        status, _ = await called(door, query(job), *parts)
        assert status == 413
    kept = await db.pool.fetch("select verdict, reason, body from callbacks")
    assert [tuple(row) for row in kept] == [("unreadable", "too_large", b"")] * 3
    assert await state_of(db, job) == "submitted"


async def test_a_body_of_just_the_limit_is_read(db: Database, door: ASGIApp, job: UUID) -> None:
    body = BODY + b" " * (BODY_BYTES - len(BODY))
    signed = signing.headers(body)
    answer = await spoken(door, [body], path=PATH, query=query(job), headers=signed)
    assert answer is not None
    assert answer[0] == 200
    assert await state_of(db, job) == "completed"


@pytest.mark.parametrize("parts", [[None], [BODY[:10], None], [BODY, None, None]])
async def test_a_caller_who_goes_away_before_the_end_has_said_nothing(
    db: Database, door: ASGIApp, job: UUID, parts: list[bytes | None]
) -> None:
    headers = signing.headers(BODY)
    answer = await spoken(door, parts, path=PATH, query=query(job), headers=headers)
    assert answer is None
    assert await db.pool.fetchval("select count(*) from callbacks") == 0
    assert await state_of(db, job) == "submitted"


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "post"])
async def test_only_a_post_is_taken(db: Database, door: ASGIApp, job: UUID, method: str) -> None:
    headers = signing.headers(BODY)
    answer = await spoken(door, [BODY], path=PATH, query=query(job), headers=headers, method=method)
    assert answer is not None
    assert (answer[0], answer[1]["allow"]) == (405, "POST")
    assert await db.pool.fetchval("select count(*) from callbacks") == 0


async def test_a_token_is_found_among_other_parameters(
    db: Database, door: ASGIApp, job: UUID
) -> None:
    good = query(job)
    escaped = good.replace(b".", b"%2E")
    for text in (b"a=b&" + good, good + b"&a=%20&b", escaped, b"token=x&" + good, b"&&" + good):
        status, _ = await called(door, text)
        assert status == 200, text


async def test_a_query_without_a_good_token_is_401_and_says_nothing(
    db: Database, door: ASGIApp, job: UUID
) -> None:
    good = query(job)
    twice = good.replace(b".", b"%252E")
    expired = query(job, lasts=-1)
    refused = {
        b"": "no_token",
        b"token": "no_token",
        b"token=": "no_token",
        b"Token=" + good[6:]: "no_token",
        good + b"&token=": "no_token",
        good + b"&token=x": "malformed",
        good + b"=": "malformed",
        good + b"%00": "malformed",
        good + b"%20": "malformed",
        b"token=\xff\xfe": "malformed",
        b"token=%ff%fe": "malformed",
        twice: "double_encoded",
        good[:-1]: "truncated",
        expired: "expired",
    }
    for text in refused:
        assert await called(door, text) == (401, {"error": "refused"}), text
    kept = await db.pool.fetch("select reason from callbacks order by received_at")
    assert [row["reason"] for row in kept] == list(refused.values())
    assert await state_of(db, job) == "submitted"


@pytest.mark.parametrize(
    "path",
    ["/callbacks/", "/callbacks/nobody", "/callbacks/fal/", "/callbacks/FAL", "/callbacks/\x00"],
)
async def test_a_door_of_nobody_is_401_and_keeps_nothing(
    db: Database, door: ASGIApp, job: UUID, path: str
) -> None:
    assert await called(door, query(job), path=path) == (401, {"error": "refused"})
    assert await db.pool.fetchval("select count(*) from callbacks") == 0


@pytest.mark.parametrize("path", ["/callbacks/nobody", "/callbacks/\x00"])
async def test_too_much_at_a_door_of_nobody_keeps_nothing(
    db: Database, door: ASGIApp, path: str
) -> None:
    status, _ = await called(door, b"", b" " * (BODY_BYTES + 1), path=path)
    assert status in (401, 413)
    assert await db.pool.fetchval("select count(*) from callbacks") == 0


async def test_what_is_no_callback_is_400(db: Database, job: UUID) -> None:
    trusting = {"fal": app_client.fal_provider(fal_trust="token")}
    answer = await spoken(
        Door(app_client.receiver(db, trusting)), [b"not json"], path=PATH, query=query(job)
    )
    assert answer is not None
    assert answer[0] == 400
    (kept,) = await rows_of(db, "callbacks", job)
    assert (kept["verdict"], kept["reason"]) == ("unreadable", "not_json")


async def test_while_the_database_is_away_it_is_503_with_retry_after(
    db: Database, dsn: str, job: UUID
) -> None:
    away = await Database.connect(dsn, size=1)
    await away.close()
    door = Door(app_client.receiver(away, {"fal": app_client.fal_provider()}))
    for parts in ([BODY], [b" " * (BODY_BYTES + 1)]):
        answer = await spoken(
            door, parts, path=PATH, query=query(job), headers=signing.headers(BODY)
        )
        assert answer is not None
        assert answer[0] == 503
        assert int(answer[1]["retry-after"]) > 0
