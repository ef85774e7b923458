"""Tells subscribers: signed as Standard Webhooks, and again by the schedule until acknowledged."""

import asyncio
from dataclasses import dataclass

from service import document, ids, jsontext
from service.database import Database
from service.encryption import AtRest
from service.http import Delivered, Deliverer
from service.loop import jittered, until_stored
from service.slots import Slots
from service.store import deliveries
from service.store.deliveries import Delivery
from service.tally import Tally
from service.webhook import Sender, Target

# The pause before each further try, in seconds; the first try is made at once (contract §6).
SCHEDULE = (5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400)
LEASE_SECONDS = 30.0  # longer than a try, shorter than the minute in which a cut one is made again
LONGEST_RETRY_AFTER_SECONDS = 86400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Next:
    """What follows a try: the delivery's state, and in how many seconds the next one is due."""

    state: str
    again_in: float = 0.0
    disable: str | None = None


def after(delivered: Delivered, tries: int) -> Next:
    """What follows the answer to try number `tries` (from 1)."""
    status = delivered.status
    if delivered.error is None and delivered.status is not None and delivered.status < 300:
        return Next(state="succeeded")
    # 410 says that nobody wants these any more; the event is held with the endpoint.
    disable = "the endpoint answered 410 Gone" if status == 410 else None
    if tries > len(SCHEDULE):
        return Next(state="failed", disable=disable)
    pause = jittered(SCHEDULE[tries - 1])
    if status in (429, 503) and delivered.retry_after is not None:
        pause = max(pause, min(LONGEST_RETRY_AFTER_SECONDS, delivered.retry_after))
    return Next(state="pending", again_in=pause, disable=disable)


class Delivering:
    """Claims due deliveries and sends them, `in_flight` at once."""

    def __init__(
        self,
        db: Database,
        at_rest: AtRest,
        client: Deliverer,
        *,
        wake: asyncio.Event,
        in_flight: int = 64,
        tally: Tally | None = None,
    ) -> None:
        self._db = db
        self._sender = Sender(at_rest, client)
        self._tally = tally or Tally()
        self.wake = wake
        self.slots = Slots(in_flight, wake)

    async def step(self) -> bool:
        """Claims as many deliveries as there are free places and starts sending them. True: there
        may be more due, and places for them by now. Raises DatabaseAway."""
        free = self.slots.free
        if not free:
            return False
        claimed = await deliveries.claim(self._db, limit=free, lease_seconds=LEASE_SECONDS)
        for delivery in claimed:
            self.slots.start(self._settle(delivery))
        self.slots.sated = len(claimed) < free
        return not self.slots.sated and self.slots.free > 0

    async def finish(self) -> None:
        """Ends the tries under way: each is made again when its lease has run out."""
        await self.slots.cancel()

    async def _settle(self, delivery: Delivery) -> None:
        if delivery.url is None or delivery.secret is None:
            gone = Delivered(error="the subscription was deleted", duration=0.0)
            await self._record(delivery, gone, Next(state="failed"))
            return
        target = Target(
            url=delivery.url,
            secret=delivery.secret,
            former=delivery.former_secrets,
            headers=delivery.headers,
        )
        content = jsontext.dumps(document.of_event(delivery.event))
        event_id = ids.show("evt", delivery.event_id)
        delivered = await self._sender.send(target, event_id, content)
        tries = delivery.tries - delivery.past_tries + 1
        await self._record(delivery, delivered, after(delivered, tries))

    async def _record(self, delivery: Delivery, delivered: Delivered, then: Next) -> None:
        self._tally.tried(then.state)
        await until_stored(
            lambda: deliveries.finish(
                self._db,
                delivery,
                state=then.state,
                status=delivered.status,
                duration_ms=round(delivered.duration * 1000),
                error=delivered.error,
                response=delivered.body,
                again_in=then.again_in,
                disable=then.disable,
            )
        )
