"""service/replay.py: stored bytes through today's code, and what they are worth by now."""

import json
import time
from typing import Any
from uuid import UUID

import pytest
import signing
from calling import (
    SHARED,
    TOKENS,
    VAULT,
    call,
    fal_provider,
    inbox,
    kept,
    receiver,
    relay_provider,
    sharing,
    task,
    token,
    told,
)
from nacl.signing import SigningKey
from scene import app_of, job_row, make_app, make_job, move, rows_of

from service import ids
from service.call import Call
from service.database import Database
from service.errors import Conflict, KeysAway, Unavailable
from service.job import State
from service.operating import Actor
from service.providers import Provider
from service.replay import Replayed, Replayer
from service.signature import Keys
from service.tokens import Tokens

BODY = signing.success()
RETIRED = Tokens(["a secret that is no longer among them"])


@pytest.fixture
async def job(db: Database) -> UUID:
    return await make_job(db, await make_app(db), State.SUBMITTED)


async def replayed(db: Database, *providers: Provider, **more: Any) -> Replayed:
    """The newest call, replayed by the code that these providers are."""
    by_name = {one.name: one for one in providers or (fal_provider(),)}
    replayer = Replayer(db, inbox(db, by_name, more.pop("keys", None)))
    actor = Actor(who="ada", reason=more.pop("reason", None))
    return await replayer.replay((await kept(db))[-1], actor, **more)


async def acts(db: Database, job: UUID) -> list[tuple[str, str, str | None]]:
    rows = await rows_of(db, "operator_actions", job, "id")
    return [(row["act"], row["who"], row["reason"]) for row in rows]


async def is_due(db: Database, job: UUID) -> bool:
    query = "select due_at <= now() from agenda where job_id = $1"
    return bool(await db.pool.fetchval(query, job))


async def everything(db: Database) -> list[Any]:
    """All rows of all that a replay might touch."""
    tables = ("jobs", "attempts", "job_events", "callbacks", "agenda", "operator_actions")
    return [
        [tuple(row) for row in await db.pool.fetch(f"select * from {table} order by 1, 2")]
        for table in (*tables, "unplaced", "deliveries")
    ]


def older_code() -> Provider:
    """A fal that cannot read what fal sends now."""

    class Older:
        def __getattr__(self, name: str) -> Any:
            return getattr(one, name)

        def read_callback(self, headers: Any, body: bytes) -> Any:
            return one.read_callback(headers, b"[]")

    one = fal_provider()
    return Older()  # type: ignore[return-value]


async def test_what_yesterdays_code_could_not_read_is_applied_by_todays(
    db: Database, job: UUID
) -> None:
    assert (await receiver(db, older_code()).receive(call(token(job)))).status == 400
    done = await replayed(db, reason="fixed")
    assert (done.verdict, done.was, done.now, done.moved) == (
        *("accepted", "submitted", "completed", True),
    )
    row = await job_row(db, job)
    assert (row["state"], row["learnt_by"]) == ("completed", "callback")
    assert await told(db) == [("unreadable", "malformed")]  # so it was, when it came
    assert await acts(db, job) == [("replay", "ada", "fixed")]


async def test_twice_does_nothing_twice(db: Database, job: UUID) -> None:
    await receiver(db, older_code()).receive(call(token(job)))
    assert (await replayed(db)).moved
    before = (await rows_of(db, "job_events", job), await rows_of(db, "attempts", job))
    again = await replayed(db)
    assert (again.verdict, again.was, again.now, again.moved) == (
        *("duplicate", "completed", "completed", False),
    )
    assert before == (await rows_of(db, "job_events", job), await rows_of(db, "attempts", job))
    assert await db.pool.fetchval("select count(*) from callbacks") == 1
    assert len(await acts(db, job)) == 2


async def test_a_dry_run_says_what_would_change_and_changes_nothing(
    db: Database, job: UUID
) -> None:
    await receiver(db, older_code()).receive(call(token(job)))
    before = await everything(db)
    would = await replayed(db, dry_run=True)
    assert await everything(db) == before
    assert would == await replayed(db)
    assert await everything(db) != before


