"""What Postgres' plan of a query says: which tables it walks, which rows it meets."""

from collections.abc import Iterator
from typing import Any

# The tables that grow with every job there ever was, and those with every app.
GROWING = {
    *("jobs", "attempts", "job_events", "callbacks", "deliveries", "delivery_tries", "polls"),
    *("agenda", "feed", "idempotency_keys", "api_keys", "operator_actions"),
}


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
