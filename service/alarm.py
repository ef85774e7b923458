"""What was not taken, counted and said: each open job's once an hour, what nobody keeps once a
minute. In memory, of one process.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable
from uuid import UUID

from service import ids
from service.bound import HOUR_SECONDS

log = logging.getLogger(__name__)

SAY_SECONDS = 60.0


class Alarm:
    """Counts, by provider and reason, the calls that were not taken since this process began:
    `kept` of them, `dropped` as too many, and `of_open_jobs`, which may be news that was missed."""

    def __init__(
        self, *, clock: Callable[[], float] = time.monotonic, say_after: float = SAY_SECONDS
    ) -> None:
        self._clock = clock
        self._say_after = say_after
        self._said: dict[object, float] = {}
        self._unsaid: Counter[tuple[str, str]] = Counter()
        self._saying: asyncio.TimerHandle | None = None
        self.kept: Counter[tuple[str, str]] = Counter()
        self.dropped: Counter[tuple[str, str]] = Counter()
        self.of_open_jobs: Counter[tuple[str, str]] = Counter()

    def keep(self, provider: str, reason: str) -> None:
        """One more is kept."""
        self.kept[provider, reason] += 1

    def drop(self, provider: str, reason: str) -> None:
        """One more is not kept; a line in the log says how many within a minute."""
        self.dropped[provider, reason] += 1
        self._unsaid[provider, reason] += 1
        if self._saying is None:
            loop = asyncio.get_running_loop()
            self._saying = loop.call_later(self._say_after, self._say)

    def sound(self, provider: str, job_id: UUID, *, verdict: str, reason: str) -> None:
        """A call about an open job was not taken: the job may have been told its end in it."""
        self.of_open_jobs[provider, reason] += 1
        # Without the keys every job's calls are refused, for one and the same cause.
        subject: object = provider if reason == "keys_away" else job_id
        now = self._clock()
        if now - self._said.get(subject, float("-inf")) < HOUR_SECONDS:
            return
        self._said = {one: at for one, at in self._said.items() if now - at < HOUR_SECONDS}
        self._said[subject] = now
        job = ids.show("job", job_id)
        log.error("a callback of %s for the open %s was %s: %s", provider, job, verdict, reason)

    def _say(self) -> None:
        self._saying = None
        parts = [f"{name} {reason} {count}" for (name, reason), count in self._unsaid.items()]
        self._unsaid.clear()
        log.warning("calls that were not taken, and are too many to be kept: %s", ", ".join(parts))
