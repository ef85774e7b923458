"""A provider's callback: token, signature, report, one gathered write. Nothing else waits on it.

The answer is given after its own commit; what the callback means to the job is decided by the
statement that writes it.
"""

import hmac
import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from uuid import UUID

from service import jsontext
from service.bound import Bound, Limit
from service.call import ANSWERS, ANSWERS_FOR, AWAY, REFUSED, Answer, Call
from service.database import Database
from service.diagnosis import Diagnosis, Refusal, without_token
from service.echo import Echo
from service.errors import (
    CallbackRefused,
    CallbackUnreadable,
    DatabaseAway,
    KeysAway,
    StatementRefused,
    TokenRefused,
)
from service.gather import Full, Gather
from service.ids import bucket_of, new_id
from service.inbox import Inbox, waiting
from service.job import OPEN
from service.moves import MOST_WAITING, Moves
from service.providers import Provider, Report, Signed, Trust
from service.signature import Freshness, Keys, verify_many
from service.store import jobs
from service.store.advance import InboundCall, Move, Outcome, reported
from service.tokens import CallbackToken, Tokens
from service.vault import NO_SECRETS, Vault

log = logging.getLogger(__name__)

NEXT_LOOK_SECONDS = 60.0
RETRY_AFTER_SECONDS = 5
# Calls with a good token that moved no job, of each job and of all of them, in an hour: a provider
# tries some ten times. What comes after them is applied, and only counted.
REPEATS = (Limit(rows=100, bytes=4 * 1024 * 1024), Limit(rows=20_000, bytes=64 * 1024 * 1024))

Checked = Freshness | CallbackRefused | KeysAway


