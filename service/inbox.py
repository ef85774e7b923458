"""Stored calls, read again with today's code and put to their jobs: when a job comes after its
call, and at replay.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import IntEnum
from uuid import UUID

from service import jsontext
from service.database import Database
from service.errors import (
    CallbackRefused,
    CallbackUnreadable,
    DatabaseAway,
    KeysAway,
    StatementRefused,
)
from service.providers import Provider, Report, Trust
from service.signature import Freshness, Keys, verify
from service.store import callbacks, jobs
from service.store.advance import InboundCall, Move, Outcome, advance, new_event_id, reported
from service.store.callbacks import StoredCall
from service.vault import NO_SECRETS, Vault

log = logging.getLogger(__name__)

NEXT_LOOK_SECONDS = 60.0
# Reasons beside `refused` that are the token's fault; beside all else it was good.
TOKEN_FAULTS = frozenset(
    (
        *("no_token", "malformed", "truncated", "double_encoded"),
        *("unknown_secret", "expired", "other_provider"),
    )
)
TAKEN = frozenset({"accepted", "duplicate", "hint"})


class Worth(IntEnum):
    """What a stored call is worth today."""

    NUDGE = 1  # nobody can say who sent it: the provider is asked, and no word of it is believed
    HINT = 2  # the provider sent it, and is asked
    FULL = 3  # what it says is so


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What today's code makes of a stored call. `move` is None where nothing can come of it;
    `verdict` and `reason` then say why."""

    move: Move | None = None
    verdict: str = ""
    reason: str | None = None


class Inbox:
    """Reads stored calls of the configured providers; `moved` hears of what came of them."""

    def __init__(
        self,
        db: Database,
        providers: Mapping[str, Provider],
        keys: Mapping[str, Keys],
        moved: Callable[[Sequence[Outcome]], None],
        vault: Vault = NO_SECRETS,
    ) -> None:
        self._db = db
        self._keys = keys
        self._vault = vault
        self.providers = providers
        self.moved = moved

    async def settle(self, provider: Provider, provider_id: str) -> dict[UUID, Outcome]:
        """Puts the calls that wait for a job under this id to it, if there is one by now; what
        became of each, by its id. Each is applied once, whoever else is at it. Raises
        DatabaseAway."""
        target = await jobs.find_attempt(self._db, provider.name, provider_id)
        settled: dict[UUID, Outcome] = {}
        if target is None:
            return settled
        for call in await callbacks.waiting(self._db, provider.name, provider_id):
            try:
                reading = await self.read(provider, call, target)
                move = reading.move or _closing(call, target, reading)
                (settled[call.id],) = outcomes = await advance(self._db, [move])
                self.moved(outcomes)
            except KeysAway:
                log.warning("calls that came before their job wait for the keys to check them")
                break
            except StatementRefused:
                log.exception("a call that came before its job could not be applied")
        return settled

    async def verdict_now(
        self, provider: Provider, callback_id: UUID, provider_id: str | None
    ) -> str:
        """What becomes of a call that has just been kept waiting: `accepted`, `duplicate`, `hint`,
        or `ignored` where it still waits, or somebody else has seen to it."""
        settled: Mapping[UUID, Outcome] = {}
        if provider_id is not None:
            with suppress(DatabaseAway):  # it is stored, and found again within a minute
                settled = await self.settle(provider, provider_id)
        own = settled.get(callback_id)
        return own.verdict if own and own.verdict in TAKEN else "ignored"

    async def read(
        self, provider: Provider, call: StoredCall, target: tuple[UUID, int] | None = None
    ) -> Reading:
        """What the stored bytes mean today, to the attempt `target` where that is known. The move
        in it keeps the call no second time; where it waited for its job, it has it from then on.
        Raises KeysAway, DatabaseAway."""
        report, fault = _report(provider, call)
        if report is None and call.whole:
            verdict = "refused" if fault == "request_id_mismatch" else "unreadable"
            return Reading(verdict=verdict, reason=fault)
        worth, reason = await self._worth(provider, call)
        target = target or await self._target(call, report)
        if target is None:
            return Reading(verdict="ignored", reason="unknown_job")
        clear = await self._cleared(call, target)
        if clear is not call:  # its signature was over what was said, secret and all
            call, (report, fault) = clear, _report(provider, clear)
        if worth is Worth.NUDGE or report is None:
            return Reading(move=_nudge(call, target, reason))
        if worth is Worth.HINT:
            report = Report(state=None, provider_id=report.provider_id, ask=True)
        move = reported(
            report,
            provider,
            job_id=target[0],
            attempt=target[1],
            source="callback",
            due_in=NEXT_LOOK_SECONDS,
            call=_again(call, reason=reason),
        )
        # The call's own id may have named a move already, and two events must not have one id.
        return Reading(move=replace(move, event_id=new_event_id(target[0])))

    async def _target(self, call: StoredCall, report: Report | None) -> tuple[UUID, int] | None:
        """The attempt that it is about: its token's where that was good, else the one that is known
        by the id in its body. What a bad token claims is nobody's word."""
        named = None if call.job_id is None else (call.job_id, call.attempt or 0)
        if named is not None and (_had_good_token(call) or report is None):
            return named  # without a report it can only be asked after
        provider_id = None if report is None else report.provider_id
        return await jobs.find_attempt(self._db, call.provider, provider_id or "")

    async def _cleared(self, call: StoredCall, target: tuple[UUID, int]) -> StoredCall:
        """The call without what its job holds in secret: nobody knew the job when it came."""
        secrets = await jobs.secrets_of(self._db, target[0])
        body = self._vault.cleared(call.provider, call.body, secrets)
        return call if body is call.body else replace(call, body=body)

    async def _worth(self, provider: Provider, call: StoredCall) -> tuple[Worth, str | None]:
        """What it is worth, and why no more than that."""
        if not call.whole:
            return Worth.NUDGE, call.reason
        if provider.callbacks is Trust.SIGNED:
            return await self._signed(provider, call)
        if not _had_good_token(call):
            return Worth.NUDGE, call.reason
        taken = call.verdict in ("accepted", "duplicate", "ignored", "unreadable")
        full = provider.callbacks is Trust.TOKEN and taken
        return (Worth.FULL if full else Worth.HINT), None

    async def _signed(self, provider: Provider, call: StoredCall) -> tuple[Worth, str | None]:
        """Its signature is checked as of when it came, with the keys of today."""
        try:
            freshness = await verify(
                self._keys[provider.name],
                provider.read_signature(call.headers, call.body),
                now=call.received_at.timestamp(),
                user_id=provider.user_id,
            )
        except CallbackRefused as refusal:
            return Worth.NUDGE, refusal.reason
        if freshness is Freshness.STALE:
            return Worth.HINT, "signature_stale"
        return Worth.FULL, None


