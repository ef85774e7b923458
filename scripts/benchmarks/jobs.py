"""Jobs at the provider, each waiting for its one callback; and whether all of them came home."""

import time
from dataclasses import dataclass
from hashlib import sha256
from uuid import UUID, uuid4

import asyncpg
from nacl.signing import SigningKey

from service import ids, jsontext
from service.tokens import Tokens

USER_ID = "bench-user"
TOKEN_SECONDS = 86_400
TABLES = (
    *(
        "operator_actions",
        "failing_endpoints",
        "delivery_tries",
        "deliveries",
        "callbacks",
        "polls",
        "feed",
        "unplaced",
        "agenda",
    ),
    *("job_secrets", "attempts", "job_events", "jobs", "subscriptions", "api_keys", "apps"),
)
APP = UUID(int=1)

# One statement, since jobs and job_events refer to each other and that is checked at its end.
JOBS_SEED = """
with job as (select * from unnest($1::uuid[], $2::text[]) as job (id, provider_id)),
made as (
    insert into jobs (id, state, version, attempt, app_id, provider, model, input, metadata,
                      deadline_seconds, warnings, upper_bound, late, created_at, posted_at,
                      submitted_at)
    select id, 'submitted', 3, 1, $3, 'fal', 'fal-ai/veo3/fast', $4::text::json, '{}', 7200, '[]',
           false, false, now(), now(), now() from job
),
told as (
    insert into attempts (job_id, number, provider_id, token_key, urls)
    select id, 1, provider_id, $5, '{"status": "https://queue.fal.run/status"}' from job
),
asked as (
    insert into agenda (job_id, task, provider, due_at, state, version, attempt, model,
                        deadline_seconds, posted_at, provider_id, urls)
    select id, 'poll', 'fal', now() + interval '1 hour', 'submitted', 3, 1, 'fal-ai/veo3/fast',
           7200, now(), provider_id, '{"status": "https://queue.fal.run/status"}' from job
)
insert into job_events (job_id, version, now, was, id, attempt, source, at)
select id, version, past.now, past.was, gen_random_uuid(), 1, past.source, now()
from job cross join (values
    (1, 'queued', null, 'api'), (2, 'submitting', 'queued', 'submit'),
    (3, 'submitted', 'submitting', 'submit')) as past (version, now, was, source)
"""
_SUBSCRIBE = """
with app as (
    insert into apps (id, name, default_secret, created_at) values ($1, 'bench', '', now())
)
insert into subscriptions (id, app_id, url, events, secret, headers, enabled, created_at)
values ($2, $1, 'https://app.example/hook', $3, '', '', true, now())
"""
_UNTOUCHED = """
select count(*) from jobs where not (
    state = 'completed' and version = 4 and learnt_by = 'callback' and finished_at is not null
    and (select count(*) from job_events as e where e.job_id = jobs.id and e.version = 4
         and e.was = 'submitted' and e.now = 'completed' and e.source = 'callback') = 1
    and (select count(*) from unplaced where unplaced.job_id = jobs.id and version = 4) = 1
    and (select count(*) from deliveries as d where d.job_id = jobs.id and d.version = 4
         and d.subscription_id is not null and d.state = 'pending') = 1
    and (select count(*) from callbacks as c where c.job_id = jobs.id and c.attempt = 1
         and c.verdict = 'accepted' and length(c.body) > 0 and c.headers::text <> '{}') = 1
    and (select count(*) from attempts as a where a.job_id = jobs.id and a.outcome = 'completed'
         and a.output is not null and json_array_length(a.outputs) = 1) = 1
    and not exists (select from agenda where agenda.job_id = jobs.id))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signing:
    """What makes callbacks good: our token secrets and the pretend provider's key."""

    tokens: Tokens
    key: SigningKey


async def quieten(db: asyncpg.Connection) -> None:
    """No autovacuum of its own accord: each run begins with a vacuum instead."""
    for table in TABLES:
        await db.execute(f"alter table {table} set (autovacuum_enabled = off)")


async def seed(db: asyncpg.Connection, count: int, signing: Signing) -> list[bytes]:
    """Empties the tables and makes `count` jobs in state `submitted`, with one subscription to
    their ends; returns the requests that complete them, one each."""
    await db.execute(f"truncate {', '.join(TABLES)} cascade")
    await db.execute("checkpoint")
    await db.execute(_SUBSCRIBE, APP, ids.new_id(), ["job.completed", "job.failed"])
    job_ids = [ids.new_id() for _ in range(count)]
    request_ids = [str(uuid4()) for _ in range(count)]
    render = jsontext.dumps({"prompt": "a ferry leaves the harbour at dawn", "duration": "8s"})
    await db.execute(
        JOBS_SEED, job_ids, request_ids, APP, render, signing.tokens.key_name, timeout=300
    )
    for table in TABLES:
        await db.execute(f"vacuum analyze {table}")
    return [_request(*pair, signing) for pair in zip(job_ids, request_ids, strict=True)]


async def check(db: asyncpg.Connection, count: int, others: int = 0) -> None:
    """Raises RuntimeError unless `count` jobs were completed, with all that goes with it, once;
    there are `others` too."""
    made = await db.fetchval("select count(*) from jobs")
    untouched = await db.fetchval(_UNTOUCHED, timeout=300)
    calls = await db.fetchval("select count(*) from callbacks")
    if (made, untouched, calls) != (count + others, others, count):
        raise RuntimeError(f"{untouched} of {made} jobs are not as they should be, {calls} calls")


def _request(job_id: UUID, request_id: str, signing: Signing) -> bytes:
    """fal's webhook for one job, as it stands on the wire."""
    now = int(time.time())
    token = signing.tokens.make(
        provider="fal", job_id=job_id, attempt=1, expires_at=now + TOKEN_SECONDS
    )
    video = {
        "url": f"https://v3.fal.media/files/bench/{request_id}.mp4",
        "content_type": "video/mp4",
        "file_name": "output.mp4",
        "file_size": 3_481_920,
    }
    call = {
        "request_id": request_id,
        "gateway_request_id": request_id,
        "status": "OK",
        "error": None,
        "payload": {"video": video, "seed": 1234567},
    }
    body = jsontext.dumps(call).encode()
    message = f"{request_id}\n{USER_ID}\n{now}\n{sha256(body).hexdigest()}".encode()
    head = (
        f"POST /callbacks/fal?token={token} HTTP/1.1\r\n"
        "Host: callboard.example\r\nUser-Agent: fal-webhook\r\nAccept: */*\r\n"
        "Content-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n"
        f"X-Fal-Webhook-Request-Id: {request_id}\r\nX-Fal-Webhook-User-Id: {USER_ID}\r\n"
        f"X-Fal-Webhook-Timestamp: {now}\r\n"
        f"X-Fal-Webhook-Signature: {signing.key.sign(message).signature.hex()}\r\n\r\n"
    )
    return head.encode() + body
