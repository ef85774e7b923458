"""The last events, kept in memory for all readers of a process."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from service.store.feed import Line

KEPT_EVENTS, KEPT_BYTES = 4096, 16 * 1024 * 1024
ENTRY_BYTES = 400  # what an event takes beside its message


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An event that was read for all: its line, and its message where anybody wanted it."""

    line: Line
    message: bytes | None

    @property
    def size(self) -> int:
        return ENTRY_BYTES + len(self.message or b"")


class Recent:
    """The last events in a row: all that come after the place `since`, up to `place`."""

    def __init__(self, *, events: int = KEPT_EVENTS, size: int = KEPT_BYTES) -> None:
        self.since = self.place = 0
        self._entries: deque[Entry] = deque()
        self._most, self._most_bytes, self._bytes = events, size, 0

    def start(self, place: int) -> None:
        """Forgets everything; what comes after `place` follows."""
        self._entries.clear()
        self.since = self.place = place
        self._bytes = 0

    def add(self, entry: Entry) -> None:
        """Keeps the next one, and lets go of the oldest."""
        self._entries.append(entry)
        self.place = entry.line.place
        self._bytes += entry.size
        while len(self._entries) > self._most or self._bytes > self._most_bytes:
            oldest = self._entries.popleft()
            self.since = oldest.line.place
            self._bytes -= oldest.size

    def after(self, place: int) -> Iterator[Entry] | None:
        """Those after `place`; None where some of them are not here."""
        if place < self.since:
            return None
        return (entry for entry in self._entries if entry.line.place > place)