def waiting(call: InboundCall, provider_id: str | None) -> Move:
    """What keeps a call that names its job by an id that no job has yet."""
    return Move(
        job_id=None,
        attempt=None,
        source="callback",
        event_id=call.id,
        provider_id=provider_id,
        call=call,
    )


def _report(provider: Provider, call: StoredCall) -> tuple[Report | None, str | None]:
    """What today's code reads, or why it cannot."""
    try:
        return provider.read_callback(call.headers, call.body), None
    except (CallbackUnreadable, CallbackRefused) as fault:
        return None, fault.reason


def _had_good_token(call: StoredCall) -> bool:
    return call.verdict != "refused" or call.reason not in TOKEN_FAULTS


def _nudge(call: StoredCall, target: tuple[UUID, int], reason: str | None) -> Move:
    """Has the provider asked; takes nothing from the call."""
    return Move(
        job_id=target[0],
        attempt=target[1],
        source="callback",
        event_id=new_event_id(target[0]),
        ask=True,
        due_in=0.0,
        call=_again(call, reason=reason),
    )


def _closing(call: StoredCall, target: tuple[UUID, int], reading: Reading) -> Move:
    """Ends the waiting of a call that today's code cannot read."""
    return Move(
        job_id=target[0],
        attempt=target[1],
        source="callback",
        event_id=new_event_id(target[0]),
        call=_again(call, verdict=reading.verdict, reason=reading.reason),
    )


def _again(call: StoredCall, *, reason: str | None, verdict: str | None = None) -> InboundCall:
    """The same call, under its own id."""
    return InboundCall(
        id=call.id,
        provider=call.provider,
        address=call.address,
        headers=jsontext.dumps(dict(call.headers)),
        body=call.body,
        verdict=verdict,
        reason=reason,
    )
