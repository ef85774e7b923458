"""Apps and their keys, and what is encrypted at rest."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any
from uuid import UUID

from service.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Who asks: a key's app and what the key may do."""

    key_id: UUID
    app_id: UUID
    app: str
    scopes: frozenset[str]
    all_apps: bool

    @property
    def sees(self) -> UUID | None:
        """The app whose jobs the key sees; None: every app's."""
        return None if self.all_apps and "operate" in self.scopes else self.app_id


def _digest(key: str) -> bytes:
    """Keys are 256 random bits: a plain hash keeps them as well as a slow one would."""
    return sha256(key.encode()).digest()


async def find(db: Database, key: str) -> Access | None:
    """Whose key it is; None where it is unknown or revoked. Looked up by its hash, so the time
    taken says nothing of it."""
    row = await db.row("find_key", _digest(key))
    if row is None:
        return None
    return Access(
        key_id=row["id"],
        app_id=row["app_id"],
        app=row["app"],
        scopes=frozenset(row["scopes"]),
        all_apps=row["all_apps"],
    )


async def create_key(
    db: Database,
    *,
    app: str,
    app_id: UUID,
    app_secret: bytes,
    key_id: UUID,
    key: str,
    scopes: Sequence[str],
    all_apps: bool,
) -> UUID:
    """Stores a key's hash for the app of that name, making the app (`app_id`, its encrypted
    default secret) where there is none. Returns the app's id."""
    await db.rows("create_app", app_id, app, app_secret)
    row = await db.row("create_key", key_id, app, _digest(key), list(scopes), all_apps)
    if row is None:
        raise LookupError(app)
    found: UUID = row["app_id"]
    return found


async def list_keys(db: Database) -> list[dict[str, Any]]:
    """Every key there ever was, oldest first; never the key itself."""
    return [dict(row) for row in await db.rows("list_keys")]


async def revoke_key(db: Database, key_id: UUID) -> bool:
    """False: no such key, or it was revoked before."""
    return await db.row("revoke_key", key_id) is not None


async def live_keys(db: Database, key_ids: Sequence[UUID]) -> set[UUID]:
    """Those of these keys that are not revoked."""
    return {row["id"] for row in await db.rows("live_keys", key_ids)}


async def list_encrypted(db: Database) -> list[tuple[str, UUID, bytes]]:
    """Everything encrypted under CALLBOARD_SECRETS: what it is, whose, and the bytes."""
    return [(row["kind"], row["id"], row["stored"]) for row in await db.rows("list_encrypted")]


async def renew_encrypted(
    db: Database, kind: str, owner: UUID, stored: bytes, instead_of: bytes
) -> None:
    """Puts newly encrypted bytes in the place of the old, where they still stand."""
    await db.rows("renew_encrypted", kind, owner, stored, instead_of)


async def count_unknown_token_keys(db: Database, names: Sequence[str]) -> int:
    """Open attempts whose callback token none of the secrets so named has signed."""
    row = await db.row("count_unknown_token_keys", list(names))
    return 0 if row is None else int(row["attempts"])


async def default_secret(db: Database, app_id: UUID) -> bytes:
    """The encrypted secret that signs an app's events to jobs' own notify_hook."""
    row = await db.row("default_secret", app_id)
    if row is None:
        raise LookupError(app_id)
    stored: bytes = row["default_secret"]
    return stored


async def find_app(db: Database, name: str) -> UUID | None:
    """The app of that name; None: there is none."""
    row = await db.row("find_app", name)
    return None if row is None else row["id"]
