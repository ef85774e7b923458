"""What a provider says of an attempt when it is asked: put to the job, and kept as a poll."""

from dataclasses import dataclass

from service.database import Database
from service.ids import bucket_of, new_id
from service.inquiry import Heard, Inquiry
from service.job import State
from service.pace import Pace
from service.providers import Attempt, Provider, Report
from service.store import agenda, attempts
from service.store.advance import Move, advance, reported
from service.wakes import Wakes


def told(provider: Provider, attempt: Attempt, report: Report, *, due_in: float) -> Move:
    """The move that the provider's report of the attempt asks for; of one that is not current it is
    only kept. `due_in` (seconds) dates the next look at a job that goes on."""
    return reported(
        report,
        provider,
        job_id=attempt.job_id,
        attempt=attempt.number,
        source="poll",
        due_in=due_in,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """Asks out of turn, for whoever acts by hand."""

    db: Database
    inquiry: Inquiry
    pace: Pace
    wakes: Wakes

    async def ask(self, provider: Provider, attempt: Attempt, secrets: bytes | None) -> Heard:
        """The provider's word on the attempt, kept, and the job moved by it. `secrets` is what its
        input holds in secret, encrypted. Raises DatabaseAway."""
        heard = await self.inquiry.ask(provider, attempt, secrets)
        await self.keep(provider, attempt, heard)
        return heard

    async def keep(self, provider: Provider, attempt: Attempt, heard: Heard) -> None:
        """Keeps what was said of the attempt, and moves the job by it. Raises DatabaseAway."""
        report = heard.report
        await agenda.note_poll(
            self.db,
            attempt,
            poll_id=new_id(bucket_of(attempt.job_id)),
            duration_ms=heard.took_ms,
            said=report.state,
            note=report.note,
            progress=report.progress,
        )
        if report.state is None:
            return
        pause = self.pace.next_look(provider, attempt.model, tries=0)
        (outcome,) = await advance(self.db, [told(provider, attempt, report, due_in=pause)])
        self.wakes.moved([outcome])
        if report.state is State.COMPLETED and not outcome.moved:
            outputs = provider.outputs(report.output)
            await attempts.refresh_output(self.db, attempt, report.output, outputs)
