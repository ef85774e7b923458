"""A job's timeline as lines for people, and how to follow one as it grows."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from service import jsontext
from service.commands.tables import plain
from service.errors import DatabaseAway, Unavailable
from service.job import ENDED

Entry = Mapping[str, Any]
PATIENCE_SECONDS = 60.0  # how long a database or a service may be away while we follow


class JobSource(Protocol):
    """Where a command reads jobs: the database, or a service over HTTP."""

    pause: float
    """Seconds between two looks of one who follows a job."""

    async def page(self, query: Mapping[str, str]) -> dict[str, Any]:
        """`{"data", "next"}` of the filters of `GET /v1/jobs`. Raises InvalidRequest."""
        ...

    async def job(self, job_id: str) -> dict[str, Any]:
        """The job as the API shows it. Raises NotFound."""
        ...

    async def timeline(self, job_id: str) -> list[Entry]:
        """Everything that happened to it, oldest first. Raises NotFound."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """What a look brought: the job as it was just before it, and the entries not seen yet."""

    job: Mapping[str, Any]
    entries: list[Entry]


def has_ended(job: Mapping[str, Any], entries: list[Entry]) -> bool:
    """Whether a job stands at an end."""
    return job["state"] in ENDED


async def follow(
    source: JobSource,
    job_id: str,
    *,
    done: Callable[[Mapping[str, Any], list[Entry]], bool] = has_ended,
) -> AsyncIterator[News]:
    """Yields each look at a job, from its beginning until its job and timeline are `done`.

    Raises NotFound; DatabaseAway or Unavailable where its source stays away for a minute.
    """
    seen: set[str] = set()
    until = time.monotonic()  # the first look must not wait: a wrong address shows at once
    while True:
        try:
            job = await source.job(job_id)  # first the job: its last move is then in the timeline
            entries = await source.timeline(job_id)
        except (DatabaseAway, Unavailable):
            if time.monotonic() >= until:
                raise
        else:
            until = time.monotonic() + PATIENCE_SECONDS
            fresh = {jsontext.canonical(entry): entry for entry in entries}
            news = [entry for key, entry in fresh.items() if key not in seen]
            seen |= fresh.keys()
            yield News(job=job, entries=news)
            if done(job, entries):
                return
        await asyncio.sleep(source.pause)


def line(entry: Entry, *, dated: bool = False) -> str:
    """One entry: `12:00:00.123  callback    accepted`; `dated` puts the day in front."""
    tell: Callable[[Any], str] = _WORDS.get(entry["kind"], jsontext.dumps)
    at = entry["at"][:23].replace("T", " ") if dated else entry["at"][11:23]
    who = f"{entry['source']}: " if entry["kind"] == "act" else ""
    return f"{at}  {plain(entry['kind']):<10}  {plain(who + tell(entry['detail']))}"


def _transition(detail: Entry) -> str:
    if detail.get("stuck"):
        return f"overdue, and still {detail['now']}"
    was = f"{detail['was']} → " if detail["was"] else ""
    attempt = f" (attempt {detail['attempt']})" if detail["attempt"] > 1 else ""
    error = detail["error"]
    why = f": {error['code']}: {error['message']}" if error else ""
    return f"{was}{detail['now']}{attempt}{why}"


def _submit(detail: Entry) -> str:
    told = "a callback is registered" if detail["callback"] else "no callback is registered"
    return f"the POST of attempt {detail['attempt']} may leave; {told}"


def _poll(detail: Entry) -> str:
    return f"the provider was asked: {detail['said'] or 'no news'}{_bracketed(detail['note'])}"


def _callback(detail: Entry) -> str:
    return f"{detail['verdict']}{_bracketed(detail['reason'])} {detail['id']}"


def _delivery(detail: Entry) -> str:
    how = detail["error"] or f"HTTP {detail['status']}"
    return f"try {detail['try']}: {how} in {detail['duration_ms']} ms {detail['id']}"


def _act(detail: Entry) -> str:
    facts = {key: value for key, value in (detail["detail"] or {}).items() if value is not None}
    told = f" {jsontext.dumps(facts)}" if facts else ""
    return f"{detail['act']} of attempt {detail['attempt']}{_bracketed(detail['reason'])}{told}"


def _bracketed(text: str | None) -> str:
    return f" ({text})" if text else ""


_WORDS: Mapping[str, Callable[[Entry], str]] = {
    "transition": _transition,
    "submit": _submit,
    "poll": _poll,
    "callback": _callback,
    "delivery": _delivery,
    "act": _act,
}
