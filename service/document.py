"""A job, an event and their parts as the API and the events show them (contract §4 and §6)."""

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from service import ids, jsontext
from service.job import ENDED, STUCK_EVENT, State

Row = Mapping[str, Any]
SHORTENED_BYTES = 4096
VERDICTS = ENDED - {State.EXPIRED}
_NOTHING = (None, "null")
_NO_PROGRESS = '{"queue_position":null,"fraction":null}'


def moment(at: datetime | None) -> str | None:
    """RFC 3339 in UTC with microseconds, or None."""
    if at is None:
        return None
    return jsontext.moment(at if at.tzinfo is UTC else at.astimezone(UTC))


def of_job(row: Row, *, shorten: bool = False) -> dict[str, Any]:
    """A job from its row (`get_job`). `shorten`: strings of the input over 4 KiB are cut, as
    events and lists show them."""
    given = jsontext.loads(row["input"])
    return _of_job(row, row, _shortened(given) if shorten else given, jsontext.loads)


def _of_job(row: Row, then: Row, given: Any, shown: Callable[[str], Any]) -> dict[str, Any]:
    """A job from what stays as it is in its `row` and what stood `then`; `shown` says how what is
    stored as JSON appears in it."""
    shown_id = ids.show("job", row["id"])
    completed = then["state"] == State.COMPLETED
    output, outputs = (row["output"], row["outputs"]) if completed else (None, None)
    error, progress = then["error"], then["progress"]
    return {
        "id": shown_id,
        "state": then["state"],
        "stuck": row["stuck"],
        "late": then["late"],
        "provider": row["provider"],
        "model": row["model"],
        "attempt": then["attempt"],
        "version": then["version"],
        "provider_id": then["provider_id"],
        "input": given,
        "output": None if output is None else shown(output),
        "outputs": [] if outputs in _NOTHING else shown(outputs),
        "error": None if error is None else shown(error),
        "waiting": _waiting(row),
        "warnings": shown(row["warnings"]),
        "cost": _cost(row, then["actual"]),
        "learnt_by": then["learnt_by"],
        "progress": shown(progress or _NO_PROGRESS),
        "notify_hook": row["notify_hook"],
        "metadata": shown(row["metadata"]),
        "reference": row["reference"],
        "created_at": moment(row["created_at"]),
        "submitted_at": moment(then["submitted_at"]),
        "finished_at": moment(then["finished_at"]),
        "cancel_requested_at": moment(then["cancel_requested_at"]),
        "links": {"self": f"/v1/jobs/{shown_id}", "timeline": f"/v1/jobs/{shown_id}/timeline"},
    }


def of_jobs(rows: Iterable[Row], after: UUID | None) -> dict[str, Any]:
    """A page of jobs; `after`: the id below which the next one begins, None: there is none."""
    return {
        "data": [of_job(row, shorten=True) for row in rows],
        "next": None if after is None else ids.show("job", after),
    }


def of_event(row: Row) -> dict[str, Any]:
    """An event's body from its row (`claim_deliveries`), for `jsontext.joined`: the job as it
    stood at that move, so that every try of one event tells the same, whatever came since."""
    state, source, at = State(row["event_now"]), row["event_source"], row["event_at"]
    submitted_at = _by(row["event_submitted_at"], at)
    # What only the provider can have said must not appear in what was told before it spoke.
    heard = submitted_at is not None or source in ("callback", "poll")
    then = {
        "state": state.value,
        "version": row["event_version"],
        "attempt": row["event_attempt"],
        "late": row["event_was"] == State.EXPIRED and state == State.COMPLETED,
        "error": row["event_detail"],
        "progress": None,
        "learnt_by": _learnt_by(source) if state in VERDICTS else None,
        "provider_id": row["provider_id"] if heard else None,
        "actual": row["actual"] if state in VERDICTS else None,
        "submitted_at": submitted_at,
        "finished_at": at if state in ENDED else None,
        "cancel_requested_at": None,  # the next attempt forgets it, and an event stays as it was
    }
    job = _of_job(row, then, _shortened_text(row["input"]), jsontext.Written)
    return {
        "type": STUCK_EVENT if row["stuck"] else f"job.{state.value}",
        "timestamp": moment(at),
        "data": {"job": job},
    }


def _waiting(row: Row) -> dict[str, Any] | None:
    """Why a queued job is not sent though its turn may have come: its provider is paused."""
    until = row.get("waiting_until")
    if until is None:
        return None
    return {
        "code": row["waiting_code"],
        "message": row["waiting_message"],
        "until": moment(until),
    }


def _by(moment_of: datetime | None, at: datetime) -> datetime | None:
    """A moment of the job's, where it had come by `at`."""
    return None if moment_of is None or moment_of > at else moment_of


def cost(row: Row) -> dict[str, Any] | None:
    """What a job costs, from its `currency estimate upper_bound actual`; None where its provider
    has no currency."""
    return _cost(row, row["actual"])


def _cost(row: Row, actual: Decimal | None) -> dict[str, Any] | None:
    if row["currency"] is None:
        return None
    return {
        "currency": row["currency"],
        "estimate": _plain(row["estimate"]),
        "upper_bound": row["upper_bound"],
        "actual": _plain(actual),
    }


def _plain(amount: Decimal | None) -> str | None:
    """Without an exponent, which readers of money do not expect."""
    return None if amount is None else f"{amount:f}"


def _shortened_text(text: str) -> jsontext.Written:
    """JSON text with its strings shortened, of which none is longer than the whole."""
    if len(text.encode()) > SHORTENED_BYTES:
        text = jsontext.dumps(_shortened(jsontext.loads(text)))
    return jsontext.Written(text)


def _shortened(value: Any) -> Any:
    if isinstance(value, str):
        text = value.encode(errors="surrogatepass")
        whole = len(text) <= SHORTENED_BYTES
        return value if whole else text[:SHORTENED_BYTES].decode(errors="ignore") + "…"
    if isinstance(value, list):
        return [_shortened(item) for item in value]
    if isinstance(value, dict):
        return {key: _shortened(item) for key, item in value.items()}
    return value


def _learnt_by(source: str) -> str | None:
    """Who told the end; nobody where it ended before it was sent."""
    return None if source == "api" else source
