"""The handler that one writes first: the same facts, one transaction per callback, one statement
per table. Same door, same token check, same reading of the body; only the writing differs.
"""

import time
from typing import Any

import asyncpg

from service import jsontext
from service.call import Answer, Call
from service.database import Database
from service.errors import TokenRefused
from service.ids import bucket_of, new_id
from service.providers import Provider, Report
from service.tokens import CallbackToken, Tokens

_JOB = "select state, attempt, version, app_id from jobs where id = $1 for update"
_MOVE = """
update jobs set state = $2, version = version + 1, error = null,
    finished_at = now(), learnt_by = 'callback', late = false where id = $1
"""
_EVENT = """
insert into job_events (job_id, version, now, was, id, attempt, source, at)
values ($1, $2, $3, $4, $5, $6, 'callback', now())
"""
_UNPLACED = """
insert into unplaced (job_id, version, at, xact, seen)
values ($1, $2, now(), pg_current_xact_id(), pg_snapshot_xmin(pg_current_snapshot()))
"""
_CALLBACK = """
insert into callbacks (id, provider, job_id, attempt, received_at, verdict, address, headers, body)
values ($1, $2, $3, $4, now(), 'accepted', $5, $6, $7)
"""
_ATTEMPT = """
update attempts set provider_id = coalesce(provider_id, $3), outcome = $4, outcome_at = now(),
    output = $5, outputs = $6 where job_id = $1 and number = $2
"""
_DELIVERIES = """
insert into deliveries (job_id, id, app_id, version, subscription_id, state, next_at, created_at)
select $1, $2, app_id, $3, id, 'pending', now(), now() from subscriptions
where app_id = $4 and 'job.' || $5::text = any (events)
"""
_AGENDA = "delete from agenda where job_id = $1"


class NaiveReceiver:
    """What the door calls instead of ours."""

    def __init__(self, db: Database, provider: Provider, tokens: Tokens) -> None:
        self._pool = db.pool
        self._provider = provider
        self._tokens = tokens

    async def receive(self, call: Call) -> Answer:
        """Stores a callback and applies it, in a transaction of its own."""
        try:
            token = self._tokens.read(call.token, provider=call.provider, now=time.time())
        except TokenRefused:
            return Answer(status=401)
        report = self._provider.read_callback(call.headers, call.body)
        async with self._pool.acquire() as connection, connection.transaction():
            job = await connection.fetchrow(_JOB, token.job_id)
            if job is None or job["state"] not in ("submitted", "running"):
                return Answer(status=200, word="ignored")
            await self._store(connection, call, token, report, job)
        return Answer(status=200, word="accepted")

    async def refuse(self, call: Call, *, reason: str, status: int) -> Answer:
        """Nothing that the benchmark sends comes here."""
        return Answer(status=status)

    async def _store(
        self, connection: Any, call: Call, token: CallbackToken, report: Report, job: asyncpg.Record
    ) -> None:
        job_id, bucket, version = token.job_id, bucket_of(token.job_id), job["version"] + 1
        headers = dict(call.headers)
        output = jsontext.dumps(report.output)
        outputs = jsontext.dumps(self._provider.outputs(report.output))
        kept = (call.address, jsontext.dumps(headers), call.body)
        run = connection.execute
        await run(  # before the job, which refers to it
            *(_EVENT, job_id, version, report.state, job["state"]),
            *(new_id(bucket), token.attempt),
        )
        await run(_MOVE, job_id, report.state)
        await run(_UNPLACED, job_id, version)
        await run(_CALLBACK, new_id(bucket), call.provider, job_id, token.attempt, *kept)
        await run(
            *(_ATTEMPT, job_id, token.attempt, report.provider_id),
            *(report.state, output, outputs),
        )
        await run(_DELIVERIES, job_id, new_id(bucket), version, job["app_id"], report.state)
        await run(_AGENDA, job_id)
