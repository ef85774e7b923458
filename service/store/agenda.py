"""What is left to do: leases on jobs that are due to be submitted or asked after."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from service import jsontext
from service.database import Database
from service.job import State
from service.providers import Attempt, Progress
from service.store.advance import progress_text

ASKS = ("poll", "late")  # a provider is asked
DOUBTS = ("sending", "give_up")  # nobody can be: a sender has gone, or a POST's outcome is unknown
WATCHED_SECONDS = 3.0  # the longest pause between polls of a job that somebody waits for


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """A job whose turn has come, under our lease. `tries` counts the leases since it last moved,
    or of a queued job those in which it could not be sent.

    `age` is the time since the attempt's POST, `ended_for` since its end, both in seconds.
    `secrets` is what its input, which has *** there, holds in secret, encrypted. `canceling`:
    somebody asked for its end, to which the provider said `cancel_answer`. `ailing`: its
    provider's last submits failed; `trial`: it is paused, and this job is to show how it fares.
    """

    task: str
    lease: int
    tries: int
    state: State
    provider: str
    deadline_seconds: float
    attempt: Attempt
    version: int
    secrets: bytes | None = None
    age: float | None = None
    ended_for: float | None = None
    canceling: bool = False
    cancel_answer: str | None = None
    told_stuck: bool = False
    ailing: bool = False
    trial: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """How many of a provider's jobs may be taken up now; `most` bounds those in flight, whoever
    took them up (None: any number)."""

    provider: str
    places: int
    most: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """How the look at a job ended: due again in `again_in` seconds (None: never), and what the
    provider said where it was asked (`poll_id`)."""

    due: Due
    again_in: float | None
    poll_id: UUID | None = None
    duration_ms: int = 0
    said: State | None = None
    note: str | None = None
    progress: Progress | None = None


async def claim_submits(db: Database, *, lease_seconds: float, turns: Sequence[Turn]) -> list[Due]:
    """Leases jobs that are due to be submitted, of each provider as its turn says."""
    rows = await db.rows(
        "claim_submits",
        lease_seconds,
        [turn.provider for turn in turns],
        [turn.places for turn in turns],
        [turn.most for turn in turns],
    )
    return [_due(row, task="submit", trial=row["trial"], ailing=row["ailing"]) for row in rows]


async def claim_asks(
    db: Database, *, lease_seconds: float, turns: Sequence[Turn], tasks: Sequence[str]
) -> list[Due]:
    """Leases jobs that are due for one of `tasks`, of each provider as its turn says. Where there
    are fewer places than jobs the tasks take turns, in this order."""
    rows = await db.rows(
        "claim_asks",
        lease_seconds,
        [turn.provider for turn in turns],
        [turn.places for turn in turns],
        list(tasks),
    )
    return [
        _due(
            row,
            task=row["task"],
            age=row["age"],
            ended_for=row["ended_for"],
            told_stuck=row["told_stuck"],
            cancel_answer=row["cancel_answer"],
        )
        for row in rows
    ]


def _due(row: Mapping[str, Any], **more: Any) -> Due:
    return Due(
        lease=row["lease"],
        tries=row["tries"],
        state=State(row["state"]),
        version=row["version"],
        canceling=row["canceling"],
        secrets=row["secrets"],
        provider=row["provider"],
        deadline_seconds=row["deadline_seconds"],
        attempt=Attempt(
            job_id=row["job_id"],
            number=row["attempt"],
            model=row["model"],
            input=jsontext.loads(row.get("input", "{}")),
            provider_id=row.get("provider_id"),
            urls=jsontext.loads(row.get("urls") or "{}"),
        ),
        **more,
    )


async def finish_asks(db: Database, asked: Sequence[Asked]) -> list[bool]:
    """Gives the leases of polls back, each of another job, and records what was said. Of each,
    whether that is done: False where somebody else holds the job, and it is to be told again."""
    held = await db.rows(
        "finish_asks",
        [one.due.attempt.job_id for one in asked],
        [one.due.lease for one in asked],
        [one.due.attempt.number for one in asked],
        [one.again_in for one in asked],
        [one.poll_id for one in asked],
        [one.duration_ms for one in asked],
        [one.said for one in asked],
        [one.note for one in asked],
        [progress_text(one.progress) for one in asked],
        WATCHED_SECONDS,
    )
    by_others = {row["job_id"] for row in held}
    return [one.due.attempt.job_id not in by_others for one in asked]


async def note_poll(
    db: Database,
    attempt: Attempt,
    *,
    poll_id: UUID,
    duration_ms: int,
    said: State | None,
    note: str | None,
    progress: Progress | None,
) -> None:
    """Records what the provider said when it was asked out of turn."""
    await db.rows(
        "note_poll",
        attempt.job_id,
        poll_id,
        attempt.number,
        duration_ms,
        said,
        note,
        progress_text(progress),
    )


async def watch(db: Database, job_id: UUID, *, seconds: float) -> None:
    """Somebody waits for the job for the next `seconds`: it is asked after every few of them."""
    await db.rows("watch_job", job_id, seconds, WATCHED_SECONDS)


async def delay_submit(db: Database, due: Due, *, seconds: float) -> None:
    """Gives the lease of a submit back, due again in `seconds`."""
    await db.rows("delay_submit", due.attempt.job_id, due.lease, seconds)
