"""Counts accepted submissions by job, so that anyone can see whether one was paid for twice."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qs, urlsplit

from service.sandbox.fates import Fate

_KEY_DIGITS = 16


class Outcome(StrEnum):
    """Where a job stands, as far as the pretend provider is concerned."""

    PENDING = "pending"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELED = "canceled"


class CallKind(StrEnum):
    """Which of a job's callbacks a call was."""

    TRUE = "true"
    PROGRESS = "progress"  # true too, and before the end
    DUPLICATE = "duplicate"
    FORGED = "forged"
    CORRUPT = "corrupt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One call that was made, and the HTTP status it was answered with: None where none came."""

    kind: CallKind
    status: int | None


@dataclass(slots=True, kw_only=True, eq=False)
class Entry:
    """One job as the sandbox saw it: every submission under the same key."""

    key: str
    model: str
    callback_url_host: str | None
    outcome: Outcome = Outcome.PENDING
    polls: int = 0
    request_ids: list[str] = field(default_factory=list)
    callbacks: list[Answer] = field(default_factory=list)
    misbehaviour: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        return {
            "key": self.key,
            "accepted": len(self.request_ids),
            "request_ids": self.request_ids,
            "model": self.model,
            "outcome": self.outcome,
            "callback_url_host": self.callback_url_host,
            "callbacks": [{"kind": call.kind, "status": call.status} for call in self.callbacks],
            "polls": self.polls,
            "misbehaviour": self.misbehaviour,
        }


class Ledger:
    """Every accepted submission since the start, by job."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}

    def accept(
        self, *, request_id: str, model: str, body: bytes, callback_url: str | None, fate: Fate
    ) -> Entry:
        """Counts a submission; answers its job's entry, an older one where it came before."""
        key = key_of(body, callback_url)
        entry = self._entries.get(key)
        if entry is None:
            host = _host(callback_url) if callback_url else None
            entry = self._entries[key] = Entry(key=key, model=model, callback_url_host=host)
        entry.request_ids.append(request_id)
        entry.outcome = Outcome.PENDING
        entry.misbehaviour.extend(fate.turns)
        return entry

    def as_dict(self) -> Mapping[str, Any]:
        """`jobs` and `totals` as `/control` shows them."""
        entries = self._entries.values()
        outcomes = Counter(entry.outcome for entry in entries)
        calls = Counter(call.kind for entry in entries for call in entry.callbacks)
        totals: dict[str, Any] = {
            "accepted": sum(len(entry.request_ids) for entry in entries),
            "jobs": len(entries),
            "accepted_twice": sum(len(entry.request_ids) > 1 for entry in entries),
            **{str(outcome): outcomes[outcome] for outcome in Outcome},
            "callbacks": {str(kind): calls[kind] for kind in CallKind},
            "polls": sum(entry.polls for entry in entries),
        }
        return {"jobs": [entry.as_dict() for entry in entries], "totals": totals}


def key_of(body: bytes, callback_url: str | None) -> str:
    """What a submission is counted under: 16 hex digits of the SHA-256 of its callback's token
    where there is one, else of its exact body. The token itself is kept nowhere."""
    token = token_of(callback_url) if callback_url else None
    return sha256(body if token is None else token.encode()).hexdigest()[:_KEY_DIGITS]


def token_of(callback_url: str) -> str | None:
    """The decoded `token` in a callback URL's query, or None where there is none."""
    return next(iter(parse_qs(urlsplit(callback_url).query).get("token", ())), None)


def _host(url: str) -> str:
    return urlsplit(url).netloc.rpartition("@")[2]
