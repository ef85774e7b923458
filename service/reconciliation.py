"""The ledger: how jobs came to their ends, what their callbacks did, and what it cost.

Read over the jobs made in a span of time; one row per provider and model, one per provider.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from service import document, jsontext
from service.database import Database, Row
from service.errors import FieldFault, InvalidRequest
from service.job import ENDED, State
from service.store import reconciliation

SPAN = timedelta(hours=24)
LONGEST = timedelta(days=31)
SETTLED_SECONDS = 600.0  # after an end: until then a callback that has not come may be on its way
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ENDS = tuple(state.value for state in State if state in ENDED)
TELLERS = ("callback", "poll", "submit", "operator", "nobody")
FILTERS = ("since", "until", "limit", "after")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which jobs are read: those made from `since` up to `until`. `after`: the provider and model
    that the rows follow."""

    since: datetime
    until: datetime
    after: tuple[str, str] = ("", "")


def wanted(query: Mapping[str, str], now: datetime) -> Wanted:
    """What a query asks for: `since`, `until` (RFC 3339; the last 24 hours where left out) and
    `after`. Raises InvalidRequest, naming the field."""
    until = _moment("until", query.get("until"), now)
    since = _moment("since", query.get("since"), max(EPOCH, until - SPAN))
    if since >= until:
        raise _wrong("since", "must be before until")
    if until - since > LONGEST:
        raise _wrong("since", f"must be at most {LONGEST.days} days before until")
    return Wanted(since=since, until=until, after=_place(query.get("after", "")))


async def read(
    db: Database, app_id: UUID | None, asked: Wanted, *, limit: int | None
) -> dict[str, Any]:
    """The ledger of an app's jobs or (None) of all apps': `providers` whole, and of each provider's
    models up to `limit` (None: all) in `data`; `next` is the `after` of those that follow. Raises
    DatabaseAway."""
    first, end = _id_at(asked.since), _id_at(asked.until)
    rows = await reconciliation.figures(
        db,
        app_id,
        first=first,
        end=end,
        settled_seconds=SETTLED_SECONDS,
        after=asked.after,
        limit=None if limit is None else limit + 1,
    )
    silent, strangers = await reconciliation.silent(db), None
    whole: list[Row] = [row for row in rows if row["model"] is None]
    if app_id is None:  # calls that name no job belong to no app
        strangers = await reconciliation.stranger_calls(db, first=first, end=end)
        rest = {*silent, *strangers} - {row["provider"] for row in whole}
        whole += [{"provider": name} for name in sorted(rest)]
    models = [row for row in rows if row["model"] is not None]
    shown = models[:limit]
    return {
        "since": document.moment(asked.since),
        "until": document.moment(asked.until),
        "settled_seconds": SETTLED_SECONDS,
        "providers": [_provider(row, silent, strangers) for row in whole],
        "data": [
            {"provider": row["provider"], "model": row["model"]} | _figures(row) for row in shown
        ],
        "next": _place_of(shown[-1]) if len(models) > len(shown) else None,
    }


def _provider(
    row: Row, silent: Mapping[str, datetime], strangers: Mapping[str, int] | None
) -> dict[str, Any]:
    name = row["provider"]
    return {
        "provider": name,
        "silent_since": document.moment(silent.get(name)),
        "refused_without_job": None if strangers is None else strangers.get(name, 0),
    } | _figures(row)


def _figures(row: Row) -> dict[str, Any]:
    """What one row says; all is 0 or null in a row without figures."""
    settled = _count(row, "settled")
    never = _count(row, "never_came")
    return {
        "jobs": _count(row, "jobs"),
        "open": _count(row, "open"),
        "unconfirmed": _count(row, "unconfirmed"),
        "ended": {name: _count(row, name) for name in ENDS},
        "learnt_by": {name: _count(row, f"by_{name}") for name in TELLERS},
        "callbacks": {
            "registered": _count(row, "registered"),
            "came": _count(row, "came"),
            "never_came": never,
            "never_came_share": round(never / settled, 4) if settled else None,
            "refused": _count(row, "refused"),
            "disagreeing": _count(row, "disagreeing"),
        },
        "callback_lag_seconds": _percentiles(row.get("lag")),
        "post_to_end_seconds": _percentiles(row.get("took")),
        "cost": [one for one in jsontext.loads(row.get("cost") or "[]") if _says_something(one)],
    }


def _count(row: Row, name: str) -> int:
    return int(row.get(name) or 0)


def _percentiles(found: list[float] | None) -> dict[str, float | None]:
    p50, p95 = found or (None, None)
    return {
        "p50": None if p50 is None else round(p50, 3),
        "p95": None if p95 is None else round(p95, 3),
    }


def _says_something(cost: Mapping[str, Any]) -> bool:
    return cost["currency"] is not None or cost["actual"] is not None


def _moment(field: str, text: str | None, otherwise: datetime) -> datetime:
    if text is None:
        return otherwise
    try:
        at = datetime.fromisoformat(text)
        at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        raise _wrong(field, "must be a time as 2026-01-31T12:00:00Z") from None
    if at < EPOCH:
        raise _wrong(field, "must not be before 1970")
    return at


def _place(after: str) -> tuple[str, str]:
    provider, colon, model = after.partition(":")
    if (after and not colon) or not _storable(after):
        raise _wrong("after", "must be the `next` of an earlier page")
    return provider, model


def _place_of(row: Row) -> str:
    return f"{row['provider']}:{row['model']}"


def _storable(text: str) -> bool:
    """Whether Postgres could compare with it."""
    return "\x00" not in text and text.encode(errors="ignore").decode() == text


def _id_at(at: datetime) -> UUID:
    """The smallest id of that millisecond: ids sort by time."""
    return UUID(int=(at - EPOCH) // timedelta(milliseconds=1) << 80)


def _wrong(field: str, problem: str) -> InvalidRequest:
    return InvalidRequest(f"{field}: {problem}", fields=(FieldFault(field, problem),))
