"""Tells subscribers: signed as Standard Webhooks, and again by the schedule until acknowledged."""

import asyncio
import math
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from service import document, ids, jsontext
from service.database import Database
from service.encryption import AtRest
from service.gather import Gather
from service.loop import jittered, until_stored
from service.places import Places
from service.pooled import Delivered, Deliverer
from service.store import deliveries
from service.store.deliveries import Delivery, Finished
from service.tally import Tally
from service.webhook import Message, Sender, Target

# The pause before each further try, in seconds; the first try is made at once (contract §6).
SCHEDULE = (5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400)
LEASE_SECONDS = 30.0  # longer than a try, shorter than the minute in which a cut one is made again
LONGEST_RETRY_AFTER_SECONDS = 86400.0
PATIENCE_SECONDS = 5 * 86400.0  # then an endpoint that only fails is disabled
IN_FLIGHT, IN_FLIGHT_EACH = 256, 32
MOST_BY_KEY = 32  # jobs; of more the look for all finds more at once
LOOK_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Next:
    """What follows a try: the delivery's state, and in how many seconds the next one is due.
    `gone`: the endpoint wants no more."""

    state: str
    again_in: float = 0.0
    gone: bool = False


SUCCEEDED = Next(state="succeeded")


def after(delivered: Delivered, tries: int) -> Next:
    """What follows the answer to try number `tries` (from 1)."""
    status = delivered.status
    if delivered.error is None and status is not None and status < 300:
        return SUCCEEDED
    gone = status == 410
    if tries > len(SCHEDULE):
        return Next(state="failed", gone=gone)
    pause = jittered(SCHEDULE[tries - 1])
    if status in (429, 503) and delivered.retry_after is not None:
        pause = max(pause, min(LONGEST_RETRY_AFTER_SECONDS, delivered.retry_after))
    return Next(state="pending", again_in=pause, gone=gone)


class Delivering:
    """Claims due deliveries and sends them, `in_flight` at once, to one endpoint `each` of them.
    What is staged in this process, for the jobs in `staged`, goes before the look for all."""

    def __init__(
        self,
        db: Database,
        at_rest: AtRest,
        client: Deliverer,
        *,
        wake: asyncio.Event,
        staged: deque[UUID] | None = None,
        in_flight: int = IN_FLIGHT,
        each: int = IN_FLIGHT_EACH,
        tally: Tally | None = None,
    ) -> None:
        self._db = db
        self._sender = Sender(at_rest, client)
        self._tally = tally or Tally()
        self._tries: Gather[Finished, str | None] = Gather(self._record, key=lambda _: None)
        self._staged = staged if staged is not None else deque()
        self._looked_at = -math.inf
        self.wake = wake
        self.places = Places(in_flight, each, wake)

    async def step(self) -> bool:
        """Claims as many deliveries as there are places for and starts sending them. True: there
        may be more due, and places for them by now; later such places wake the loop. Raises
        DatabaseAway."""
        if self._staged and await self._take_staged():
            return False
        self._looked_at = time.monotonic()
        self._staged.clear()
        room = self.places.room()
        if not room.free:
            return self.places.claimed([], room)
        claimed = await deliveries.claim(
            self._db,
            limit=room.free,
            lease_seconds=LEASE_SECONDS,
            each=room.each,
            failing_each=room.failing_each,
            failing=room.failing,
            taken=room.taken,
        )
        self._start(claimed)
        return self.places.claimed([delivery.endpoint for delivery in claimed], room)

    async def _take_staged(self) -> bool:
        """Sends what was staged here just now, which is found by key. False: there is reason to
        look for all that is due."""
        job_ids = set(self._staged)
        room = self.places.room()
        if len(job_ids) > min(MOST_BY_KEY, room.free):
            return False
        self._staged.clear()
        claimed = await deliveries.claim_staged(
            self._db,
            list(job_ids),
            limit=room.free,
            lease_seconds=LEASE_SECONDS,
            each=room.each,
            taken=room.taken,
        )
        self._start(claimed)
        all_taken = {delivery.job_id for delivery in claimed} == job_ids
        recent = time.monotonic() < self._looked_at + LOOK_SECONDS
        return all_taken and recent and not self.places.wanted

    def _start(self, claimed: Sequence[Delivery]) -> None:
        # All are written before the first is sent: each in between the POSTs of the others took
        # four times as long, with the processor's caches full of something else.
        for delivery, message in [(one, self._written(one)) for one in claimed]:
            work = self._settle(delivery, message)
            self.places.start(delivery.endpoint, work, failing=delivery.failing)

    def _written(self, delivery: Delivery) -> Message | Exception | None:
        """What is to be sent; None where the subscription is gone. That one cannot be written
        must not keep the others: it is its own task's fault, then."""
        if delivery.url is None or delivery.secret is None:
            return None
        target = Target(
            url=delivery.url,
            secret=delivery.secret,
            former=delivery.former_secrets,
            headers=delivery.headers,
        )
        try:
            content = jsontext.joined(document.of_event(delivery.event))
            return self._sender.signed(target, ids.show("evt", delivery.event_id), content)
        except Exception as fault:
            return fault

    async def finish(self) -> None:
        """Ends the tries under way: each is made again when its lease has run out. Those that are
        being recorded then are recorded."""
        await self.places.cancel()
        await self._tries.drain()

    async def _settle(self, delivery: Delivery, message: Message | Exception | None) -> None:
        if isinstance(message, Exception):
            raise message
        if message is None:
            gone = Delivered(error="the subscription was deleted", duration=0.0)
            await self._store(delivery, gone, Next(state="failed"))
            return
        delivered = await self._sender.send(message)
        tries = delivery.tries - delivery.past_tries + 1
        await self._store(delivery, delivered, after(delivered, tries))

    async def _store(self, delivery: Delivery, delivered: Delivered, then: Next) -> None:
        tried = Finished(
            delivery=delivery,
            state=then.state,
            status=delivered.status,
            duration_ms=round(delivered.duration * 1000),
            error=delivered.error,
            response=delivered.body,
            again_in=then.again_in,
            gone=then.gone,
        )
        state = await until_stored(lambda: self._tries.put(tried))
        self._tally.tried(state or then.state)

    async def _record(self, tries: Sequence[Finished]) -> list[str | None]:
        return await deliveries.finish(self._db, tries, patience_seconds=PATIENCE_SECONDS)
