"""A Callboard's parts, put together from the settings: what stands before anything runs."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from service import providers
from service import settings as environment
from service.acting import acting, inquiry
from service.catalog import Catalog
from service.create import Creator
from service.database import Database
from service.deliver import Delivering
from service.echo import Echo
from service.encryption import AtRest
from service.forget import Forgetting
from service.guard import Guard
from service.health import Health
from service.inbox import Inbox
from service.loop import Worker, every
from service.metrics import Metrics
from service.moves import Moves
from service.opening import opened_database, patiently
from service.pace import Pace
from service.place import Placer
from service.pooled import Asker, Deliverer
from service.probe import Probe
from service.providers import Provider
from service.receive import Receiver
from service.recover import Recovering
from service.registration import Registration
from service.renewal import renew_secrets
from service.replay import Replayer
from service.resend import Resending
from service.settings import Settings
from service.signing_keys import signing_keys
from service.silence import Listener
from service.sockets import allow_many
from service.store import health
from service.submission import Timing
from service.submit import Submitter
from service.subscribe import Subscribing
from service.sweep import Patience, Sweeper
from service.tail import Tail
from service.tokens import Tokens
from service.turns import Limits, Turns
from service.vault import Vault
from service.waiting import Waiting
from service.wakes import Wakes
from service.web.app import App
from service.web.callbacks import Door

log = logging.getLogger(__name__)

FINISH_SECONDS = 90.0  # a POST under way and its reply, through a minute without a database
LOOK_SECONDS = 1.0
INBOX_SECONDS = 60.0
PLACES_APART_SECONDS, UNREAD_PLACES_APART_SECONDS = 0.2, 0.8  # the latter less than any look
START_PATIENCE_SECONDS = 60.0  # machines come up in any order


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """The parts of a running Callboard."""

    settings: Settings
    db: Database
    wakes: Wakes
    app: App
    receiver: Receiver
    submitter: Submitter
    sweeper: Sweeper
    delivering: Delivering
    placer: Placer
    recovering: Recovering
    tail: Tail
    probe: Probe
    listener: Listener
    waiting: Waiting
    forgetting: Forgetting

    @property
    def workers(self) -> tuple[Worker, ...]:
        """Who works in the background."""
        return (
            *(self.submitter, self.sweeper, self.delivering, self.placer, self.listener),
            *(self.waiting, self.forgetting, self.recovering),
        )

    def loops(self, stop: asyncio.Event) -> list[Coroutine[Any, Any, None]]:
        """The background work, until `stop` is set."""
        seldom = (self.waiting, self.forgetting)
        pauses = [INBOX_SECONDS if one in seldom else LOOK_SECONDS for one in self.workers]
        return [
            every(pause, worker.step, worker.wake, stop)
            for pause, worker in zip(pauses, self.workers, strict=True)
        ]

    async def finish(self, loops: Sequence[asyncio.Task[None]]) -> None:
        """Ends the `loops` (their `stop` is set) and lets what is under way end: POSTs until their
        replies are stored, the rest at once."""
        for worker in self.workers:
            worker.wake.set()
        await asyncio.gather(*loops)
        await asyncio.gather(self.sweeper.finish(), self.delivering.finish())
        try:
            async with asyncio.timeout(FINISH_SECONDS):
                await self.submitter.finish()
        except TimeoutError:
            log.critical("stopped with POSTs whose replies are not stored")


@contextlib.asynccontextmanager
async def built(settings: Settings, stop: asyncio.Event | None = None) -> AsyncIterator[Service]:
    """A Callboard ready to run. A database that does not answer is waited for, up to a minute or
    until `stop`. Raises SettingInvalid, DatabaseAway, DatabaseNewer."""
    configured, secrets = providers.configured(), environment.secrets(settings)
    at_rest, guard = AtRest(secrets), Guard(settings.callboard_allow_private_webhooks)
    _say(settings, configured)
    async with contextlib.AsyncExitStack() as stack:
        dsn = await stack.enter_async_context(
            opened_database(settings, patience=START_PATIENCE_SECONDS, stop=stop)
        )
        db = await Database.connect(dsn)
        stack.push_async_callback(db.close)
        await patiently(lambda: renew_secrets(db, at_rest, secrets), START_PATIENCE_SECONDS, stop)
        tail = Tail(db, most=allow_many() * 3 // 4)
        asker, client = Asker(), Deliverer(guard)
        for part in (asker, client, tail):
            stack.push_async_callback(part.aclose)
        wakes, tokens, catalog = Wakes(), Tokens(secrets), Catalog.load()
        vault, echo = Vault(at_rest, catalog.secret_fields()), Echo(secrets)
        await patiently(lambda: health.try_all(db), START_PATIENCE_SECONDS, stop)
        keys, moves = signing_keys(configured), Moves(db, wakes.moved)
        inbox = Inbox(db, configured, keys, wakes.moved, vault)
        waiting = Waiting(db, inbox, wake=asyncio.Event())
        submitter, sweeper = _senders(
            settings, db, configured, catalog, tokens, asker, wakes, vault, waiting, moves
        )
        receiver = Receiver(db, configured, tokens, keys, moves, vault, echo)
        probe = Probe(settings.callboard_public_url, configured, echo)
        state = _state(settings, db, at_rest, guard, client, wakes)
        state["creator"] = _creator(settings, db, configured, catalog, guard, vault)
        state["acting"] = acting(settings, db, configured, catalog, asker, vault, wakes)
        state["metrics"] = Metrics(db, wakes.tally, alarm=receiver.alarm, queues=receiver.queues)
        state |= {"probe": probe, "replayer": Replayer(db, inbox), "tail": tail}
        yield Service(
            settings=settings,
            db=db,
            wakes=wakes,
            app=App(Door(receiver), state),
            receiver=receiver,
            submitter=submitter,
            sweeper=sweeper,
            delivering=_delivering(db, at_rest, client, wakes),
            placer=_placer(db, wakes),
            waiting=waiting,
            forgetting=Forgetting(db, wake=asyncio.Event()),
            recovering=state["recovering"],
            tail=tail,
            probe=probe,
            listener=Listener(db, configured, wake=asyncio.Event()),
        )


def _placer(db: Database, wakes: Wakes) -> Placer:
    apart, unread = PLACES_APART_SECONDS, UNREAD_PLACES_APART_SECONDS
    return Placer(db, wake=wakes.place, apart=apart, unread=unread)


def _delivering(db: Database, at_rest: AtRest, client: Deliverer, wakes: Wakes) -> Delivering:
    return Delivering(
        db, at_rest, client, wake=wakes.deliver, staged=wakes.staged, tally=wakes.tally
    )


def _creator(
    settings: Settings,
    db: Database,
    configured: dict[str, Provider],
    catalog: Catalog,
    guard: Guard,
    vault: Vault,
) -> Creator:
    return Creator(
        db=db,
        providers=configured,
        catalog=catalog,
        guard=guard,
        vault=vault,
        deadline=settings.callboard_deadline_seconds,
    )


def _state(
    settings: Settings,
    db: Database,
    at_rest: AtRest,
    guard: Guard,
    client: Deliverer,
    wakes: Wakes,
) -> dict[str, Any]:
    """What requests work with, for the most part."""
    return {
        "db": db,
        "most_in_flight": settings.callboard_in_flight,
        "guard": guard,
        "at_rest": at_rest,
        "wakes": wakes,
        "subscribing": Subscribing(db, at_rest, guard, client),
        "recovering": Recovering(db, wake=wakes.recover, staged=wakes.deliver.set),
        "resending": Resending(db, wake=wakes.deliver),
    }


def _senders(
    settings: Settings,
    db: Database,
    configured: dict[str, Provider],
    catalog: Catalog,
    tokens: Tokens,
    asker: Asker,
    wakes: Wakes,
    vault: Vault,
    waiting: Waiting,
    moves: Moves,
) -> tuple[Submitter, Sweeper]:
    pace = Pace(catalog=catalog, first=settings.callboard_poll_seconds)
    seen = Health(db, wakes.tally)
    clocks = {
        "lease": settings.callboard_lease_seconds,
        "unconfirmed": settings.callboard_unconfirmed_seconds,
        "give_up": settings.callboard_give_up_seconds,
    }
    timing, patience = Timing(**clocks), Patience(**clocks)
    limits = Limits(per_second=settings.callboard_polls_per_second)
    submitter = Submitter(
        db,
        configured,
        Registration(tokens=tokens, timing=timing, public_url=settings.callboard_public_url),
        timing,
        pace,
        seen,
        wakes.moved,
        wake=wakes.submit,
        most=settings.callboard_in_flight,
        accepted=waiting.accepted,
        vault=vault,
    )
    sweeper = Sweeper(
        db,
        configured,
        inquiry(settings, asker, vault, wakes),
        pace,
        seen,
        Turns(db, seen, limits, lease=patience.lease, wake=wakes.ask),
        patience=patience,
        moves=moves,
        lost=submitter.doubt,
        wake=wakes.ask,
    )
    return submitter, sweeper


def _say(settings: Settings, configured: dict[str, Provider]) -> None:
    off = sorted(set(providers.names()) - set(configured))
    log.info("providers: %s; off, without a key: %s", *map(_listed, (sorted(configured), off)))
    if settings.callboard_public_url is None:
        log.warning("CALLBOARD_PUBLIC_URL is not set: no callback is registered, all is polled")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"
