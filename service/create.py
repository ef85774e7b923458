"""Takes an app's request for a render: checked, priced, and stored once per Idempotency-Key."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any
from uuid import UUID

from service import ids
from service.catalog import Catalog, Model
from service.catalog.check import Checked, check, refusal
from service.database import Database, Row
from service.errors import (
    DatabaseAway,
    FieldFault,
    InvalidRequest,
    TargetForbidden,
    Unavailable,
)
from service.guard import Guard
from service.job import ErrorCode
from service.providers import Provider
from service.store import jobs
from service.store.jobs import NewJob
from service.vault import Vault

STORE_WITHIN_SECONDS = 10.0
DEFAULT_DEADLINE_SECONDS = 7200.0
HOOK_CHARACTERS = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What an app asks for, its types already checked. `fingerprint` is of the whole request."""

    app_id: UUID
    model: str
    input: Mapping[str, Any]
    metadata: Mapping[str, Any]
    params: Mapping[str, Any] = field(default_factory=dict)
    provider: str | None = None
    reference: str | None = None
    notify_hook: str | None = None
    deadline_seconds: float | None = None
    unlisted: bool = False
    idempotency_key: str | None = None
    fingerprint: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Created:
    """The job that a request made. `row` is the job as `jobs.get` has it, where it was made just
    now; `replayed`: it was there before, under the same Idempotency-Key."""

    id: UUID
    replayed: bool
    row: Row | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Creator:
    """Makes jobs. `deadline` overrides the models' own (CALLBOARD_DEADLINE_SECONDS), in seconds."""

    db: Database
    providers: Mapping[str, Provider]
    catalog: Catalog
    guard: Guard
    vault: Vault
    deadline: float | None

    async def create(self, wanted: Wanted) -> Created:
        """Makes the job, or finds the one that was made before under the same key.

        Raises InvalidRequest, which names the field; Unavailable with `charged: unknown` where
        the database did not say in time whether the job is stored.
        """
        try:
            job = self.prepare(wanted)
        except InvalidRequest:
            earlier = await self._earlier(wanted)
            if earlier is None:
                raise
            return Created(id=earlier, replayed=True)
        deadline = time.monotonic() + STORE_WITHIN_SECONDS
        while True:
            try:
                return await self._store(job)
            except DatabaseAway:
                if time.monotonic() > deadline:
                    raise _unknown(wanted) from None
            await asyncio.sleep(0.1)

    def prepare(self, wanted: Wanted) -> NewJob:
        """The job as it would be stored. Raises InvalidRequest."""
        provider, model = self._route(wanted)
        given, hook, warnings = self._hooked(provider, wanted)
        checked = self._checked(provider, model, given, wanted)
        shown, secrets = self.vault.sealed(provider.name, checked.input)
        deadline = model.deadline_seconds if model is not None else None
        key = wanted.idempotency_key
        bucket = None if key is None else ids.bucket_for(wanted.app_id, key)
        return NewJob(
            id=ids.new_id(bucket),
            app_id=wanted.app_id,
            provider=provider.name,
            model=wanted.model,
            input=shown,
            deadline_seconds=wanted.deadline_seconds
            or self.deadline
            or deadline
            or DEFAULT_DEADLINE_SECONDS,
            metadata=wanted.metadata,
            reference=wanted.reference,
            notify_hook=hook,
            warnings=(*checked.warnings, *warnings),
            currency=checked.currency,
            estimate=checked.estimate,
            upper_bound=checked.upper_bound,
            secrets=secrets,
            idempotency_key=key,
            fingerprint=wanted.fingerprint if key is not None else None,
        )

    async def _store(self, job: NewJob) -> Created:
        row = await jobs.create(self.db, job)
        # Without a row and without a key an earlier try of ours took effect after all.
        if row is not None or job.idempotency_key is None:
            return Created(id=job.id, replayed=False, row=row)
        found = await jobs.find_idempotent(self.db, job.app_id, job.idempotency_key)
        if found is None:
            raise DatabaseAway("the key was taken and is gone")
        job_id = _same(found, job.fingerprint)
        return Created(id=job_id, replayed=job_id != job.id)

    async def _earlier(self, wanted: Wanted) -> UUID | None:
        """The job that this very request made before, when it could still be made; None: none."""
        if wanted.idempotency_key is None:
            return None
        found = await jobs.find_idempotent(self.db, wanted.app_id, wanted.idempotency_key)
        return None if found is None else _same(found, wanted.fingerprint)

    def _hooked(
        self, provider: Provider, wanted: Wanted
    ) -> tuple[Mapping[str, Any], str | None, tuple[str, ...]]:
        """The input without a callback address of the provider's own, the job's own hook, which
        that address becomes where it has none, and what the app should know of it."""
        name = self.catalog.facts(provider.name).hook_field
        given, hook, where = wanted.input, wanted.notify_hook, "notify_hook"
        warnings: tuple[str, ...] = ()
        if name is not None and name in given:
            inner = given[name]
            given = {key: value for key, value in given.items() if key != name}
            if not isinstance(inner, str) or len(inner) > HOOK_CHARACTERS:
                problem = f"must be an address of at most {HOOK_CHARACTERS} characters"
                raise refusal([FieldFault(f"input.{name}", problem)])
            if hook is None:
                hook, where = inner, f"input.{name}"
            elif hook != inner:
                warnings = (f"input.{name} is not told: the job has a notify_hook of its own",)
        if hook is not None:
            try:
                self.guard.check_url(hook)
            except TargetForbidden as fault:
                raise _invalid(where, str(fault)) from fault
        return given, hook, warnings

    def _checked(
        self, provider: Provider, model: Model | None, given: Mapping[str, Any], wanted: Wanted
    ) -> Checked:
        """What is sent, and what it will cost; of a model that nobody knows, nothing is."""
        facts = self.catalog.facts(provider.name)
        if facts.model_field is not None and facts.model_field in given:
            problem = "the job's `model` goes there: say it in that alone"
            raise refusal([FieldFault(f"input.{facts.model_field}", problem)])
        if model is not None:
            return check(model, given, wanted.params, unlisted=wanted.unlisted)
        if wanted.params:
            problem = "nobody knows how a model spells them that the catalog does not list"
            raise _invalid("params", f"{problem}; say it in input")
        return Checked(input=dict(given), currency=facts.currency)

    def _route(self, wanted: Wanted) -> tuple[Provider, Model | None]:
        """The provider that renders it, and the model as the catalog has it."""
        if wanted.provider is not None and wanted.provider not in self.providers:
            raise _invalid(
                "provider",
                f"{wanted.provider!r} is not configured here",
                code="provider_not_configured",
            )
        listed = self.catalog.find(wanted.model, wanted.provider)
        names = sorted({model.provider for model in listed})
        if not listed:
            if not wanted.unlisted:
                raise _invalid(
                    "model",
                    f"{wanted.model!r} is not in the catalog;"
                    ' "unlisted": true tries it nevertheless',
                    code=ErrorCode.UNSUPPORTED_MODEL,
                )
            names = [wanted.provider] if wanted.provider else sorted(self.providers)
        usable = [name for name in names if name in self.providers]
        if not usable:
            raise _invalid(
                "model",
                f"no configured provider renders this: {', '.join(names) or 'none'} has no key",
                code="provider_not_configured",
            )
        if len(usable) > 1:
            raise _invalid("provider", f"say which one: {', '.join(usable)}")
        model = next((model for model in listed if model.provider == usable[0]), None)
        return self.providers[usable[0]], model


def fingerprint(canonical: str) -> bytes:
    """What an Idempotency-Key is held to: the parsed request, not its spelling."""
    return sha256(canonical.encode("utf-8", "surrogatepass")).digest()


def _same(found: tuple[UUID, bytes], fingerprint: bytes | None) -> UUID:
    """The job found under a key, which must have come with the same request."""
    job_id, earlier = found
    if earlier != fingerprint:
        raise InvalidRequest(
            "this Idempotency-Key came with another body before: use a new key for a new job",
            code="idempotency_conflict",
        )
    return job_id


def _invalid(field: str, message: str, *, code: str = "invalid_request") -> InvalidRequest:
    return InvalidRequest(f"{field}: {message}", code=code, fields=(FieldFault(field, message),))


def _unknown(wanted: Wanted) -> Unavailable:
    hint = (
        "send it again with the same Idempotency-Key"
        if wanted.idempotency_key is not None
        else "it had no Idempotency-Key: look for it before you send it again"
    )
    return Unavailable(
        f"the database did not say whether the job is stored; {hint}",
        code="unavailable",
        retryable=wanted.idempotency_key is not None,
        charged="unknown",
        retry_after=5,
    )
