"""What bounds a page: the cursor of the page before it, and times as ids."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from service import ids
from service.store.jobs import LAST_ID
from service.web.access import field_fault

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def cursor(prefix: str, text: str | None) -> UUID:
    """The id below which a page begins; without a cursor there is no bound. Raises
    InvalidRequest."""
    found = LAST_ID if text is None else ids.read(prefix, text)
    if found is None:
        raise field_fault("after", "must be the `next` of an earlier page")
    return found


def id_at(text: str | None, field: str) -> UUID | None:
    """The smallest id of that millisecond: ids sort by time, so a time is a bound on ids. Raises
    InvalidRequest, naming `field`."""
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise field_fault(field, "must be a time as 2026-01-31T12:00:00Z") from None
    at = at.replace(tzinfo=UTC) if at.tzinfo is None else at
    return UUID(int=max(0, (at - EPOCH) // timedelta(milliseconds=1)) << 80)
