"""service/receive.py: what each callback becomes, and the races it is in."""

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

import pytest
import signing
from nacl.signing import SigningKey
from pydantic import SecretStr
from scene import SECRETS, job_row, make_app, make_job, move, rows_of

from service import ids
from service.call import Answer, Call
from service.database import Database
from service.errors import DatabaseAway, KeysAway
from service.job import State
from service.moves import Moves
from service.providers import Provider, fal
from service.receive import Receiver
from service.signature import Keys
from service.store.advance import Outcome
from service.tokens import Tokens

TOKENS = Tokens(SECRETS)


def provider(trust: str = "signed", **more: str) -> Provider:
    built = fal.build(fal.Settings(fal_key=SecretStr("id:secret"), fal_trust=trust, **more))
    assert built is not None
    return built


def receiver(db: Database, one: Provider, fetch: object = signing.key_set) -> Receiver:
    keys = {"fal": Keys("https://keys.example", fetch)} if one.callbacks == "signed" else {}
    return Receiver(db, {"fal": one}, TOKENS, keys, Moves(db))


def token(job: UUID, *, attempt: int = 1, lasts: float = 60.0, tokens: Tokens = TOKENS) -> str:
    expires_at = time.time() + lasts
    return tokens.make(provider="fal", job_id=job, attempt=attempt, expires_at=expires_at)


def call(body: bytes, job_token: str, headers: dict[str, str] | None = None) -> Call:
    return Call(
        provider="fal",
        token=job_token,
        headers=signing.headers(body) if headers is None else headers,
        body=body,
        address="192.0.2.7",
    )


async def verdicts(db: Database, job: UUID) -> list[tuple[str, str | None]]:
    return [(row["verdict"], row["reason"]) for row in await rows_of(db, "callbacks", job, "id")]


@pytest.fixture
async def job(db: Database) -> UUID:
    return await make_job(db, await make_app(db), State.SUBMITTED)


async def test_a_signed_success_completes_the_job_and_a_copy_is_a_duplicate(
    db: Database, job: UUID
) -> None:
    door = receiver(db, provider())
    body = signing.success()
    assert await door.receive(call(body, token(job))) == Answer(status=200, word="accepted")
    assert await door.receive(call(body, token(job))) == Answer(status=200, word="duplicate")
    row = await job_row(db, job)
    assert (row["state"], row["learnt_by"]) == ("completed", "callback")
    assert json.loads(row["outputs"])[0]["url"] == "https://media.example/req-1.mp4"
    assert await verdicts(db, job) == [("accepted", None), ("duplicate", None)]
    kept = (await rows_of(db, "callbacks", job, "id"))[0]
    assert kept["body"] == body
    assert "x-fal-webhook-signature" in kept["headers"]
    assert token(job)[:20] not in kept["headers"]


async def test_a_hundred_copies_beside_a_poll_make_one_transition_and_one_event(
    db: Database, job: UUID
) -> None:
    doors = [receiver(db, provider()) for _ in range(3)]  # as three processes would
    body = signing.success()

    async def poll() -> Outcome:
        return await move(db, job, now=State.COMPLETED, output={"video": {"url": "u"}})

    callbacks = [doors[n % 3].receive(call(body, token(job))) for n in range(100)]
    polled, *answers = await asyncio.gather(poll(), *callbacks)
    assert [answer.status for answer in answers] == [200] * 100
    accepted = sum(answer.word == "accepted" for answer in answers)
    assert accepted + polled.moved == 1
    assert {answer.word for answer in answers} <= {"accepted", "duplicate"}
    events = await rows_of(db, "job_events", job, "version")
    assert [event["now"] for event in events].count("completed") == 1
    assert len(await rows_of(db, "callbacks", job)) == 100
    assert [row["version"] for row in await rows_of(db, "unplaced", job, "version")] == [3, 4]


