"""Whether the agenda says of each job what the job and its attempt say."""

from service.database import Database

_OF_JOB = (
    *("state", "version", "attempt", "provider", "model", "deadline_seconds", "posted_at"),
    *("finished_at", "cancel_requested_at", "told_stuck_at"),
)
_OF_ATTEMPT = ("provider_id", "urls", "cancel_answer")
_SAID = ", ".join(f"agenda.{name}" for name in (*_OF_JOB, *_OF_ATTEMPT))
_SO = ", ".join([*(f"jobs.{name}" for name in _OF_JOB), *(f"tried.{name}" for name in _OF_ATTEMPT)])
OUT_OF_STEP = f"""
select agenda.job_id, row({_SAID})::text as said, row({_SO})::text as so
from agenda left join jobs on jobs.id = agenda.job_id
left join attempts as tried on tried.job_id = jobs.id and tried.number = jobs.attempt
where row({_SAID})::text is distinct from row({_SO})::text
"""


async def out_of_step(db: Database) -> list[str]:
    """What the agenda says of a job, and how that stands, where these differ."""
    rows = await db.pool.fetch(OUT_OF_STEP)
    return [f"{row['job_id']}: {row['said']}, but {row['so']}" for row in rows]


async def follow(db: Database) -> None:
    """Brings the agenda into step, after a test has changed a job or an attempt by hand."""
    names = ", ".join((*_OF_JOB, *_OF_ATTEMPT))
    await db.pool.execute(
        f"update agenda set ({names}) = row({_SO}) from jobs join attempts as tried"
        " on tried.job_id = jobs.id and tried.number = jobs.attempt where jobs.id = agenda.job_id"
    )
