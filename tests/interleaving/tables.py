"""What the story reads in the database and moves there: one statement each, beside everyone."""

from collections.abc import Mapping
from typing import Any

from conftest import TABLES
from in_step import OUT_OF_STEP

from service import jsontext
from service.database import Database

_SHOWN = {
    "jobs": "id, state, version, attempt, notify_hook, error->>'code' as code,"
    " cancel_requested_at is not null as canceling",
    "attempts": "job_id, number, provider_id, outcome, outputs::text as outputs,"
    " disagreement->>'now' as disagreement, cancel_answer",
    "agenda": "job_id, task, due_at <= now() as is_due, lease_until is not null as is_leased,"
    f" (select said || ', but ' || so from ({OUT_OF_STEP}) as wrong"
    " where wrong.job_id = agenda.job_id) as out_of_step",
    "job_events": "job_id, version, now, was, attempt, source, extract(epoch from at) as at,"
    " detail->>'message' as message",
    "unplaced": "job_id, version",
    "feed": "place, job_id, version",
    "deliveries": "job_id, version, subscription_id",
    "operator_actions": "id, job_id, attempt, act, who, detail",
}
_LOOK = "select json_build_object({})::text".format(
    ", ".join(
        f"'{table}', (select coalesce(json_agg(t), '[]') from"
        f" (select {columns} from {table} order by 1, 2) as t)"
        for table, columns in _SHOWN.items()
    )
)
_MOMENTS = """
select 'with ' || string_agg(format('%1$I_then as (update %1$I set %2$s)', name, sooner), ', ')
    || ' select'
from (select table_name as name,
             string_agg(format('%1$I = %1$I - make_interval(secs => $1)', column_name), ', ')
                 as sooner
      from information_schema.columns
      where data_type = 'timestamp with time zone' and table_name = any ($1::text[])
      group by table_name) as moments
"""
_DUE = """
update agenda set due_at = now() - make_interval(secs => (turn.n / 1000.0)::double precision)
from (select job_id, row_number() over (order by job_id desc) as n from agenda) as turn
where turn.job_id = agenda.job_id and agenda.job_id in (
    select job_id from agenda
    where (task = 'submit') = $1 and due_at > now()
      and (lease_until is null or lease_until <= now())
    order by job_id for update skip locked)
"""
_EMPTY = "with {} update feed_head set place = 0".format(
    ", ".join(f"{table}_gone as (delete from {table})" for table in TABLES)
)

Snapshot = Mapping[str, list[dict[str, Any]]]


async def look(db: Database) -> Snapshot:
    """Everything at one moment."""
    found: Snapshot = jsontext.loads(await db.pool.fetchval(_LOOK))
    return found


async def empty(db: Database) -> None:
    """Nothing has happened."""
    await db.pool.execute(_EMPTY)


async def passing(db: Database) -> str:
    """The statement that has $1 seconds pass: all that is told happened so much earlier, and is due
    so much sooner."""
    text: str = await db.pool.fetchval(_MOMENTS, TABLES)
    return text


async def make_due(db: Database, *, submits: bool) -> None:
    """The turn of all jobs that nobody has leased has come, one after the other."""
    await db.pool.execute(_DUE, submits)


def of_job(snapshot: Snapshot, table: str, job_id: str) -> list[dict[str, Any]]:
    """A job's rows."""
    return [row for row in snapshot[table] if row["job_id"] == job_id]
