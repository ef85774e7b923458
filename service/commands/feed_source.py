"""Where the commands read events: what the database and a service over HTTP have in common."""

import time
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from service.commands.timeline import PATIENCE_SECONDS

Event = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Which events: of these types (none: of all), of one job or of all, after an event or (None)
    from now on; a job's from its beginning."""

    types: tuple[str, ...] = ()
    job: str | None = None
    after: str | None = None


class FeedSource(Protocol):
    """Where a command reads events."""

    def follow(self, asked: Asked) -> AsyncGenerator[Event, None]:
        """Each event as the API shows it, as it comes; ends where the job that is followed has.

        Raises InvalidRequest, NotFound; DatabaseAway or Unavailable where its source stays away
        for a minute."""
        ...

    async def event(self, event_id: str) -> Event:
        """One event. Raises NotFound."""
        ...

    async def secret(self, event_id: str) -> str:
        """The default secret of the app that the event is of, as `whsec_…`. Raises NotFound,
        Forbidden."""
        ...


class Patience:
    """How long a source that was there may be away. The first try must not wait: a wrong address
    shows at once."""

    def __init__(self) -> None:
        self._until = time.monotonic()

    def renew(self) -> None:
        """It was there."""
        self._until = time.monotonic() + PATIENCE_SECONDS

    @property
    def is_over(self) -> bool:
        return time.monotonic() >= self._until
