"""What people did to jobs: kept together with the move that it made, or alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from service import jsontext
from service.database import Database
from service.job import State
from service.store.advance import Move, Outcome, columns, outcome_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """One act on one attempt. `who` is a key's id, or the command line's user; `detail` is shown
    in the job's timeline."""

    id: UUID
    job_id: UUID
    attempt: int
    act: str
    who: str
    reason: str | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Success:
    """A success that is kept on an attempt. `is_later_word`: the provider had said otherwise first,
    and this, said `at`, was kept beside it."""

    output: Any = None
    outputs: Any = None
    is_later_word: bool = False
    at: str | None = None


async def perform(db: Database, move: Move, act: Act, success: Success | None = None) -> Outcome:
    """Makes the move and keeps the act, both or neither; sent again, it does nothing twice. Where
    the outcome has not `moved`, nothing is kept. With `success` the move makes that of the act's
    attempt the job's end. Raises DatabaseAway."""
    calls: list[tuple[str, Sequence[Any]]] = [
        ("advance", columns([move])),
        ("note_act", _row(act, move.event_id)),
    ]
    if success is not None:
        calls.append(("take_success", [act.job_id, act.attempt, move.event_id, *_later(success)]))
    moved, *_ = await db.together(*calls)
    return outcome_of(moved[0], move)


async def note(db: Database, act: Act) -> None:
    """Keeps an act that moved nothing. Raises DatabaseAway."""
    await db.rows("note_act", *_row(act, None))


async def tell(db: Database, act: Act) -> None:
    """Puts what came of an act since in the place of its `detail`. Raises DatabaseAway."""
    await db.rows("tell_act", act.job_id, act.id, jsontext.dumps(dict(act.detail)))


async def name_late(db: Database, act: Act, provider_id: str, *, due_in: float) -> bool:
    """Gives the attempt of an expired job the id that somebody found, and lets it be asked after
    from `due_in` seconds on; the act is kept with it. Whether it had none. Raises DatabaseAway."""
    detail = jsontext.dumps(dict(act.detail))
    about = [act.job_id, act.attempt, provider_id, due_in]
    return bool(await db.rows("name_late", *about, act.id, act.who, act.reason, detail))


async def request_cancel(db: Database, act: Act) -> State | None:
    """Notes that somebody wants the attempt to end, and makes the provider be asked at once; asked
    for again, it keeps who was first. Where the job stands; None: there is nothing to end, or
    another attempt is current. Raises DatabaseAway."""
    row = [act.job_id, act.attempt, act.id, act.who, act.reason, jsontext.dumps(dict(act.detail))]
    # Two statements: what is dated must be seen as it is once the job's row is ours.
    noted, _ = await db.together(("request_cancel", row), ("hasten_poll", [act.job_id]))
    return State(noted[0]["state"]) if noted else None


def _row(act: Act, event_id: UUID | None) -> list[Any]:
    return [
        act.job_id,
        act.id,
        act.attempt,
        act.act,
        act.who,
        act.reason,
        jsontext.dumps(dict(act.detail)),
        event_id,
    ]


def _later(success: Success) -> list[str | None]:
    if not success.is_later_word:
        return [None, None, None]
    return [jsontext.dumps(success.output), jsontext.dumps(success.outputs), success.at]
