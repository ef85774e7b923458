"""Reads jobs from the database, for commands on the service's own machine."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from service import document, ids
from service.database import Database
from service.errors import FieldFault, InvalidRequest, NotFound
from service.store import job_lists, jobs
from service.store.job_lists import Filter
from service.store.jobs import LAST_ID


class LocalJobs:
    """A JobSource over the database: every app's jobs."""

    pause = 0.3

    def __init__(self, db: Database) -> None:
        self._db = db

    async def page(self, query: Mapping[str, str]) -> dict[str, Any]:
        """Takes `state`, `stuck`, `needs_action`, `limit` and `after`. Raises InvalidRequest."""
        limit = int(query["limit"])
        wanted = Filter(
            state=query.get("state"),
            stuck=query.get("stuck") == "true",
            needs_action=query.get("needs_action") == "true",
            before=_cursor(query.get("after")),
        )
        found = await job_lists.page(self._db, None, wanted, limit)
        return document.of_jobs(found.rows, found.after)

    async def job(self, job_id: str) -> dict[str, Any]:
        """Raises NotFound."""
        row = await jobs.get(self._db, _job_id(job_id))
        if row is None:
            raise NotFound(f"there is no job {job_id}", code="not_found")
        return document.of_job(row)

    async def timeline(self, job_id: str) -> list[Mapping[str, Any]]:
        """Empty where there is no such job."""
        happened = await jobs.timeline(self._db, _job_id(job_id))
        return [one | {"at": document.moment(one["at"])} for one in happened]


def _job_id(text: str) -> UUID:
    found = ids.read("job", text)
    if found is None:
        raise NotFound(f"there is no job {text}", code="not_found")
    return found


def _cursor(text: str | None) -> UUID:
    found = LAST_ID if text is None else ids.read("job", text)
    if found is None:
        problem = "must be the `next` of an earlier page"
        raise InvalidRequest(f"after: {problem}", fields=(FieldFault("after", problem),))
    return found
