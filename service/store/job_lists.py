"""Lists of jobs, newest first: whatever is looked for, each page reads a bounded number of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from service import jsontext
from service.database import Database, Row
from service.job import State
from service.store.jobs import FIRST_ID, LAST_ID

MOST_WALKED = 10_000  # jobs, by one statement; a page takes two of them at most
TASKS: Mapping[str, tuple[str, ...]] = {  # what is left to do about a job that stands there
    State.QUEUED: ("submit",),
    State.SUBMITTING: ("sending",),
    State.SUBMITTED: ("poll",),
    State.RUNNING: ("poll",),
}
WITHOUT_RESULT = (State.FAILED, State.CANCELED, State.EXPIRED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which jobs a page shows; None is no bound. Jobs come newest first, ids below `before`.
    `stuck`: those that are overdue; `needs_action`: those, and the unconfirmed ones."""

    state: str | None = None
    provider: str | None = None
    model: str | None = None
    reference: str | None = None
    metadata: Mapping[str, str] | None = None
    stuck: bool = False
    needs_action: bool = False
    after: UUID = FIRST_ID
    before: UUID = LAST_ID


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Jobs' rows as `document.of_job` takes them. `after`: where older ones are still to be looked
    for, the id below which; there may be fewer rows than were wanted, or none, and yet older ones
    that match."""

    rows: Sequence[Row]
    after: UUID | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """Jobs that match, and (None: at the end of all) how far was looked."""

    ids: list[UUID]
    reached: UUID | None


async def page(db: Database, app_id: UUID | None, wanted: Filter, limit: int) -> Page:
    """Up to `limit` jobs of one app or (None) of all."""
    found = await _find(db, app_id, wanted, limit)
    shown = found.ids[:limit]
    after = shown[-1] if len(found.ids) > limit else found.reached
    return Page(rows=await db.rows("show_jobs", shown, wanted.state), after=after)


async def _find(db: Database, app_id: UUID | None, wanted: Filter, limit: int) -> _Found:
    """Up to one more than `limit`. First among the newest jobs, which is all of them for most apps;
    what is rare there has ways of its own, on which others than those that match are few."""
    if wanted.stuck or wanted.needs_action or wanted.state == State.UNCONFIRMED:
        unconfirmed = not wanted.stuck  # both together are those that are overdue
        return await _walk(db, "find_jobs_in_need", app_id, wanted, limit + 1, unconfirmed)
    found = await _walk(db, _common_way(app_id, wanted), app_id, wanted, limit + 1)
    if found.reached is None or len(found.ids) > limit:
        return found
    older, left = replace(wanted, before=found.reached), limit + 1 - len(found.ids)
    if tasks := TASKS.get(wanted.state or ""):
        rest = await _walk(db, "find_jobs_at_hand", app_id, older, left, tasks)
    elif wanted.state in WITHOUT_RESULT:
        rest = await _walk(db, "find_jobs_without_result", app_id, older, left)
    else:
        return found
    return _Found(ids=found.ids + rest.ids, reached=rest.reached)


def _common_way(app_id: UUID | None, wanted: Filter) -> str:
    if app_id is None:
        return "find_jobs_of_everyone"
    return "find_jobs" if wanted.reference is None else "find_jobs_of_reference"


async def _walk(
    db: Database, statement: str, app_id: UUID | None, wanted: Filter, limit: int, *more: Any
) -> _Found:
    rows = await db.rows(
        statement,
        app_id,
        wanted.after,
        wanted.before,
        wanted.state,
        wanted.provider,
        wanted.model,
        wanted.reference,
        None if not wanted.metadata else jsontext.dumps(wanted.metadata),
        MOST_WALKED,
        limit,
        *more,
    )
    stopped = [row["id"] for row in rows if row["n"] == MOST_WALKED]
    return _Found(
        ids=[row["id"] for row in rows if row["matches"]], reached=stopped[0] if stopped else None
    )