async def test_an_early_callback_moves_the_job_and_supplies_the_providers_id(db: Database) -> None:
    app = await make_app(db)
    for was in (State.SUBMITTING, State.UNCONFIRMED):
        early = await make_job(db, app, was)
        provider_id = f"req-{was}"
        body = signing.success(provider_id)
        answer = await receiver(db, provider()).receive(call(body, token(early)))
        assert answer.word == "accepted"
        row = await job_row(db, early)
        assert (row["state"], row["provider_id"]) == ("completed", provider_id)
        # The reply to our own POST comes after it, and still leaves its addresses.
        late = await move(
            db,
            early,
            now=State.SUBMITTED,
            source="submit",
            provider_id=provider_id,
            urls={"status_url": "https://queue.example/status"},
            task="poll",
            due_in=5.0,
        )
        assert not late.moved
        (attempt,) = await rows_of(db, "attempts", early)
        assert "queue.example" in attempt["urls"]
        assert await rows_of(db, "agenda", early) == []


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda good: "", "no_token"),
        (lambda good: "nonsense", "malformed"),
        (lambda good: good[:-4], "truncated"),
        (lambda good: good[:-6] + "AAAAAA", "unknown_secret"),
        (lambda good: good.replace("fal.", "relay."), "unknown_secret"),
    ],
)
async def test_a_bad_token_is_refused_and_kept_with_its_reason(
    db: Database, job: UUID, spoil: object, reason: str
) -> None:
    answer = await receiver(db, provider()).receive(
        call(signing.success(), spoil(token(job)))  # type: ignore[operator]
    )
    assert answer == Answer(status=401)
    assert await verdicts(db, job) == [("refused", reason)]  # the body still says which was meant
    assert (await job_row(db, job))["state"] == "submitted"


async def test_tokens_expire_and_rotate(db: Database, job: UUID) -> None:
    door = receiver(db, provider())
    expired = call(signing.success(), token(job, lasts=-1.0))
    assert (await door.receive(expired)).status == 401
    of_a_stranger = token(job, tokens=Tokens(["somebody else's secret"]))
    assert (await door.receive(call(signing.success(), of_a_stranger))).status == 401
    of_the_older_secret = token(job, tokens=Tokens([SECRETS[1]]))
    assert (await door.receive(call(signing.success(), of_the_older_secret))).status == 200


@pytest.mark.parametrize(
    ("headers", "status", "reason"),
    [
        ({"content-type": "application/json"}, 401, "signature_missing"),
        (signing.headers(signing.success(), key=SigningKey.generate()), 401, "signature_invalid"),
        (signing.headers(signing.success("req-2")), 401, "signature_invalid"),
    ],
)
async def test_a_signature_that_does_not_hold_is_refused(
    db: Database, job: UUID, headers: dict[str, str], status: int, reason: str
) -> None:
    answer = await receiver(db, provider()).receive(call(signing.success(), token(job), headers))
    assert answer.status == status
    assert await verdicts(db, job) == [("refused", reason)]
    assert (await job_row(db, job))["state"] == "submitted"


async def test_a_good_signature_that_is_too_old_is_a_hint(db: Database, job: UUID) -> None:
    body = signing.success()
    stale = signing.headers(body, at=int(time.time()) - 3600)
    answer = await receiver(db, provider()).receive(call(body, token(job), stale))
    assert answer == Answer(status=200, word="accepted")
    assert await verdicts(db, job) == [("hint", "signature_stale")]
    assert (await job_row(db, job))["state"] == "submitted"
    assert await db.pool.fetchval("select due_at <= now() from agenda where job_id = $1", job)


async def test_the_account_is_held_where_it_is_set(db: Database, job: UUID) -> None:
    door = receiver(db, provider(fal_user_id="user-1"))
    assert (await door.receive(call(signing.success(), token(job)))).status == 401
    assert await verdicts(db, job) == [("refused", "user_mismatch")]
    door = receiver(db, provider(fal_user_id="user-42"))
    assert (await door.receive(call(signing.success(), token(job)))).status == 200


async def test_a_token_of_one_job_with_the_body_of_another_is_refused(
    db: Database, job: UUID
) -> None:
    answer = await receiver(db, provider()).receive(call(signing.success("req-9"), token(job)))
    assert answer.status == 401
    assert await verdicts(db, job) == [("refused", "other_job")]
    assert (await job_row(db, job))["state"] == "submitted"


async def test_a_success_without_its_result_is_asked_after(db: Database, job: UUID) -> None:
    body = json.dumps(
        {"request_id": "req-1", "status": "OK", "payload": None, "payload_error": "too odd"}
    ).encode()
    answer = await receiver(db, provider("token")).receive(call(body, token(job), {}))
    assert answer == Answer(status=200, word="accepted")
    assert await verdicts(db, job) == [("hint", None)]
    assert await db.pool.fetchval("select due_at <= now() from agenda where job_id = $1", job)