async def test_a_signature_is_held_to_the_time_at_which_it_came(db: Database, job: UUID) -> None:
    await receiver(db, older_code()).receive(call(token(job)))
    at = int(time.time()) - 86400
    await db.pool.execute("update callbacks set received_at = now() - interval '1 day'")
    resigned = json.dumps(signing.headers(BODY, at=at))
    await db.pool.execute("update callbacks set headers = $1", resigned)
    assert (await replayed(db, dry_run=True)).verdict == "accepted"
    await db.pool.execute("update callbacks set received_at = now()")
    stale = await replayed(db)
    assert (stale.verdict, stale.reason, stale.moved) == ("hint", "signature_stale", False)
    assert await is_due(db, job)


async def test_a_call_refused_for_keys_that_were_away_is_worth_all_it_says(
    db: Database, job: UUID
) -> None:
    async def away(url: str) -> bytes:
        raise KeysAway

    without = {"fal": Keys("https://keys.example", away)}
    assert (await receiver(db, keys=without).receive(call(token(job)))).status == 503
    with pytest.raises(Unavailable):
        await replayed(db, keys=without)
    assert (await replayed(db)).now == "completed"


async def test_a_signed_call_whose_token_no_secret_opens_any_more_is_found_by_its_body(
    db: Database, job: UUID
) -> None:
    """fal signed it, and its request id is one that fal gave us: it is about our render."""
    assert (await receiver(db).receive(call(token(job, tokens=RETIRED)))).status == 401
    done = await replayed(db)
    assert (done.job_id, done.verdict, done.now) == (job, "accepted", "completed")


async def test_what_a_bad_token_claims_moves_nothing_be_the_signature_good(
    db: Database, job: UUID
) -> None:
    """Any customer of fal can have it call our door, with a token that names any job."""
    early = await make_job(db, await app_of(db, job), State.SUBMITTING)
    forged = token(early, tokens=RETIRED)
    body = signing.success("req-of-a-stranger")
    assert (await receiver(db).receive(call(forged, body))).status == 401
    assert (await kept(db))[0].job_id == early
    done = await replayed(db)
    assert (done.verdict, done.reason, done.moved) == ("ignored", "unknown_job", False)
    assert (await job_row(db, early))["state"] == "submitting"
    assert (await rows_of(db, "attempts", early))[0]["provider_id"] is None


FORGED = SigningKey(bytes(range(1, 33)))


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({"content-type": "application/json"}, "signature_missing"),
        (signing.headers(BODY, key=FORGED), "signature_invalid"),
        (signing.headers(BODY, user_id="user-7"), "user_mismatch"),
    ],
)
async def test_what_was_not_proven_to_be_the_providers_only_has_it_asked(
    db: Database, job: UUID, headers: dict[str, str], reason: str
) -> None:
    one = fal_provider(fal_user_id="user-42")
    assert (await receiver(db, one).receive(call(token(job), headers=headers))).status == 401
    done = await replayed(db, one)
    assert (done.verdict, done.reason, done.moved) == ("hint", reason, False)
    assert (await job_row(db, job))["state"] == "submitted"
    assert await is_due(db, job)
    assert await told(db) == [("refused", reason)]
    assert await acts(db, job) == [("replay", "ada", None)]


async def test_a_forged_call_gives_an_attempt_no_id_and_no_state(db: Database, job: UUID) -> None:
    early = await make_job(db, await app_of(db, job), State.SUBMITTING)
    body = signing.success("req-forged")
    unsigned = call(token(early), body, {"content-type": "application/json"})
    assert (await receiver(db).receive(unsigned)).status == 401
    assert (await replayed(db)).verdict == "hint"
    assert (await job_row(db, early))["state"] == "submitting"
    assert (await rows_of(db, "attempts", early))[0]["provider_id"] is None


