"""A million tokens that are nearly good: each is refused, and nothing moves."""

import asyncio
import random
import time
from collections import Counter
from urllib.parse import quote

import app_client
from app_client import fal_provider, relay_provider, spoken
from fuzzing import drawing, many
from mutated_tokens import KINDS, Forger, Mutant
from random_bodies import PROVIDER_ID, good
from scene import SECRETS, make_app, make_job

from service import ids
from service.database import Database
from service.errors import TokenRefused
from service.job import State
from service.tokens import Tokens
from service.web.app import App

TOKENS = Tokens(SECRETS)
REASONS = {
    *("malformed", "truncated", "double_encoded", "unknown_secret", "expired", "other_provider"),
    "no_token",
}
AT_ONCE = 100
STATES = (State.SUBMITTING, State.SUBMITTED, State.RUNNING, State.EXPIRED)


def reason(mutant: Mutant) -> str | None:
    """Why it is refused; None where it is not."""
    try:
        TOKENS.read(mutant.token, provider=mutant.provider, now=time.time())
    except TokenRefused as refusal:
        return refusal.reason
    return None


def test_a_million_mutated_tokens_are_refused() -> None:
    made: Counter[str] = Counter()
    with drawing() as draws:
        forger = Forger(draws, [ids.new_id() for _ in range(10)])
        for _ in range(many(1_000_000)):
            mutant = forger.mutant()
            assert reason(mutant) in REASONS, mutant
            made[mutant.kind] += 1
    assert set(made) == {kind.__name__ for kind in KINDS}
    assert min(made.values()) > many(10_000)


def query(draws: random.Random, token: str) -> bytes:
    """The token in a query string: escaped, or as it is where that says the same."""
    plain = draws.random() < 0.5 and not {*"%&+;"} & {*token}
    return b"token=" + (token if plain else quote(token, safe="")).encode()


async def knocked(door: App, mutant: Mutant, spelled: bytes, provider_id: str = PROVIDER_ID) -> int:
    """The status of the answer to a good callback under this token."""
    answer = await spoken(
        door,
        [good(mutant.provider, provider_id)],
        path=f"/callbacks/{mutant.provider}",
        query=spelled,
        headers={"content-type": "application/json"},
    )
    assert answer is not None
    return answer[0]


async def standing(db: Database) -> list[list[object]]:
    """All that a callback could move."""
    tables = ("jobs", "attempts", "agenda", "job_events", "deliveries", "unplaced")
    return [sorted(map(repr, await db.pool.fetch(f"select * from {one}"))) for one in tables]


async def test_ten_thousand_of_them_at_the_door_are_401_and_nothing_moves(db: Database) -> None:
    providers = (fal_provider(fal_trust="token"), relay_provider(relay_trust="token"))
    app = await make_app(db)
    jobs = [
        await make_job(db, app, state, provider=provider.name, provider_id=f"{PROVIDER_ID}-{state}")
        for provider in providers
        for state in STATES
    ]
    making = app_client.creator(db, providers={one.name: one for one in providers})
    door = app_client.app(db, making)
    before = await standing(db)
    with drawing() as draws:
        forger = Forger(draws, jobs)
        for _ in range(many(10_000) // AT_ONCE):
            mutants = [forger.mutant() for _ in range(AT_ONCE)]
            spelled = [query(draws, mutant.token) for mutant in mutants]
            calls = zip(mutants, spelled, strict=True)
            answers = await asyncio.gather(*(knocked(door, *each) for each in calls))
            for mutant, status in zip(mutants, answers, strict=True):
                assert status == 401, mutant
    assert await standing(db) == before
    stand = [(one.name, state) for one in providers for state in STATES]
    for job, (provider, state) in zip(jobs, stand, strict=True):
        until = time.time() + 60
        token = TOKENS.make(provider=provider, job_id=job, attempt=1, expires_at=until)
        sound = Mutant(token=token, provider=provider, kind="none: it is good")
        known = f"{PROVIDER_ID}-{state}"
        assert await knocked(door, sound, f"token={token}".encode(), known) == 200
