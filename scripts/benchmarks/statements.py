"""Stands in for a Database and watches its statements: how long each took, or what it touched."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import asyncpg

from service import jsontext
from service.database import Database, Row


class Timed:
    """Runs statements as the Database does. `took` has the seconds of each, by name; `enough` is
    set once the one that is waited for was run for `wanted` jobs."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._left: dict[str, int] = {}
        self.took: defaultdict[str, list[float]] = defaultdict(list)
        self.enough = asyncio.Event()

    def expect(self, name: str, wanted: int) -> None:
        """Begins anew, until `name`, whose first values are jobs, has run for `wanted` of them."""
        self.took.clear()
        self.enough.clear()
        self._left = {name: wanted}

    async def rows(self, name: str, *values: Any) -> list[Row]:
        """As Database.rows."""
        began = time.perf_counter()
        rows = await self._db.rows(name, *values)
        self.took[name].append(time.perf_counter() - began)
        if name in self._left:
            self._left[name] -= len(values[0])
            if self._left[name] <= 0:
                self.enough.set()
        return rows

    async def row(self, name: str, *values: Any) -> Row | None:
        """As Database.row."""
        rows = await self.rows(name, *values)
        return rows[0] if rows else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Touched:
    """What one statement came to: rows that came back, 8 KiB pages met in Postgres' own memory
    (`hit`) and outside it (`read`), and rows that its scans of one table went through."""

    rows: int
    hit: int
    read: int
    walked: int


@dataclass(slots=True)
class Explained:
    """Runs statements under EXPLAIN (ANALYZE, BUFFERS), which hands no rows out."""

    connection: asyncpg.Connection
    queries: Mapping[str, str]
    table: str
    touched: list[Touched] = field(default_factory=list)

    async def rows(self, name: str, *values: Any) -> list[Row]:
        """Runs it for its effect, and keeps what it touched. No rows."""
        told = await self.connection.fetchval(
            f"explain (analyze, buffers, timing off, format json) {self.queries[name]}", *values
        )
        (plan,) = jsontext.loads(told)
        self.touched.append(_touched(plan["Plan"], self.table))
        return []


def _touched(plan: dict[str, Any], table: str) -> Touched:
    return Touched(
        rows=plan["Actual Rows"],
        hit=plan["Shared Hit Blocks"],
        read=plan["Shared Read Blocks"],
        walked=round(
            sum(
                _walked(node)
                for node in nodes(plan)
                if node.get("Relation Name") == table and node["Node Type"] != "ModifyTable"
            )
        ),
    )


def _walked(node: dict[str, Any]) -> float:
    removed = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
    rows: float = (node["Actual Rows"] + removed) * node["Actual Loops"]
    return rows


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every node of a plan."""
    yield plan
    inner: Sequence[dict[str, Any]] = plan.get("Plans", ())
    for one in inner:
        yield from nodes(one)
