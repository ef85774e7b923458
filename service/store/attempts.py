"""A job with each of its attempts and what became of it, for whoever acts on the job."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from service import jsontext
from service.database import Database, Row
from service.job import State
from service.providers import Attempt
from service.store.acts import Success

# Where a POST has left, or may have, and nobody has said how it ended.
_IN_DOUBT = frozenset(
    {State.SUBMITTING, State.UNCONFIRMED, State.SUBMITTED, State.RUNNING, State.EXPIRED}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """One attempt. `outcome` is the provider's verdict; `success` what it has kept of one.

    `last` is where the job stood when it last had this attempt; `denied`: an operator said that
    its POST was not accepted; `calls_back`: a callback is registered.
    """

    attempt: Attempt
    outcome: State | None
    last: State
    denied: bool
    calls_back: bool
    success: Success | None

    @property
    def number(self) -> int:
        return self.attempt.number

    @property
    def is_alive(self) -> bool:
        """Whether its POST may have been accepted, without a final verdict from the provider."""
        if self.outcome is not None:
            return False
        return self.attempt.provider_id is not None or (self.last in _IN_DOUBT and not self.denied)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A job as it stands; `tries` are its attempts, oldest first. `canceling`: somebody asked for
    its end. `secrets` is what its input, which has *** there, holds in secret, encrypted."""

    job_id: UUID
    state: State
    version: int
    provider: str
    model: str
    currency: str | None
    estimate: Decimal | None
    canceling: bool
    secrets: bytes | None
    current: Tried
    tries: tuple[Tried, ...]

    @property
    def next_number(self) -> int:
        """What the next attempt is called."""
        return self.tries[-1].number + 1

    def tried(self, number: int) -> Tried | None:
        """The attempt of that number; None: there is none."""
        return next((one for one in self.tries if one.number == number), None)


async def standing(db: Database, job_id: UUID) -> Standing | None:
    """The job as it stands; None: no such job."""
    rows = await db.rows("standing_of_job", job_id)
    if not rows:
        return None
    job = rows[0]
    tries = tuple(_tried(row) for row in rows)
    return Standing(
        job_id=job["id"],
        state=State(job["state"]),
        version=job["version"],
        provider=job["provider"],
        model=job["model"],
        currency=job["currency"],
        estimate=job["estimate"],
        canceling=job["canceling"],
        secrets=job["secrets"],
        current=next(one for one in tries if one.number == job["attempt"]),
        tries=tries,
    )


async def refresh_output(db: Database, attempt: Attempt, output: Any, outputs: Any) -> None:
    """Puts a success that is told anew in the place of the one that is kept."""
    await db.rows(
        "refresh_output",
        attempt.job_id,
        attempt.number,
        jsontext.dumps(output),
        jsontext.dumps(outputs),
    )


def _tried(row: Row) -> Tried:
    resolutions = [jsontext.loads(one) for one in row["resolutions"]]
    return Tried(
        attempt=Attempt(
            job_id=row["id"],
            number=row["number"],
            model=row["model"],
            input=jsontext.loads(row["input"]),
            provider_id=row["provider_id"],
            urls=jsontext.loads(row["urls"]) if row["urls"] else {},
        ),
        outcome=State(row["outcome"]) if row["outcome"] else None,
        last=State(row["last"] or State.QUEUED),
        denied=any(one.get("as") == "not_accepted" for one in resolutions),
        calls_back=row["calls_back"],
        success=_success(row["outcome"], row["disagreement"]),
    )


def _success(outcome: str | None, disagreement: str | None) -> Success | None:
    if outcome == State.COMPLETED:
        return Success()
    later: Mapping[str, Any] = jsontext.loads(disagreement) if disagreement else {}
    if later.get("now") != State.COMPLETED:
        return None
    return Success(output=later["output"], is_later_word=True, at=later["at"])
