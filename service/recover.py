"""Tells again what endpoints have not acknowledged, page by page along the feed."""

import asyncio
from collections.abc import Callable
from datetime import datetime
from uuid import UUID

from service import ids, jsontext
from service.database import Database
from service.document import moment
from service.errors import FieldFault, InvalidRequest, NotFound
from service.past import Moment, shown, start_of
from service.store import recoveries, subscriptions
from service.store.recoveries import Recovery

PAGE = 1000  # places of the feed in one statement
# The same request within this time is the same recovery, where it would else send twice.
ONE_REQUEST_SECONDS = 60.0


class Recovering:
    """Takes requests, and carries them out in the background; any number of processes may."""

    def __init__(
        self,
        db: Database,
        *,
        wake: asyncio.Event,
        staged: Callable[[], None] = lambda: None,
        page: int = PAGE,
    ) -> None:
        self._db = db
        self._staged = staged
        self._page = page
        self.wake = wake

    async def ask(
        self,
        app_id: UUID | None,
        subscription_id: UUID,
        *,
        since: Moment,
        until: datetime | None = None,
        acknowledged: bool = False,
        dry_run: bool = False,
        who: str,
    ) -> int:
        """How many events are sent again: those told from `since` on and before `until` (None: by
        now) that the endpoint wants and has not acknowledged, or has too. Once this has returned,
        they will be, whatever happens, and those too that have no place in the feed yet, which are
        not counted; `dry_run` only counts. Raises NotFound, InvalidRequest."""
        row = await subscriptions.get(self._db, app_id, subscription_id)
        if row is None:
            raise _gone()
        if until is not None and isinstance(since, datetime) and until <= since:
            problem = "must lie after since"
            raise InvalidRequest(f"until: {problem}", fields=(FieldFault("until", problem),))
        wanted = Recovery(
            subscription_id=subscription_id,
            start=await start_of(self._db, row["app_id"], since),
            asked=jsontext.dumps([shown(since), moment(until), acknowledged]),
            until=until,
            acknowledged=acknowledged,
        )
        counted = await recoveries.count(self._db, wanted)
        if dry_run:
            return counted
        found = await recoveries.create(
            self._db, wanted, recovery_id=ids.new_id(), who=who, counted=counted
        )
        if found is None:
            raise _gone()
        self.wake.set()
        return found

    async def step(self) -> bool:
        """Takes one recovery a page further; whether there was anything to do. Raises
        DatabaseAway."""
        step = await recoveries.go_on(self._db, page=self._page, shortest=ONE_REQUEST_SECONDS)
        if step.staged:
            self._staged()
        return step.walked


def _gone() -> NotFound:
    return NotFound("there is no such subscription", code="not_found")
