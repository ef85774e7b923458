"""Moves: what somebody says of a job, put to the one statement that moves jobs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from operator import attrgetter
from typing import Any
from uuid import UUID

from service import jsontext
from service.database import Database, Row
from service.ids import bucket_of, new_id
from service.job import JobError, State
from service.providers import Progress, Provider, Report


@dataclass(slots=True, kw_only=True)
class InboundCall:
    """A call to a provider's door, as it is kept. `verdict` is set where no job decides it."""

    id: UUID
    provider: str
    address: str
    headers: str
    body: bytes
    verdict: str | None = None
    reason: str | None = None


@dataclass(slots=True, kw_only=True)
class Move:
    """One item of `advance`; sql/queries/advance.sql says what each field does there.

    `due_in` is in seconds: when the job's agenda row is due next (`task` says for what), or None
    of an end. `to_attempt` is the attempt that the job has from then on, made where there is
    none (None: the one it has). `event_id` names the move: asked for after a lost answer.
    """

    job_id: UUID | None
    attempt: int | None
    source: str
    event_id: UUID
    now: State | None = None
    was: State | None = None
    expected: int | None = None
    provider_id: str | None = None
    urls: Mapping[str, str] | None = None
    token_key: str | None = None
    output: Any = None
    outputs: Any = None
    error: JobError | None = None
    progress: Progress | None = None
    actual: Decimal | None = None
    ask: bool = False
    task: str | None = None
    due_in: float | None = None
    to_attempt: int | None = None
    call: InboundCall | None = None


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What became of one Move: `moved` false is "not now", and `state` where the job stands (None:
    we do not have it). `staged`: there are new deliveries to make. `canceling`: somebody asked
    for the job's end. `reason`: why a call has that verdict. `move`: what it became of."""

    verdict: str
    moved: bool
    was: State | None
    state: State | None
    version: int | None
    staged: bool
    canceling: bool = False
    reason: str | None = None
    move: Move | None = None


def new_event_id(job_id: UUID) -> UUID:
    """An id for a move of this job, in the job's bucket."""
    return new_id(bucket_of(job_id))


def reported(
    report: Report,
    provider: Provider,
    *,
    job_id: UUID,
    attempt: int,
    source: str,
    due_in: float,
    call: InboundCall | None = None,
) -> Move:
    """The Move that a provider's Report asks for. `due_in` (seconds) dates the next look at a job
    that goes on; a report that only points elsewhere (`ask`) is due at once, and proves that the
    provider has the job."""
    now = State.SUBMITTED if report.ask else report.state
    goes_on = now in (State.SUBMITTED, State.RUNNING)
    return Move(
        job_id=job_id,
        attempt=attempt,
        source=source,
        event_id=new_event_id(job_id) if call is None else call.id,
        now=now,
        provider_id=report.provider_id,
        output=report.output,
        outputs=None if report.output is None else provider.outputs(report.output),
        error=report.error,
        progress=report.progress,
        actual=report.actual,
        ask=report.ask,
        task="poll" if goes_on else None,
        due_in=(0.0 if report.ask else due_in) if goes_on else None,
        call=call,
    )


async def advance(db: Database, moves: Sequence[Move]) -> list[Outcome]:
    """Puts `moves` to the database in one statement, one round trip; a job stands at most once
    among them. The outcomes come in the order of the moves. Raises DatabaseAway."""
    rows = await db.rows("advance", *columns(moves))
    return [outcome_of(row, move) for row, move in zip(rows, moves, strict=True)]


_STATES = {state.value: state for state in State}


def outcome_of(row: Row, move: Move | None = None) -> Outcome:
    """The Outcome, of `move`, in one row of the statement's answer."""
    verdict, reason, moved, state, version, was, staged, canceling = row.values()
    return Outcome(
        verdict=verdict,
        moved=moved,
        was=_STATES.get(was),
        state=_STATES.get(state),
        version=version,
        staged=staged,
        canceling=canceling,
        reason=reason,
        move=move,
    )


# Taken out of all moves at once: a loop for each of two dozen columns took three times as long.
_PLAIN = attrgetter(
    *("job_id", "attempt", "was", "now", "event_id", "source", "provider_id", "token_key"),
    *("actual", "ask", "task", "due_in", "expected", "to_attempt"),
)
_CALL = attrgetter("id", "provider", "verdict", "reason", "address", "headers", "body")
_NO_CALL = (None,) * 7


def columns(moves: Sequence[Move]) -> list[Sequence[Any] | None]:
    """The statement's arrays; one without any value goes as null, which `unnest` fills up: most
    are so, and asyncpg looks at every element."""
    plain = zip(*map(_PLAIN, moves), strict=True)
    job_id, attempt, was, now, event_id, source, provider_id, token_key, *more = plain
    actual, ask, task, due_in, expected, to_attempt = more
    calls = (_NO_CALL if move.call is None else _CALL(move.call) for move in moves)
    columns: list[Sequence[Any]] = [
        *(job_id, attempt, was, now, event_id, source, provider_id),
        [_json(move.urls or None) for move in moves],
        token_key,
        [_json(move.output) for move in moves],
        [_error(move.error) for move in moves],
        [progress_text(move.progress) for move in moves],
        *(actual, [asked or None for asked in ask], task, due_in),
        *zip(*calls, strict=True),
        [_json(move.outputs) for move in moves],
        *(expected, to_attempt),
    ]
    return [None if all(value is None for value in column) else column for column in columns]


def _json(value: Any) -> str | None:
    return None if value is None else jsontext.dumps(value)


def _error(error: JobError | None) -> str | None:
    return None if error is None else jsontext.dumps(error.as_dict())


def progress_text(progress: Progress | None) -> str | None:
    """As it is kept: a JSON object; None where none was told."""
    if progress is None:
        return None
    return jsontext.dumps(
        {"queue_position": progress.queue_position, "fraction": progress.fraction}
    )


async def find_move(db: Database, move: Move) -> int | None:
    """The version that `move` made, asked after a lost answer; None where it took no effect."""
    row = await db.row("find_event", move.job_id, move.event_id)
    return None if row is None else int(row["version"])
