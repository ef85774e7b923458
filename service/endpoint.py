"""A subscription and a delivery as the API shows them (contract §4)."""

from collections.abc import Iterable, Mapping
from typing import Any

from service import ids
from service.document import moment

Row = Mapping[str, Any]


def of_subscription(row: Row, headers: Iterable[str]) -> dict[str, Any]:
    """A subscription from its row and the names of its headers, which may hold keys."""
    return {
        "id": ids.show("sub", row["id"]),
        "url": row["url"],
        "events": row["events"],
        "enabled": row["enabled"],
        "disabled_reason": row["disabled_reason"],
        "failing_since": moment(row["failing_since"]),
        "headers": dict.fromkeys(headers, "***"),
        "created_at": moment(row["created_at"]),
    }


def of_delivery(row: Row) -> dict[str, Any]:
    """A delivery from its row with its `tries`. `url` is null where the subscription is gone, and
    `next_at` where nothing follows, or nothing before the endpoint is enabled again."""
    subscription = row["subscription_id"]
    return {
        "id": ids.show("dlv", row["id"]),
        "event": ids.show("evt", row["event_id"]),
        "type": row["type"],
        "job": ids.show("job", row["job_id"]),
        "subscription": None if subscription is None else ids.show("sub", subscription),
        "url": row["url"],
        "state": row["state"],
        "next_at": moment(row["next_at"]) if row["state"] == "pending" else None,
        "created_at": moment(row["created_at"]),
        "tries": [of_try(one) for one in row["tries"]],
    }


def of_try(row: Row) -> dict[str, Any]:
    """One try from its row; what the endpoint answered as text, whatever it was."""
    return {
        "number": row["number"],
        "at": moment(row["at"]),
        "status": row["status"],
        "duration_ms": row["duration_ms"],
        "error": row["error"],
        "response": as_text(row["response"]),
    }


def as_text(answered: bytes) -> str:
    """What an endpoint answered, as text; bytes that are none become U+FFFD."""
    return answered.decode(errors="replace")
