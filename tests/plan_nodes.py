"""What Postgres' plan of a query says: which tables it walks, which rows it meets."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import asyncpg

from service.database import load_queries

QUERIES = load_queries()

# The tables that grow with every job there ever was, and those with every app.
GROWING = {
    *("jobs", "attempts", "job_events", "callbacks", "deliveries", "delivery_tries", "polls"),
    *("agenda", "feed", "idempotency_keys", "api_keys", "operator_actions"),
}


async def explained(
    connection: asyncpg.Connection,
    name: str,
    values: Sequence[str],
    *,
    settings: Mapping[str, str] | None = None,
    run: bool = False,
) -> Any:
    """The plan of a query (the first word of `name`), prepared as asyncpg prepares it for these
    values, under the connection's settings save these; with `run`, what came of it too. Whatever it
    does is undone."""
    text = QUERIES[name.partition(" ")[0]]
    prepared = await connection.prepare(text)
    types = ", ".join(one.name for one in prepared.get_parameters())
    listed = f"({', '.join(values)})" if values else ""
    for setting, value in (settings or {}).items():
        await connection.execute(f"set {setting} = {value}")
    await connection.execute(f"prepare one {f'({types})' if types else ''} as {text}")
    try:
        undo = connection.transaction()
        await undo.start()
        try:
            how = f"(format json, analyze {run}, timing off)"
            return json.loads(await connection.fetchval(f"explain {how} execute one{listed}"))
        finally:
            await undo.rollback()
    finally:
        await connection.execute("deallocate one")


def nodes(node: Any) -> Iterator[dict[str, Any]]:
    """Every node of a plan."""
    if isinstance(node, list):
        for one in node:
            yield from nodes(one)
    elif isinstance(node, dict):
        if "Node Type" in node:
            yield node
        for one in node.values():
            yield from nodes(one)


def scans(plan: Any) -> Iterator[tuple[str, str]]:
    """Which way each table is walked."""
    for node in nodes(plan):
        if "Relation Name" in node:
            yield node["Node Type"], node["Relation Name"]


def rows_met(plan: Any, table: str) -> float:
    """How many rows of a table a plan that ran went through, those that it passed over too; one
    that it found twice counts twice."""
    return sum(
        (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
        for node in nodes(plan)
        if node.get("Relation Name") == table and node["Node Type"] != "ModifyTable"
    )


def rows_sorted(plan: Any) -> float:
    """How many rows a plan that ran put in order."""
    return max(
        (
            one["Actual Rows"]
            for node in nodes(plan)
            if node["Node Type"] == "Sort"
            for one in node["Plans"]
        ),
        default=0.0,
    )


def walked_through(node: Any) -> set[str]:
    """The growing tables that are read from end to end."""
    return {table for kind, table in scans(node) if kind == "Seq Scan" and table in GROWING}


def walked_by_index(node: Any, table: str | None = None) -> set[str]:
    """The growing tables that are read from end to end in the order of an index: nothing is looked
    for in it, and no limit ends the walk."""
    walked = set()
    table = node.get("Relation Name", table)
    by_index = "Index" in node["Node Type"] and "Index Cond" not in node
    if by_index and table in GROWING:
        walked.add(table)
    if node["Node Type"] != "Limit":
        for one in node.get("Plans", ()):
            walked |= walked_by_index(one, table)
    return walked
