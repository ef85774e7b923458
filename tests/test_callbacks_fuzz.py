"""A hundred thousand odd bodies under good tokens, per provider: never a 5xx, and no job is
harmed. It stands where it may, can be read, and still comes to its end."""

import asyncio
import json
import random
import re
import time
from collections.abc import Coroutine, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any
from uuid import UUID

import app_client
import pytest
import signing
from app_client import fal_provider, relay_provider, spoken
from fuzzing import drawing, many
from odd_replies import polled, reply
from random_bodies import MEDIA, PLANTED, PROVIDER_ID, Bodies, good
from scene import SECRETS, make_app, make_jobs, subscribe

from service import document, jsontext
from service.database import Database
from service.encryption import AtRest
from service.errors import CallbackUnreadable
from service.job import ALL_EVENT_TYPES, REPORTED, State
from service.providers import Provider, Trust
from service.store import deliveries
from service.store.advance import advance, reported
from service.tokens import Tokens

TOKENS = Tokens(SECRETS)
JOBS, BODIES_EACH, AT_ONCE = 100, 25, 500
STARTS = (State.SUBMITTING, State.UNCONFIRMED, State.SUBMITTED, State.RUNNING, State.EXPIRED)
VERDICTS = {"completed", "failed", "canceled"}
# What a body must hold at the least to be the provider's word that a job has ended.
ENDS = {
    "fal": re.compile(rb'"(OK|ERROR)"'),
    "relay": re.compile(rb"succe|complet|fail|error", re.IGNORECASE),
}


PROVIDERS = (
    fal_provider(fal_trust="token"),
    fal_provider(fal_trust="signed"),
    relay_provider(relay_trust="hint"),
    relay_provider(relay_trust="token"),
)


@dataclass
class Tried:
    """A job, how it stood, and the bodies that came for it. `spared`: none of them says that it
    has ended."""

    id: UUID
    provider_id: str
    start: State
    sealed: bool
    spared: bool
    bodies: list[bytes] = field(default_factory=list)


def legal(start: State) -> set[State]:
    """Where the provider's word may have brought a job that stood there."""
    found, way = {start}, [start]
    for state in way:
        way += REPORTED.get(state, frozenset()) - found
        found.update(way)
    return found


async def all_of(work: Iterable[Coroutine[Any, Any, Any]]) -> list[Any]:
    """What comes of each, AT_ONCE of them at a time."""
    done: list[Any] = []
    waiting = iter(work)
    while batch := list(islice(waiting, AT_ONCE)):
        answers = await asyncio.gather(*batch, return_exceptions=True)
        for fault in (one for one in answers if isinstance(one, BaseException)):
            raise fault
        done += answers
    return done