class Receiver:
    """Takes the callbacks of the configured providers, whose `moves` are written together with what
    else moves jobs here. `echo` answers the self-check's probes, which nobody keeps."""

    def __init__(
        self,
        db: Database,
        providers: Mapping[str, Provider],
        tokens: Tokens,
        keys: Mapping[str, Keys],
        moves: Moves,
        vault: Vault = NO_SECRETS,
        echo: Echo | None = None,
        *,
        diagnosis: Diagnosis | None = None,
        repeats: Bound | None = None,
    ) -> None:
        self._db = db
        self._providers = providers
        self._tokens = tokens
        self._vault = vault
        self._echo = echo
        self._diagnosis = diagnosis or Diagnosis(db, vault)
        self._repeats = repeats or Bound(*REPEATS)
        self.alarm = self._diagnosis.alarm
        self._inbox = Inbox(db, providers, keys, moves.moved, vault)
        self._moves = moves
        self._checks = {
            name: self._checker(providers[name], provider_keys)
            for name, provider_keys in keys.items()
        }

    def queues(self) -> dict[str, int]:
        """How many calls wait to be written, and how many to be checked."""
        checks = sum(check.waiting for check in self._checks.values())
        return {"callbacks": self._moves.waiting, "signatures": checks}

    async def receive(self, call: Call) -> Answer:
        """Stores a callback and applies it. Never raises for what a provider or anyone else sent;
        503 where it could not be stored, or the keys to check it could not be fetched."""
        provider = self._providers.get(call.provider)
        if provider is None:
            return REFUSED
        token: CallbackToken | None = None
        try:
            if not _is_shared(provider, call):
                token = self._tokens.read(call.token, provider=call.provider, now=time.time())
            signed = provider.callbacks is Trust.SIGNED
            reason = await self._doubt(provider, call) if signed else None
            report = provider.read_callback(call.headers, call.body)
            token = token or await self._named(provider, report)
            clear = await self._cleared(call, token)
            if clear is not call:  # its signature was over what was said, secret and all
                call, report = clear, provider.read_callback(clear.headers, clear.body)
            if token is not None:
                return await self._apply(provider, call, token, report, reason)
        except TokenRefused as fault:
            if token is None and (echo := self._echoed(call)) is not None:
                return Answer(status=200, word=f"probe {echo}")
            return await self._keep(call, token, verdict="refused", reason=fault.reason)
        except CallbackUnreadable as fault:
            return await self._keep(call, token, verdict="unreadable", reason=fault.reason)
        except KeysAway:
            return await self._keep(call, token, verdict="refused", reason="keys_away")
        except (DatabaseAway, Full):
            return AWAY
        except StatementRefused:
            log.exception("a callback could not be stored")
            return AWAY
        return await self._wait(provider, call, report.provider_id)

    async def refuse(self, call: Call, *, reason: str, status: int) -> Answer:
        """Keeps a call that was refused before it was read (too large, wrong type)."""
        if call.provider not in self._providers:
            return REFUSED
        token = None
        with suppress(TokenRefused):
            token = self._tokens.read(call.token, provider=call.provider, now=time.time())
        kept = await self._keep(call, token, verdict="unreadable", reason=reason)
        return kept if kept is AWAY else Answer(status=status)

    def _echoed(self, call: Call) -> str | None:
        """The answer to our own question whether callbacks get through; None: it is not ours."""
        if self._echo is None:
            return None
        return self._echo.answer(call.provider, call.token, call.body, now=time.time())

    async def _doubt(self, provider: Provider, call: Call) -> str | None:
        """Why a call whose signature holds is only a hint; None where it is worth what it says.
        Raises CallbackRefused, KeysAway and Full."""
        signed = provider.read_signature(call.headers, call.body)
        freshness = await self._checks[provider.name].put(signed)
        if not isinstance(freshness, Freshness):
            raise freshness
        return None if freshness is Freshness.FRESH else "signature_stale"

    async def _named(self, provider: Provider, report: Report) -> CallbackToken | None:
        """The job that the body of a call with a shared token names; None where no job has it."""
        found = await jobs.find_attempt(self._db, provider.name, report.provider_id or "")
        if found is None:
            return None
        job_id, attempt = found
        return CallbackToken(
            provider=provider.name, job_id=job_id, attempt=attempt, expires_at=0, sealed=True
        )

    async def _cleared(self, call: Call, token: CallbackToken | None) -> Call:
        """The call without what its job holds in secret; itself where it repeats nothing of it.
        Raises DatabaseAway."""
        stored = None
        if token is not None and token.sealed:
            stored = await jobs.secrets_of(self._db, token.job_id)
        body = self._vault.cleared(call.provider, without_token(call.body, call.token), stored)
        return call if body is call.body else replace(call, body=body)

    def _checker(self, provider: Provider, keys: Keys) -> Gather[Signed, Checked]:
        async def check(batch: Sequence[Signed]) -> Sequence[Checked]:
            return await verify_many(keys, batch, now=time.time(), user_id=provider.user_id)

        return Gather(check, key=lambda _: None, waiting=MOST_WAITING)

    async def _apply(
        self,
        provider: Provider,
        call: Call,
        token: CallbackToken,
        report: Report,
        reason: str | None,
    ) -> Answer:
        if provider.callbacks is Trust.HINT or reason is not None:
            report = Report(state=None, provider_id=report.provider_id, ask=True)
        spent = self._repeats.is_spent(token.job_id, len(call.body))
        move = reported(
            report,
            provider,
            job_id=token.job_id,
            attempt=token.attempt,
            source="callback",
            due_in=NEXT_LOOK_SECONDS,
            call=None if spent else _kept(call, new_id(bucket_of(token.job_id)), reason=reason),
        )
        outcome = await self._moves.put(move)
        if not outcome.moved:
            self._count(token, call, kept=not spent)
        elif spent:  # what moved a job is kept, whatever came before it
            kept = _kept(call, new_id(bucket_of(token.job_id)), verdict=outcome.verdict)
            await self._store(replace(move, now=None, event_id=kept.id, call=kept))
        if outcome.verdict == "refused" and outcome.state in OPEN:
            why = outcome.reason or ""
            self.alarm.sound(provider.name, token.job_id, verdict="refused", reason=why)
        return ANSWERS[outcome.verdict]

    def _count(self, token: CallbackToken, call: Call, *, kept: bool) -> None:
        if kept:
            self._repeats.admits(token.job_id, len(call.body))
        else:
            self.alarm.drop(call.provider, "repeated")

    async def _keep(
        self, call: Call, token: CallbackToken | None, *, verdict: str, reason: str
    ) -> Answer:
        """Keeps a call that is not taken, with why, unless there are too many such."""
        provider = self._providers[call.provider]
        refusal = Refusal(
            provider=provider,
            given=call.token,
            token=token,
            trusted=token is not None or _is_shared(provider, call),
            headers=call.headers,
            body=call.body,
            address=call.address,
            verdict=verdict,
            reason=reason,
        )
        try:
            move = await self._diagnosis.move(refusal)
        except DatabaseAway:
            return AWAY
        if move is not None and await self._store(move) is None:
            return AWAY
        return ANSWERS_FOR.get(reason) or ANSWERS[verdict]

    async def _wait(self, provider: Provider, call: Call, provider_id: str | None) -> Answer:
        """Keeps a call for whose id there is no job yet, and looks again: one may have come before
        this was stored, and its submitter did not see it then."""
        kept = _kept(call, new_id(), verdict="ignored", reason="unknown_job")
        if await self._store(waiting(kept, provider_id)) is None:
            return AWAY
        return ANSWERS[await self._inbox.verdict_now(provider, kept.id, provider_id)]

    async def _store(self, move: Move) -> Outcome | None:
        """What became of the move once it is committed; None where it could not be stored."""
        try:
            return await self._moves.put(move)
        except (DatabaseAway, Full):
            return None
        except StatementRefused:
            log.exception("a callback could not be stored")
            return None


def _is_shared(provider: Provider, call: Call) -> bool:
    """Whether the token is one of the provider's shared ones, each compared in constant time."""
    if not call.shared:
        return False
    given = call.token.encode()
    return any(hmac.compare_digest(given, one.encode()) for one in provider.shared_tokens)


def _kept(
    call: Call, callback_id: UUID, *, verdict: str | None = None, reason: str | None = None
) -> InboundCall:
    return InboundCall(
        id=callback_id,
        provider=call.provider,
        address=call.address,
        headers=jsontext.dumps(call.headers),
        body=call.body,
        verdict=verdict,
        reason=reason,
    )
