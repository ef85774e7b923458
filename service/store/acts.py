"""What people did to jobs: kept together with the move that it made, or alone."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from service import jsontext
from service.database import Database
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


async def perform(db: Database, move: Move, act: Act) -> Outcome:
    """Makes the move and keeps the act, both or neither; sent again, it does nothing twice. Where
    the outcome has not `moved`, nothing is kept. Raises DatabaseAway."""
    moved, _ = await db.together(
        ("advance", columns([move])), ("note_act", _row(act, move.event_id))
    )
    return outcome_of(moved[0])


async def note(db: Database, act: Act) -> None:
    """Keeps an act that moved nothing. Raises DatabaseAway."""
    await db.rows("note_act", *_row(act, None))


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
