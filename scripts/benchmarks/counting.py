"""What Postgres itself logs of the service's statements, and counts by name.

Postgres' own counters come late and by table; pg_stat_statements is not among what the embedded
one brings. Its log has each statement that ran, and the transaction that it wrote under.
"""

import re
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from service.database import load_queries

SERVICE = "callboard"  # the application_name of its connections
# Who, under which transaction id (0: it wrote nothing), what. A statement that asyncpg prepares
# is parsed and bound first, which is not counted: the three go in one round trip, parsing once.
_ENTRY = re.compile(
    r"^\|(?P<who>[^|]*)\|(?P<xid>\d+)\|LOG:  duration: [\d.]+ ms  "
    r"(?:execute [^:]*|statement): (?P<text>.*)$",
    re.MULTILINE,
)
_ON = (
    "alter system set log_line_prefix = '|%a|%x|'",
    "alter system set log_min_duration_statement = 0",
    "alter system set log_parameter_max_length = 0",
)
_OFF = ("alter system reset all",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """How often each statement ran, by name, and in how many transactions something was
    written."""

    statements: Mapping[str, int]
    commits: int

    @property
    def total(self) -> int:
        return sum(self.statements.values())


class Log:
    """The server's log, from where it was when this was made."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = path.stat().st_size

    def more(self) -> Counted:
        """Counts what was logged since the last time."""
        with self._path.open("rb") as file:
            file.seek(self._at)
            text = file.read()
            self._at = file.tell()
        return read(text.decode(errors="replace"))


@asynccontextmanager
async def logged(db: asyncpg.Connection, path: Path) -> AsyncIterator[Log]:
    """Has the server log every statement while the block lasts."""
    try:
        await _set(db, _ON)
        yield Log(path)
    finally:
        await _set(db, _OFF)


async def _set(db: asyncpg.Connection, settings: tuple[str, ...]) -> None:
    for setting in settings:
        await db.execute(setting)
    await db.execute("select pg_reload_conf()")


def read(text: str) -> Counted:
    """Counts the entries of a log."""
    names = {query.partition("\n")[0]: name for name, query in load_queries().items()}
    statements: Counter[str] = Counter()
    written = set()
    for entry in _ENTRY.finditer(text):
        if entry["who"] != SERVICE:
            continue
        statements[names.get(entry["text"], entry["text"][:40])] += 1
        if entry["xid"] != "0":
            written.add(entry["xid"])
    return Counted(statements=dict(statements), commits=len(written))
