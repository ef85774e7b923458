"""Who is woken by what a write did, so that nothing in this process waits for its next look."""

import asyncio
from collections import deque
from collections.abc import Sequence
from uuid import UUID

from service.job import State
from service.store.advance import Outcome
from service.tally import Tally

MOST_STAGED = 64  # of more than these the common look finds more at once


class Wakes:
    """One event for each kind of background work, and the count of what was done here. A wake is
    only a hint: all of them look by themselves too. `staged` has the jobs for which deliveries
    were staged here, and not yet looked for."""

    def __init__(self, tally: Tally | None = None) -> None:
        self.tally = tally or Tally()
        self.submit = asyncio.Event()
        self.ask = asyncio.Event()
        self.place = asyncio.Event()
        self.deliver = asyncio.Event()
        self.recover = asyncio.Event()
        self.kinds = {
            "submit": self.submit,
            "ask": self.ask,
            "place": self.place,
            "deliver": self.deliver,
            "recover": self.recover,
        }
        self.staged: deque[UUID] = deque(maxlen=MOST_STAGED)

    def moved(self, outcomes: Sequence[Outcome]) -> None:
        """Wakes whoever has something to do after these, and counts them."""
        self.tally.moved(outcomes)
        for outcome in outcomes:
            if outcome.moved:
                self.place.set()
            if outcome.moved and outcome.state is State.QUEUED:
                self.submit.set()
            if outcome.staged:
                if outcome.move is not None and outcome.move.job_id is not None:
                    self.staged.append(outcome.move.job_id)
                self.deliver.set()
            if outcome.verdict == "hint" or outcome.canceling:
                self.ask.set()
