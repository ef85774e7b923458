"""Calls at the providers' doors, for the tests of what becomes of them."""

import asyncio
import json
import time
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import app_client
import signing
from app_client import fal_provider, inbox, keys_of
from scene import SECRETS

from service.call import Call
from service.catalog import Catalog
from service.database import Database
from service.diagnosis import Diagnosis
from service.encryption import AtRest
from service.moves import Moves
from service.providers import Provider
from service.receive import Receiver
from service.signature import Keys
from service.store import callbacks
from service.store.callbacks import StoredCall
from service.tokens import Tokens
from service.vault import Vault
from service.waiting import Waiting

TOKENS = Tokens(SECRETS)
SHARED = "a-shared-token-of-fal"
OLDER = "an-older-shared-token"
VAULT = Vault(AtRest(SECRETS), Catalog.load().secret_fields())
__all__ = ["fal_provider", "inbox", "keys_of"]


def relay_provider(trust: str = "hint") -> Provider:
    """A relay whose callbacks are worth so much."""
    return app_client.relay_provider(relay_trust=trust)


def sharing(**settings: Any) -> Provider:
    """fal with two shared tokens."""
    return fal_provider(fal_webhook_token=f"{SHARED}, {OLDER}", **settings)


def receiver(
    db: Database,
    *providers: Provider,
    keys: Mapping[str, Keys] | None = None,
    diagnosis: Diagnosis | None = None,
    moves: Moves | None = None,
    **more: Any,
) -> Receiver:
    """The door of these providers (fal where none is given)."""
    by_name = {one.name: one for one in providers or (fal_provider(),)}
    keys = keys_of(by_name) if keys is None else keys
    moves = moves or Moves(db)
    return Receiver(db, by_name, TOKENS, keys, moves, VAULT, diagnosis=diagnosis, **more)


def waiting(db: Database, *providers: Provider, keys: Mapping[str, Keys] | None = None) -> Waiting:
    """What matches calls with jobs that come after them."""
    by_name = {one.name: one for one in providers}
    return Waiting(db, inbox(db, by_name, keys), wake=asyncio.Event())


def token(job: UUID, *, provider: str = "fal", **more: Any) -> str:
    """A job's own token; `lasts` seconds, of `attempt`, signed by `tokens`."""
    tokens: Tokens = more.pop("tokens", TOKENS)
    return tokens.make(
        provider=provider,
        job_id=job,
        attempt=more.pop("attempt", 1),
        expires_at=time.time() + more.pop("lasts", 60.0),
        **more,
    )


def call(
    given: str,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    *,
    provider: str = "fal",
    shared: bool = False,
    address: str = "192.0.2.7",
) -> Call:
    """A call with that token; signed as fal signs where no headers are given."""
    body = signing.success() if body is None else body
    return Call(
        provider=provider,
        token=given,
        headers=signing.headers(body) if headers is None else headers,
        body=body,
        address=address,
        shared=shared,
    )


def task(task_id: str = "req-1", status: str = "SUCCESS") -> bytes:
    """A relay's call."""
    outputs = {"output": f"https://media.example/{task_id}.mp4"}
    return json.dumps({"task_id": task_id, "status": status, "data": outputs}).encode()


async def kept(db: Database) -> list[StoredCall]:
    """Every call that is stored, oldest first."""
    rows = await db.pool.fetch("select * from callbacks order by received_at, id")
    return [callbacks.stored(row) for row in rows]


async def told(db: Database) -> list[tuple[str, str | None]]:
    """The verdict and reason of every call that is stored, oldest first."""
    return [(one.verdict, one.reason) for one in await kept(db)]