async def test_a_body_that_is_no_callback_is_kept_and_answered_400(db: Database, job: UUID) -> None:
    door = receiver(db, provider("token"))
    for body, reason in ((b"{", "truncated"), (b"hello", "not_json"), (b"[]", "malformed")):
        assert (await door.receive(call(body, token(job), {}))).status == 400
        assert (await verdicts(db, job))[-1] == ("unreadable", reason)


@pytest.mark.parametrize("levels", [300, 500, 990, 1010, 1023])
@pytest.mark.parametrize("status", ["OK", "ERROR"])
async def test_a_body_nested_deeper_than_it_could_be_shown_is_no_callback(
    db: Database, job: UUID, levels: int, status: str
) -> None:
    door = receiver(db, provider("token"))
    deep = "[" * levels + "]" * levels
    payload = f'{{"video": {{"url": "https://x/v.mp4"}}, "detail": "x", "deep": {deep}}}'
    body = f'{{"request_id": "req-1", "status": "{status}", "payload": {payload}}}'.encode()
    assert (await door.receive(call(body, token(job), {}))).status == 400
    assert await verdicts(db, job) == [("unreadable", "not_json")]
    assert (await job_row(db, job))["state"] == "submitted"


async def test_keys_that_cannot_be_fetched_are_503_and_nothing_is_lost(
    db: Database, job: UUID
) -> None:
    async def away(url: str) -> bytes:
        raise KeysAway

    answer = await receiver(db, provider(), away).receive(call(signing.success(), token(job)))
    assert answer == Answer(status=503)


async def test_a_database_that_is_away_is_503(dsn: str) -> None:
    closed = await Database.connect(dsn, size=1)
    await closed.close()
    door = receiver(closed, provider("token"))
    with pytest.raises(DatabaseAway):
        await closed.ping()
    assert (await door.receive(call(signing.success(), token(ids.new_id()), {}))).status == 503


async def test_one_poisoned_callback_hurts_only_itself(db: Database) -> None:
    """What a type in Python lets through and Postgres does not must not fail its neighbours."""
    app = await make_app(db)
    made = [await make_job(db, app, State.SUBMITTED, provider_id=f"req-{n}") for n in range(9)]
    door = receiver(db, provider("token"))

    def body(n: int) -> bytes:
        return signing.success("a\x00b" if n == 4 else f"req-{n}")

    answers: Sequence[Answer | BaseException] = await asyncio.gather(
        *(door.receive(call(body(n), token(job), {})) for n, job in enumerate(made)),
        return_exceptions=True,
    )
    for n, (job, answer) in enumerate(zip(made, answers, strict=True)):
        state = (await job_row(db, job))["state"]
        assert state == ("submitted" if n == 4 else "completed")
        assert isinstance(answer, Answer)
        assert answer.status == (400 if n == 4 else 200)


async def test_a_shared_token_is_good_at_its_own_door_and_finds_the_job_by_its_request_id(
    db: Database, job: UUID
) -> None:
    one = provider("token", fal_webhook_token="newest-shared-token, older-shared-token")
    door = receiver(db, one)

    def shared(word: str, *, at_its_door: bool = True, request_id: str = "req-1") -> Call:
        return replace(call(signing.success(request_id), word, {}), shared=at_its_door)

    assert (await door.receive(shared("older-shared-token", at_its_door=False))).status == 401
    assert (await door.receive(shared("another-shared-token"))).status == 401
    assert (await door.receive(shared(""))).status == 401
    nobodys = await door.receive(shared("newest-shared-token", request_id="req-77"))
    assert nobodys == Answer(status=200, word="ignored")
    assert await door.receive(shared("older-shared-token")) == Answer(status=200, word="accepted")
    again = await door.receive(shared("newest-shared-token"))
    assert again == Answer(status=200, word="duplicate")
    assert (await job_row(db, job))["state"] == "completed"
    unset = receiver(db, provider("token"))
    assert (await unset.receive(shared(""))).status == 401
    assert (await unset.receive(replace(shared(token(job)), shared=True))).word == "duplicate"
