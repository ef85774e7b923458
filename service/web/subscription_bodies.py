"""The bodies of requests about subscriptions, checked field by field."""

import base64
from datetime import UTC, datetime
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from service import ids
from service.job import ALL_EVENT_TYPES, END_EVENT_TYPES

# What frames the request, or what we say ourselves.
RESERVED = frozenset(
    (
        *("connection", "content-encoding", "content-length", "content-type", "expect", "host"),
        *("keep-alive", "te", "trailer", "transfer-encoding", "upgrade"),
    )
)
OURS = ("webhook-", "proxy-")
DAY_SECONDS = 86400
LONGEST_OVERLAP_SECONDS = 7 * DAY_SECONDS
STRICT = ConfigDict(extra="forbid", strict=True)


def _event_types(value: list[str]) -> list[str]:
    unknown = [name for name in value if name not in ALL_EVENT_TYPES]
    if unknown:
        raise ValueError(f"{unknown[0][:64]!r} is none of {', '.join(ALL_EVENT_TYPES)}")
    return sorted(set(value))


def _secret(value: str) -> str:
    try:
        raw = base64.b64decode(value.removeprefix("whsec_"), validate=True)
    except ValueError:  # binascii's own is one too
        raw = b""
    if not value.startswith("whsec_") or not 24 <= len(raw) <= 64:
        raise ValueError("must be whsec_ and the base64 of 24 to 64 bytes")
    return value


def _headers(value: dict[str, str]) -> dict[str, str]:
    if len({name.lower() for name in value}) < len(value):
        raise ValueError("a header stands there twice, in two spellings")
    for name, text in value.items():
        plain, lower = name.replace("-", "").replace("_", ""), name.lower()
        if not plain.isascii() or not plain.isalnum() or lower in RESERVED:
            raise ValueError(f"{name[:64]!r} cannot be a header of yours")
        if lower.startswith(OURS):
            raise ValueError(f"{name[:64]!r} is a header of ours")
        if not text.isprintable() or not text.isascii():
            raise ValueError(f"{name[:64]!r} must be printable ASCII text")
    return value


def _time(value: Any) -> Any:
    """RFC 3339 text as a time in UTC, which is meant where no zone is said."""
    problem = "must be a time as 2026-01-31T12:00:00Z"
    try:
        at = datetime.fromisoformat(value)
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(problem) from None


def _moment(value: Any) -> Any:
    event = ids.read("evt", value) if isinstance(value, str) else None
    try:
        return _time(value) if event is None else event
    except ValueError as fault:
        raise ValueError(f"{fault}, or an event's id") from None


Url = Annotated[str, Field(min_length=1, max_length=2048)]
EventTypes = Annotated[list[str], Field(min_length=1), AfterValidator(_event_types)]
Headers = Annotated[dict[str, str], Field(max_length=20), AfterValidator(_headers)]
Since = Annotated[datetime | UUID, BeforeValidator(_moment)]


class NewSubscription(BaseModel):
    model_config = STRICT

    url: Url
    events: EventTypes = list(END_EVENT_TYPES)
    secret: Annotated[str, AfterValidator(_secret)] | None = None
    headers: Headers = Field(default_factory=dict)
    since: Since | None = None


class ChangedSubscription(BaseModel):
    """What is left out stays as it is."""

    model_config = STRICT

    url: Url = ""
    events: EventTypes = Field(default_factory=list)
    headers: Headers = Field(default_factory=dict)
    enabled: bool = True

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.model_fields_set:
            raise ValueError(f"must have one of {', '.join(type(self).model_fields)}")
        return self

    @property
    def changes(self) -> dict[str, Any]:
        """What was said."""
        return {name: getattr(self, name) for name in self.model_fields_set}


class Rotation(BaseModel):
    model_config = STRICT

    overlap_seconds: int = Field(default=DAY_SECONDS, ge=0, le=LONGEST_OVERLAP_SECONDS)


class WantedRecovery(BaseModel):
    model_config = STRICT

    since: Since
    until: Annotated[datetime, BeforeValidator(_time)] | None = None
    acknowledged: bool = Field(default=False, alias="all")
    dry_run: bool = False


class NoBody(BaseModel):
    """Where there is nothing to say."""

    model_config = STRICT
