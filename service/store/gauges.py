"""What waits in the database just now, in numbers."""

from dataclasses import dataclass
from decimal import Decimal

from service.database import Database

COUNTED = 10_000  # of each kind: enough to see that something is wrong, little enough to count


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What a provider has left to do of one task; `overdue`, in seconds, is of the most overdue."""

    provider: str
    task: str
    jobs: int
    overdue: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How a provider is: nothing is submitted to it, or its callbacks have stopped."""

    provider: str
    paused: bool
    silent: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Risk:
    """A provider's unconfirmed jobs of one currency; `estimate` is None where none is known."""

    provider: str
    currency: str | None
    jobs: int
    estimate: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """Events and deliveries that wait; `overdue`, in seconds, is of the oldest delivery due."""

    unplaced: int
    due: int
    held: int
    overdue: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauges:
    """Everything that is counted, as of one moment."""

    manners: tuple[Manner, ...]
    work: tuple[Work, ...]
    risks: tuple[Risk, ...]
    backlog: Backlog


async def read(db: Database) -> Gauges:
    """Counts, each kind up to COUNTED. Raises DatabaseAway."""
    manners = await db.rows("measure_providers")
    work = await db.rows("measure_work", COUNTED)
    risks = await db.rows("measure_risk")
    backlog = await db.row("measure_backlog", COUNTED)
    assert backlog is not None
    return Gauges(
        manners=tuple(Manner(**row) for row in manners),
        work=tuple(Work(**row) for row in work),
        risks=tuple(Risk(**row) for row in risks),
        backlog=Backlog(**backlog),
    )
