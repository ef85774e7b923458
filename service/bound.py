"""How much others may make us keep: so much from each source and from all of them, in a window.

In memory, of one process; nothing is lost with it but the count.
"""

import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass

HOUR_SECONDS = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """At most so many rows, and so many bytes in them."""

    rows: int
    bytes: int


@dataclass(slots=True)
class _Taken:
    rows: int = 0
    bytes: int = 0

    def holds(self, size: int, limit: Limit) -> bool:
        return self.rows < limit.rows and self.bytes + size <= limit.bytes

    def add(self, size: int) -> None:
        self.rows += 1
        self.bytes += size


class Bound:
    """Counts what is taken in each window of `window` seconds: `each` from one source, `total` from
    all. No more sources are remembered than rows were taken."""

    def __init__(
        self,
        each: Limit,
        total: Limit,
        *,
        window: float = HOUR_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._each = each
        self._total = total
        self._window = window
        self._clock = clock
        self._began = clock()
        self._all = _Taken()
        self._by_source: dict[Hashable, _Taken] = {}

    def admits(self, source: Hashable, size: int) -> bool:
        """Whether `size` more bytes from `source` may be kept; where they may, they are counted."""
        self._turn()
        its = self._by_source.get(source) or _Taken()
        if not its.holds(size, self._each) or not self._all.holds(size, self._total):
            return False
        its.add(size)
        self._all.add(size)
        self._by_source[source] = its
        return True

    def is_spent(self, source: Hashable, size: int) -> bool:
        """Whether `size` more bytes would be too many of a source that has been counted before."""
        if source not in self._by_source:
            return False
        self._turn()
        its = self._by_source.get(source)
        return its is not None and not (
            its.holds(size, self._each) and self._all.holds(size, self._total)
        )

    def _turn(self) -> None:
        """Begins a new window where the last one is over."""
        if self._clock() - self._began >= self._window:
            self._began = self._clock()
            self._all = _Taken()
            self._by_source.clear()