async def test_a_cut_or_cleared_body_proves_nothing_any_more(db: Database) -> None:
    secret = "sk-proj-planted-0123456789abcdef"
    shown, sealed = VAULT.sealed("fal", {"prompt": "a boat", "api_key": secret})
    app = await make_app(db)
    job = await make_job(db, app, State.SUBMITTED, input=shown, secrets=sealed)
    given = TOKENS.make(
        provider="fal", job_id=job, attempt=1, expires_at=time.time() + 60, sealed=True
    )
    body = json.dumps(json.loads(BODY) | {"echo": secret}).encode()
    assert (await receiver(db).receive(call(given, body))).word == "accepted"
    assert (await replayed(db, dry_run=True)).reason == "signature_invalid"
    long = await make_job(db, app, State.SUBMITTED, provider_id="req-long")
    body = json.dumps(json.loads(signing.success("req-long")) | {"more": "x" * 9000}).encode()
    assert (await receiver(db).receive(call(token(long)[:-1], body))).status == 401
    done = await replayed(db)
    assert (done.job_id, done.verdict, done.moved) == (long, "hint", False)
    assert await is_due(db, long)


async def relayed(db: Database, given: str, *, trust: str, body: bytes | None = None) -> None:
    door = receiver(db, relay_provider(trust))
    await door.receive(call(given, body or task(), {}, provider="relay"))


@pytest.mark.parametrize(
    ("then", "now", "verdict"),
    [("token", "token", "duplicate"), ("token", "hint", "ignored"), ("hint", "token", "hint")],
)
async def test_an_unsigned_call_is_worth_what_todays_trust_says_of_a_good_token(
    db: Database, then: str, now: str, verdict: str
) -> None:
    job = await make_job(db, await make_app(db), State.SUBMITTED, provider="relay")
    await relayed(db, token(job, provider="relay"), trust=then)
    done = await replayed(db, relay_provider(now))
    assert (done.verdict, done.moved) == (verdict, False)


async def test_an_unsigned_call_that_was_refused_only_has_the_provider_asked(
    db: Database,
) -> None:
    job = await make_job(db, await make_app(db), State.SUBMITTED, provider="relay")
    await relayed(db, token(job, provider="relay", lasts=-1.0), trust="token")
    done = await replayed(db, relay_provider("token"))
    assert (done.job_id, done.verdict, done.reason) == (job, "hint", "expired")
    assert (await job_row(db, job))["state"] == "submitted"
    assert await is_due(db, job)


async def test_a_call_that_waits_gets_its_job(db: Database) -> None:
    waiting: Call = call(SHARED, shared=True)
    await receiver(db, sharing()).receive(waiting)
    nobody = await replayed(db, sharing())
    assert (nobody.job_id, nobody.verdict, nobody.reason) == (None, "ignored", "unknown_job")
    job = await make_job(db, await make_app(db), State.SUBMITTED)
    done = await replayed(db, sharing())
    assert (done.job_id, done.verdict, done.now) == (job, "accepted", "completed")
    assert await told(db) == [("accepted", None)]
    assert (await kept(db))[0].job_id == job
    assert (await replayed(db, sharing())).verdict == "duplicate"


async def test_a_call_of_an_old_attempt_stays_ignored(db: Database, job: UUID) -> None:
    await receiver(db).receive(call(token(job)))
    await move(db, job, now=State.QUEUED, was=State.COMPLETED, source="operator", to_attempt=2)
    done = await replayed(db)
    assert (done.verdict, done.reason, done.moved) == ("ignored", "old_attempt", False)


async def test_what_cannot_be_read_today_either_is_unreadable(db: Database, job: UUID) -> None:
    await receiver(db, fal_provider(fal_trust="token")).receive(call(token(job), b"<html>", {}))
    done = await replayed(db)
    assert (done.job_id, done.verdict, done.reason) == (None, "unreadable", "not_json")
    assert await acts(db, job) == []


async def test_a_provider_without_a_key_is_a_conflict(db: Database, job: UUID) -> None:
    await receiver(db).receive(call(token(job)))
    with pytest.raises(Conflict) as refused:
        await replayed(db, relay_provider())
    assert refused.value.code == "provider_not_configured"


async def test_the_act_names_the_call(db: Database, job: UUID) -> None:
    await receiver(db).receive(call(token(job)))
    await replayed(db)
    ((stored),) = await kept(db)
    (act,) = await rows_of(db, "operator_actions", job)
    detail = json.loads(act["detail"])
    assert detail == {"callback": ids.show("cbk", stored.id), "verdict": "accepted"}
