"""Where in the past somebody wants to begin: a time, or an event."""

from datetime import datetime
from uuid import UUID

from service import ids
from service.database import Database
from service.document import moment
from service.errors import FieldFault, InvalidRequest
from service.store import recoveries
from service.store.recoveries import Start

Moment = datetime | UUID
"""A time, or an event's id."""


async def start_of(db: Database, app_id: UUID, since: Moment) -> Start:
    """Where in the feed `since` lies. Raises InvalidRequest where it has not come yet, or where
    the app has no such event."""
    if isinstance(since, UUID):
        start = await recoveries.find_event(db, app_id, since)
        problem = "is no event of this app's"
    else:
        start = await recoveries.find_time(db, since)
        problem = "lies in the future"
    if start is None:
        raise InvalidRequest(f"since: {problem}", fields=(FieldFault("since", problem),))
    return start


def shown(since: Moment) -> str:
    """`since` as the API writes it."""
    return ids.show("evt", since) if isinstance(since, UUID) else moment(since) or ""
