"""What a provider is: a pure translator between its wire and our words. It does no I/O.

A new provider is one file here, one catalog file and its cassettes. The file holds a
`Settings` class (its environment variables) and a `build(settings)` that returns the Provider,
or None where its key is missing.
"""

import pkgutil
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from importlib import import_module
from typing import Any, Protocol
from uuid import UUID

from service import jsontext
from service.job import JobError, State
from service.settings import ProviderSettings


class Trust(StrEnum):
    """What a callback with a good token is worth."""

    NONE = "none"  # the provider has no callbacks
    HINT = "hint"  # the provider is asked before the job moves
    TOKEN = "token"  # the token is enough
    SIGNED = "signed"  # the provider's signature must hold too


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One HTTP request to a provider. Credentials are not in it: the sender adds them."""

    method: str
    url: str
    content: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One complete HTTP reply. Header names are lower case."""

    status: int
    content: bytes
    headers: Mapping[str, str] = field(default_factory=dict)

    def json(self) -> Any:
        """The body's value; raises ValueError where it is not JSON, whatever its type says."""
        return jsontext.received(self.content)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One attempt at a job, as the provider's methods need it: `input` to submit, the others to
    ask after it."""

    job_id: UUID
    number: int
    model: str
    input: Mapping[str, Any]
    provider_id: str | None = None
    urls: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a render is: its place in the provider's queue, or the share done (0 to 1)."""

    queue_position: int | None = None
    fraction: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The provider took the job: it renders, and it may be billed.

    `actual` is what it says it charged, as in Report. `note` is for the operator: something that
    costs money and that nobody asked for.
    """

    provider_id: str
    urls: Mapping[str, str] = field(default_factory=dict)
    progress: Progress | None = None
    actual: Decimal | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The provider provably did not take the job.

    `waits`: the job goes back to `queued` and is tried again after `retry_after` seconds (the
    submitter's own backoff where None); else it fails.
    """

    error: JobError
    waits: bool = False
    retry_after: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unclear:
    """Nobody can say from this reply whether the provider took the job."""

    note: str
    provider: Any = None


@dataclass(slots=True, kw_only=True)
class Report:
    """What a provider says of an attempt, by callback or by poll.

    `state` is None where the reply is no verdict and no news (an unknown status, a GET that
    failed); `note` then says what was seen. `ask`: the news is real but its content is
    elsewhere, so the provider must be asked now. `gone`: the provider says that it does not know
    the id, which is no verdict either. `resultless`: it says that the render has succeeded, and
    shows no result: one may follow (`state` is RUNNING), but nobody is at work any more. `output`
    is the provider's result, raw; `actual` is what it says it charged, decimal, in the provider's
    currency or credits.
    """

    state: State | None
    provider_id: str | None = None
    output: Any = None
    error: JobError | None = None
    progress: Progress | None = None
    actual: Decimal | None = None
    note: str | None = None
    ask: bool = False
    gone: bool = False
    resultless: bool = False


class CancelAnswer(StrEnum):
    """What a provider answers when it is asked to end a render."""

    REQUESTED = "requested"  # it will try; how the render ends is told as ever
    TOO_LATE = "too_late"  # it has ended already
    UNKNOWN = "unknown"  # it does not know the render


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """A callback's signature, taken apart: Ed25519 over `message`.

    `at` is the signer's time in unix seconds; `user_id` the account it says it is for.
    """

    message: bytes
    signature: bytes
    at: int
    user_id: str
    request_id: str


class Provider(Protocol):
    """One provider. Every method is pure; what they raise is said on each."""

    name: str
    callbacks: Trust
    cancels: bool
    """Whether a render can be asked to end; else `cancel` is None whatever the attempt."""
    origin: str
    """`https://host[:port]` of the configured base URL: the only place its credentials go."""
    poll_cap_seconds: float
    """The longest pause between polls: below half of the shortest time a result is kept."""
    late_seconds: float
    """How long after giving up a job may still come back, and is asked after."""
    shared_tokens: tuple[str, ...]
    """Tokens shared by all jobs, accepted at the provider's legacy door only."""
    keys_url: str | None
    """Where its signing keys are (a JWKS); None where it does not sign."""
    user_id: str | None
    """Where set, the account that a signature must be for."""

    def credentials(self) -> Mapping[str, str]:
        """The headers that authenticate us."""
        ...

    def submission(self, attempt: Attempt, callback_url: str | None) -> Request:
        """The one POST of an attempt."""
        ...

    def read_submission(self, reply: Reply) -> Accepted | Refused | Unclear:
        """What the reply to that POST means. Never raises."""
        ...

    def poll(self, attempt: Attempt) -> Generator[Request, Reply, Report]:
        """Asks for news: yields requests, is sent their replies, returns the Report."""
        ...

    def cancel(self, attempt: Attempt) -> Generator[Request, Reply, CancelAnswer | None] | None:
        """Asks for an end: yields requests, is sent their replies, returns the answer (None: it
        must be asked again). None where there is no cancel, or no id yet."""
        ...

    def read_callback(self, headers: Mapping[str, str], body: bytes) -> Report:
        """Reads an inbound call; header names are lower case. Raises CallbackUnreadable, and
        CallbackRefused (`request_id_mismatch`) where header and body name different jobs."""
        ...

    def read_signature(self, headers: Mapping[str, str], body: bytes) -> Signed:
        """Takes the signature headers apart. Raises CallbackRefused where they are missing."""
        ...

    def outputs(self, output: Any) -> list[dict[str, Any]]:
        """The media in a result: `[{"url", "content_type", "expires_at"}]`."""
        ...


def names() -> list[str]:
    """The providers there are: the files in this folder."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def settings_of(name: str) -> type[ProviderSettings]:
    """The settings class of one provider."""
    found: type[ProviderSettings] = import_module(f"{__name__}.{name}").Settings
    return found


def configured() -> dict[str, Provider]:
    """The providers that have a key, by name, from the environment. Raises SettingInvalid."""
    built = {
        name: import_module(f"{__name__}.{name}").build(settings_of(name).read())
        for name in names()
    }
    return {name: provider for name, provider in built.items() if provider is not None}
