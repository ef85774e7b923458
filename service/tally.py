"""What this process has done since it began, counted: plain numbers, so that counting costs nothing
where it happens ten thousand times a second."""

from collections import Counter
from collections.abc import Sequence
from enum import StrEnum

from service.job import JobError, State
from service.providers import Accepted, Refused, Report, Unclear
from service.store.advance import Outcome


class Submitted(StrEnum):
    """How a submit went."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    POSTPONED = "postponed"  # refused for now, and tried again
    UNCLEAR = "unclear"
    NOT_SENT = "not_sent"


class Tally:
    """Counts by what happened. `outcomes` is keyed by who said it, the provider whose call it was
    (None: no call), the call's verdict and reason, and the state that the job moved to (None: it
    did not move)."""

    def __init__(self) -> None:
        self.outcomes: Counter[tuple[str | None, str | None, str, str | None, State | None]] = (
            Counter()
        )
        self.submits: Counter[tuple[str, Submitted]] = Counter()
        self.polls: Counter[tuple[str, str]] = Counter()
        self.tries: Counter[str] = Counter()

    def moved(self, outcomes: Sequence[Outcome]) -> None:
        """These have been stored."""
        counted = self.outcomes
        for one in outcomes:
            source = None if one.move is None else one.move.source
            call = None if one.move is None else one.move.call
            called = None if call is None else call.provider
            now = one.state if one.moved else None
            counted[source, called, one.verdict, one.reason, now] += 1

    def submitted(self, provider: str, verdict: Accepted | Refused | Unclear | JobError) -> None:
        """A submit has ended; a JobError is one that did not get there."""
        if isinstance(verdict, Refused):
            how = Submitted.POSTPONED if verdict.waits else Submitted.REFUSED
        elif isinstance(verdict, Accepted):
            how = Submitted.ACCEPTED
        else:
            how = Submitted.UNCLEAR if isinstance(verdict, Unclear) else Submitted.NOT_SENT
        self.submits[provider, how] += 1

    def polled(self, provider: str, report: Report, *, reached: bool, denied: bool) -> None:
        """A poll has ended: with the state that it told, or with none."""
        if report.state is not None:
            result = report.state.value
        elif not reached:
            result = "denied" if denied else "no_answer"
        else:
            result = "gone" if report.gone else "no_news"
        self.polls[provider, result] += 1

    def tried(self, state: str) -> None:
        """A try of a delivery has ended, and left it in this state."""
        self.tries["retried" if state == "pending" else state] += 1
