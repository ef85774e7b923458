"""How each provider stands, as the API and the command show it."""

from collections.abc import Collection, Mapping
from typing import Any

from service import providers
from service.database import Database
from service.document import moment
from service.errors import FieldFault, InvalidRequest
from service.health import slow
from service.job import ErrorCode
from service.store import health
from service.store.health import Room

COUNTED = 10_000  # more jobs than this are not counted: it would take long, and tell nothing more


async def standing(
    db: Database, configured: Collection[str], most: Mapping[str, int]
) -> list[dict[str, Any]]:
    """Every provider that there is or that has work or a history, by name. `configured` are those
    that have a key, `most` the jobs that each may have in flight. Raises DatabaseAway."""
    rooms = await health.rooms(db, providers.names(), count_to=COUNTED)
    return [_shown(room, name in configured, most.get(name)) for name, room in rooms.items()]


def page(found: list[dict[str, Any]], after: str | None, limit: int) -> dict[str, Any]:
    """Up to `limit` of them after the one named `after`. Raises InvalidRequest."""
    names = [one["name"] for one in found]
    if after is not None and after not in names:
        problem = "must be the `next` of an earlier page"
        raise InvalidRequest(f"after: {problem}", fields=(FieldFault("after", problem),))
    start = 0 if after is None else names.index(after) + 1
    end = start + limit
    return {"data": found[start:end], "next": names[end - 1] if end < len(names) else None}


def _shown(room: Room, configured: bool, most: int | None) -> dict[str, Any]:
    state, code, message = _state(room, configured)
    return {
        "name": room.provider,
        "configured": configured,
        "state": state,
        "code": code,
        "message": message,
        "paused_at": moment(room.paused_at),
        "paused_until": moment(room.paused_until) if room.paused else None,
        "in_flight": room.in_flight,
        "most_in_flight": most,
        "queued": room.queued,
        "silent_since": moment(room.silent_since),
    }


def _state(room: Room, configured: bool) -> tuple[str, str | None, str | None]:
    """The word for it, and why."""
    if not configured:
        return "off", None, "it has no key"
    if room.pauses:
        return "paused" if room.paused else "trial", room.code, room.message
    if slow(room):
        problem = f"{room.ask_failures} polls in a row failed"
        return "slow", ErrorCode.PROVIDER_UNAVAILABLE, problem
    return "ok", None, None