class Fuzz:
    """One provider's door, an app with jobs there, and the API that shows them."""

    def __init__(self, db: Database, provider: Provider, draws: random.Random, key: str) -> None:
        self.db = db
        self.provider = provider
        self.draws = draws
        self.key = key
        self.jobs: list[Tried] = []
        self._bodies = Bodies(draws, provider.name)
        self._app = app_client.app(db, app_client.creator(db, providers={provider.name: provider}))

    async def make(self) -> None:
        """Jobs in every state in which a callback finds one; some hold a secret."""
        app_id = await make_app(self.db, name=self.key, key=self.key)
        await subscribe(self.db, app_id, "https://app.example/hook", list(ALL_EVENT_TYPES))
        held = AtRest(SECRETS).encrypt(jsontext.dumps({"api_key": PLANTED}))

        name = self.provider.name
        for nth, start in enumerate(STARTS):
            numbers = range(nth, JOBS, len(STARTS))
            known = {number: f"{PROVIDER_ID}-{self.key}-{number}" for number in numbers}
            sealed = {number: number % 3 == 0 for number in numbers}
            told: list[dict[str, Any]] = [
                {"provider": name, "provider_id": known[number]}
                | ({"secrets": held} if sealed[number] else {})
                for number in numbers
            ]
            made = await make_jobs(self.db, app_id, start, told)
            self.jobs += [
                Tried(
                    id=job,
                    provider_id=known[number],
                    start=start,
                    sealed=sealed[number],
                    spared=number % 7 > 0,
                )
                for number, job in zip(numbers, made, strict=True)
            ]

    async def send_odd(self) -> None:
        """Odd bodies, BODIES_EACH to a job or so; each is answered, never by a fault of ours."""
        statuses = await all_of(self._odd() for _ in range(BODIES_EACH * JOBS))
        assert 200 in statuses

    async def shown(self) -> dict[UUID, dict[str, Any]]:
        """The jobs as the API shows them, timelines too; each can still be told to subscribers."""
        async with app_client.client(self._app, self.key) as web:
            page = await web.get("/v1/jobs", params={"limit": 200})
            assert page.status_code == 200, page.text
            rows = jsontext.loads(page.content)["data"]
            told = await all_of(web.get(one["links"]["timeline"]) for one in rows)
        assert {answer.status_code for answer in told} == {200}
        for delivery in await deliveries.claim(self.db, limit=10 * JOBS, lease_seconds=60.0):
            jsontext.joined(document.of_event(delivery.event))
        return {UUID(one["id"].removeprefix("job_")): one for one in rows}

    async def unharmed(self) -> None:
        """Every job stands where it may, and ended only where that was said."""
        shown = await self.shown()
        for job in self.jobs:
            row = shown[job.id]
            assert row["state"] in legal(job.start), job.start
            assert not job.sealed or PLANTED not in json.dumps(row)
            if row["state"] in VERDICTS:
                assert not job.spared, [body[:200] for body in job.bodies]
                assert self.provider.callbacks is not Trust.HINT
                assert any(ENDS[self.provider.name].search(body) for body in job.bodies)

    async def complete(self) -> None:
        """A good callback, or a poll where that is only a hint, ends every job that is left."""
        shown = await self.shown()
        left = [job for job in self.jobs if shown[job.id]["state"] not in VERDICTS]
        known = {job.id: shown[job.id]["provider_id"] or job.provider_id for job in self.jobs}
        statuses = await all_of(self._good(job, known[job.id]) for job in self.jobs)
        assert set(statuses) == {200}
        if self.provider.callbacks is Trust.HINT:
            await self._poll(left, known)
        shown = await self.shown()
        for job in left:
            row = shown[job.id]
            assert row["state"] == "completed", job.start
            assert row["outputs"][0]["url"] == MEDIA

    async def _odd(self) -> int:
        body = self._bodies.body()
        spared = not self._ends(body)
        job = self.draws.choice([job for job in self.jobs if job.spared is spared])
        body = body.replace(PROVIDER_ID.encode(), job.provider_id.encode())
        job.bodies.append(body)
        headers = self._headers(body, job.provider_id)
        if self.draws.random() < 0.2:
            headers["content-type"] = self._bodies.content_type()
        if self.draws.random() < 0.05:
            headers.pop(self.draws.choice(list(headers)))
        try:
            status = await self._call(job, body, headers)
        except Exception as fault:
            fault.add_note(f"the body began {body[:200]!r}")
            raise
        assert status in (200, 400, 401, 415), body[:200]
        return status

    def _ends(self, body: bytes) -> bool:
        """Whether the provider's own reader takes it for a verdict."""
        try:
            return self.provider.read_callback({}, body).state in VERDICTS
        except CallbackUnreadable:
            return False

    async def _good(self, job: Tried, provider_id: str) -> int:
        body = good(self.provider.name, provider_id)
        return await self._call(job, body, self._headers(body, provider_id))

    async def _poll(self, jobs: list[Tried], known: Mapping[UUID, str]) -> None:
        moves = [
            reported(
                polled(self.provider, reply(200, good(self.provider.name, known[job.id]))),
                self.provider,
                job_id=job.id,
                attempt=1,
                source="poll",
                due_in=60.0,
            )
            for job in jobs
        ]
        await advance(self.db, moves)

    def _headers(self, body: bytes, request_id: str) -> dict[str, str]:
        if self.provider.callbacks is Trust.SIGNED:
            return signing.headers(body, request_id=request_id)
        return {"content-type": "application/json"}

    async def _call(self, job: Tried, body: bytes, headers: Mapping[str, str]) -> int:
        token = TOKENS.make(
            provider=self.provider.name,
            job_id=job.id,
            attempt=1,
            expires_at=time.time() + 600,
            sealed=job.sealed,
        )
        path, query = f"/callbacks/{self.provider.name}", f"token={token}".encode()
        answer = await spoken(self._app, [body], path=path, query=query, headers=headers)
        assert answer is not None
        return answer[0]


@pytest.mark.slow
@pytest.mark.parametrize("provider", PROVIDERS, ids=lambda one: f"{one.name}-{one.callbacks}")
async def test_no_body_harms_a_job_or_the_service(db: Database, provider: Provider) -> None:
    with drawing() as draws:
        for number in range(many(50_000) // (JOBS * BODIES_EACH)):
            fuzz = Fuzz(db, provider, draws, key=f"cb_{number:043}")
            await fuzz.make()
            await fuzz.send_odd()
            await fuzz.unharmed()
            await fuzz.complete()
