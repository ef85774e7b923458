"""Databases with many jobs, filled by a few set-based statements: open ones, of which some are due,
and ended ones beside them. Each row is one that Callboard itself could have written.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

import asyncpg

PROVIDERS = ("fal", "genviral", "prism", "relay")
MODEL = "bytedance/seedance-2.0/text-to-video"
QUEUED_SHARE = 10  # one open job in so many waits to be submitted, the others are with a provider
APP = "00000000-0000-7000-8000-000000000001"
FILL_SECONDS = 3600.0
# Keys are checked at a statement's end, and jobs and their history refer to each other: the rows
# are made right, and checked all at once afterwards.
_SESSION = "set session_replication_role = replica; set synchronous_commit = off"
_BACK = "reset session_replication_role; reset synchronous_commit"
_APP = f"""
insert into apps (id, name, default_secret, created_at) values ('{APP}', 'bench', '', now())
on conflict do nothing
"""
# Job number n was made in the n-th second of 2024; its id is a UUIDv7 of that moment.
_ID = """(lpad(to_hex(1704067200000 + n * 1000), 12, '0') || '7' || substr(md5(n::text), 1, 3)
    || '8' || substr(md5(n::text), 4, 15))::uuid"""
_AT = "timestamptz '2024-01-01 00:00 UTC' + n * interval '1 second'"
_STATE = """case when n > $2 then 'completed'
    when n % {queued} = 0 then 'queued' else 'running' end"""
_VERSION = "case when n > $2 then 4 when n % {queued} = 0 then 1 else 4 end"
_PROVIDER = "(array[{providers}])[(n / {queued}) % {count} + 1]"
_LATER = "interval '7 days' + random() * interval '7 days'"  # nothing else is due meanwhile
_JOB = f"""
with job as (
    select n, {_ID} as id, {_AT} as at, {_STATE} as state, {_VERSION} as version,
           {_PROVIDER} as provider
    from generate_series($1::bigint, $3::bigint) as n
)
""".format(
    queued=QUEUED_SHARE,
    providers=", ".join(f"'{name}'" for name in PROVIDERS),
    count=len(PROVIDERS),
)
_PROVIDER_ID = "case when state <> 'queued' then id::text end"
_URLS = """case when state <> 'queued' and provider = 'fal' then json_build_object(
    'status', 'https://queue.fal.run/bytedance/seedance-2.0/requests/' || id || '/status',
    'response', 'https://queue.fal.run/bytedance/seedance-2.0/requests/' || id,
    'cancel', 'https://queue.fal.run/bytedance/seedance-2.0/requests/' || id || '/cancel') end"""
_TABLES = {
    "jobs": f"""
insert into jobs (id, state, version, attempt, app_id, provider, model, input, metadata,
                  deadline_seconds, warnings, currency, estimate, upper_bound, late, learnt_by,
                  created_at, posted_at, submitted_at, finished_at)
select id, state, version, 1, '{APP}', provider, '{MODEL}',
       json_build_object('prompt', repeat('a ferry leaves the harbour at dawn, ', 5) || n,
                         'duration', '8', 'resolution', '720p', 'aspect_ratio', '16:9'),
       json_build_object('user', n % 1000)::jsonb, 1e9, '[]', 'USD', 2.42, false, false,
       case state when 'completed' then 'callback' end, at,
       case when state <> 'queued' then at end, case when state <> 'queued' then at end,
       case state when 'completed' then at + interval '90 seconds' end
from job
""",
    "job_events": """
insert into job_events (job_id, version, now, was, id, attempt, source, at)
select id, past.version, past.now, past.was, (left(id::text, 24)
           || lpad(to_hex(past.version), 10, '0') || right(id::text, 2))::uuid, 1,
       past.source, at
from job cross join (values
    (1, 'queued', null, 'api', null), (2, 'submitting', 'queued', 'submit', null),
    (3, 'submitted', 'submitting', 'submit', null), (4, 'running', 'submitted', 'poll', 'running'),
    (4, 'completed', 'submitted', 'callback', 'completed'))
    as past (version, now, was, source, of_state)
where past.version <= job.version and coalesce(past.of_state, job.state) = job.state
""",
    "attempts": f"""
insert into attempts (job_id, number, provider_id, token_key, urls, outcome, outcome_at, output,
                      outputs)
