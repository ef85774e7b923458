"""Asks providers for news of jobs that have gone quiet, and gives up in time.

A poll that brings no verdict never ends a job; only a provider's well-formed word does, or the
deadline and the time to give up.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from service.database import Database
from service.errors import CallboardError
from service.http import Asker
from service.ids import bucket_of, new_id
from service.job import ENDED, Charged, ErrorCode, JobError, State
from service.pace import Pace, sparse_look
from service.providers import Provider, Reply, Report
from service.slots import Slots
from service.store import agenda
from service.store.advance import Move, Outcome, advance, new_event_id, reported
from service.store.agenda import Due
from service.vault import NO_SECRETS, Vault

ASK_SECONDS = 20.0
UNKNOWN_PROVIDER_SECONDS = 300.0


class Sweeper:
    """Claims due jobs and asks after them, `in_flight` at once. `moved` hears of every move."""

    def __init__(
        self,
        db: Database,
        providers: Mapping[str, Provider],
        asker: Asker,
        pace: Pace,
        *,
        lease: float,
        give_up: float,
        moved: Callable[[list[Outcome]], None],
        wake: asyncio.Event,
        in_flight: int = 32,
        vault: Vault = NO_SECRETS,
    ) -> None:
        self._db = db
        self._providers = providers
        self._asker = asker
        self._pace = pace
        self._lease = lease
        self._give_up = give_up
        self._moved = moved
        self._vault = vault
        self.wake = wake
        self.slots = Slots(in_flight, wake)

    async def step(self) -> bool:
        """Claims as many due jobs as there are free places and starts asking after them. False: a
        place that becomes free wakes the loop. Raises DatabaseAway."""
        if not self.slots.free:
            return False
        for due in await agenda.claim_asks(
            self._db, limit=self.slots.free, lease_seconds=self._lease
        ):
            self.slots.start(self._settle(due))
        return False

    async def finish(self) -> None:
        """Ends the polls under way; their leases run out, and another look follows."""
        await self.slots.cancel()

    async def _settle(self, due: Due) -> None:
        provider = self._providers.get(due.provider)
        if due.task == "give_up" or due.attempt.provider_id is None:
            await self._expire(due, _unconfirmed_error(due))
        elif provider is None:
            note = f"provider {due.provider} has no key: not asked"
            await self._finish(due, Report(state=None, note=note), UNKNOWN_PROVIDER_SECONDS, None)
        else:
            await self._ask(provider, due)

    async def _ask(self, provider: Provider, due: Due) -> None:
        began = time.monotonic()
        report = await self._poll(provider, due)
        took = round((time.monotonic() - began) * 1000)
        pause = self._pause(provider, due)
        if report.state not in ENDED and self._too_late(due, report):
            await self._expire(due, _expired_error(report), late=provider.late_seconds)
        elif report.state is not None and report.state is not due.state:
            move = reported(
                report,
                provider,
                job_id=due.attempt.job_id,
                attempt=due.attempt.number,
                source="poll",
                due_in=pause,
            )
            self._moved(await advance(self._db, [move]))
        over = report.state in ENDED or _late_window_over(due, provider)
        await self._finish(due, report, None if over else pause, took)

    async def _poll(self, provider: Provider, due: Due) -> Report:
        """The provider's word; a Report without a state where it could not be had."""
        conversation = provider.poll(due.attempt)
        try:
            request = next(conversation)
            while True:
                reply: Reply = await self._asker.ask(
                    request,
                    origin=provider.origin,
                    credentials=provider.credentials(),
                    total=min(ASK_SECONDS, self._lease / 3),
                )
                said = self._vault.cleared(provider.name, reply.content, due.secrets)
                request = conversation.send(replace(reply, content=said))
        except StopIteration as end:
            report: Report = end.value
            return report
        except CallboardError as fault:
            return Report(state=None, note=f"no answer: {fault}")

    def _pause(self, provider: Provider, due: Due) -> float:
        if due.state is State.EXPIRED:
            return sparse_look()
        return self._pace.next_look(provider, due.attempt.model, tries=due.tries)

    def _too_late(self, due: Due, report: Report) -> bool:
        """Whether to give the job up: past the deadline where the provider does not know it, past
        the time to give up whatever it says."""
        if due.age is None or due.state is State.EXPIRED:
            return False
        return due.age > self._give_up or (report.gone and due.age > due.deadline_seconds)

    async def _expire(self, due: Due, error: JobError, *, late: float | None = None) -> None:
        """Ends the job without a verdict. With `late` seconds left in which the provider may still
        say something it stays on the agenda, sparsely asked after."""
        move = Move(
            job_id=due.attempt.job_id,
            attempt=due.attempt.number,
            source="sweep",
            event_id=new_event_id(due.attempt.job_id),
            was=due.state,
            expected=due.version,
            now=State.EXPIRED,
            error=error,
            task="poll",
            due_in=sparse_look() if late else None,
        )
        self._moved(await advance(self._db, [move]))

    async def _finish(
        self, due: Due, report: Report, again: float | None, took: int | None
    ) -> None:
        await agenda.finish_ask(
            self._db,
            due,
            again_in=again,
            poll_id=new_id(bucket_of(due.attempt.job_id)),
            duration_ms=took or 0,
            said=report.state,
            note=report.note,
            progress=report.progress,
        )


def _late_window_over(due: Due, provider: Provider) -> bool:
    return due.ended_for is not None and due.ended_for > provider.late_seconds


def _unconfirmed_error(due: Due) -> JobError:
    return JobError(
        code=ErrorCode.SUBMISSION_UNCONFIRMED,
        message="sent, and neither a reply nor a callback ever came",
        retryable=False,
        charged=Charged.UNKNOWN,
    )


def _expired_error(report: Report) -> JobError:
    return JobError(
        code=ErrorCode.EXPIRED,
        message=f"no verdict in time; the last word: {report.note or report.state}",
        retryable=True,
        charged=Charged.UNKNOWN,
    )