select id, 1, {_PROVIDER_ID}, case when state <> 'queued' then 'a1b2c3d4' end, {_URLS},
       case state when 'completed' then 'completed' end, case state when 'completed' then at end,
       case state when 'completed' then json_build_object('video', json_build_object(
           'url', 'https://v3.fal.media/files/bench/' || id || '.mp4', 'file_name', 'output.mp4',
           'content_type', 'video/mp4', 'file_size', 3481920), 'seed', 1234567) end,
       case state when 'completed' then json_build_array(json_build_object(
           'url', 'https://v3.fal.media/files/bench/' || id || '.mp4',
           'content_type', 'video/mp4', 'expires_at', null)) end
from job
""",
    "agenda": f"""
insert into agenda (job_id, task, provider, due_at, tries, overdue_at, state, version, attempt,
                    model, deadline_seconds, posted_at, provider_id, urls)
select id, case state when 'queued' then 'submit' else 'poll' end, provider,
       now() + {_LATER},
       case state when 'queued' then 1 else 0 end,
       case when state <> 'queued' then at + make_interval(secs => 1e9) end, state, version, 1,
       '{MODEL}', 1e9, case when state <> 'queued' then at end, {_PROVIDER_ID}, {_URLS}
from job where state <> 'completed'
""",
    "polls": """
insert into polls (job_id, id, attempt, at, duration_ms, said)
select id, (left(id::text, 24) || '0000000001' || right(id::text, 2))::uuid, 1, at, 120, 'running'
from job where state <> 'queued'
""",
}
_DUE = f"""
with chosen as (select {_ID} as id from unnest($1::bigint[]) as n)
update agenda set due_at = now() - interval '10 minutes' + random() * interval '9 minutes',
    lease_until = null, tries = 1
from chosen where agenda.job_id = chosen.id
returning agenda.job_id
"""
_AWAY = f"""
update agenda set due_at = now() + {_LATER}, lease_until = null where job_id = any ($1::uuid[])
"""
_WRONG = """
select count(*) from jobs
left join job_events as last
    on last.job_id = jobs.id and last.version = jobs.version and last.now = jobs.state
left join attempts on attempts.job_id = jobs.id and attempts.number = jobs.attempt
left join agenda on agenda.job_id = jobs.id
left join transitions on transitions.was = last.was and transitions.now = last.now
where last.job_id is null or attempts.job_id is null
   or jobs.state <> 'queued' and transitions.was is null
   or jobs.state <> 'completed' and (
       agenda.state, agenda.version, agenda.attempt, agenda.provider, agenda.posted_at,
       agenda.provider_id, agenda.urls::text) is distinct from (
       jobs.state, jobs.version, jobs.attempt, jobs.provider, jobs.posted_at,
       attempts.provider_id, attempts.urls::text)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Jobs number `first` to `last`; those up to `still_open` are open, the others have ended."""

    first: int
    still_open: int
    last: int


async def fill(db: asyncpg.Connection, span: Span, tell: Callable[[str], None]) -> None:
    """Adds the jobs of `span` to a migrated database. Raises RuntimeError where they are not as
    Callboard would have them."""
    await db.execute(_APP)
    await db.execute(_SESSION)
    for table, statement in _TABLES.items():
        tell(f"{table}, {span.last - span.first + 1:,} jobs")
        await db.execute(
            _JOB + statement, span.first, span.still_open, span.last, timeout=FILL_SECONDS
        )
    await db.execute(_BACK)
    tell("vacuum")
    await db.execute("vacuum (analyze)", timeout=FILL_SECONDS)
    if wrong := await db.fetchval(_WRONG, timeout=FILL_SECONDS):
        raise RuntimeError(f"{wrong} jobs are not as they should be")


def chosen(*, still_open: int, count: int, turn: int, queued: bool) -> list[int]:
    """The numbers of `count` open jobs as far apart as can be, others at each `turn` where there
    are so many; as many of each provider."""
    apart = max(1, still_open // count // QUEUED_SHARE)
    apart -= 1 - apart % 2  # odd, so that the providers take turns
    back = QUEUED_SHARE * (turn % apart) + (0 if queued else 1 + turn % (QUEUED_SHARE - 1))
    return [QUEUED_SHARE * apart * number - back for number in range(1, count + 1)]


async def make_due(db: asyncpg.Connection, numbers: Sequence[int]) -> list[UUID]:
    """Makes these open jobs due minutes ago; their ids."""
    return [row["job_id"] for row in await db.fetch(_DUE, numbers, timeout=FILL_SECONDS)]


async def put_away(db: asyncpg.Connection, job_ids: Sequence[UUID]) -> None:
    """Makes these jobs due in days again."""
    await db.execute(_AWAY, job_ids, timeout=FILL_SECONDS)
