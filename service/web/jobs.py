"""/v1/jobs: asked for, read, waited for."""

import asyncio
import time
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from service import document, ids, jsontext
from service.create import Wanted, fingerprint
from service.errors import DatabaseAway, NotFound, Unavailable
from service.job import ENDED, State
from service.store import agenda, job_lists, jobs
from service.store.access import Access
from service.store.job_lists import Filter
from service.store.jobs import FIRST_ID, LAST_ID
from service.web.access import field_fault, json_body, need, page_limit, path_id
from service.web.answers import json_answer
from service.web.bounds import cursor, id_at

BODY_BYTES = 10 * 1024 * 1024
LONGEST_WAIT_SECONDS = 50
LOOK_SECONDS = 0.3
MODEL_ID = r"^[A-Za-z0-9][\w.:@\-]*(/[A-Za-z0-9][\w.:@\-]*)*$"  # it becomes part of an address
FILTERS = (
    *("state", "provider", "model", "reference", "stuck", "needs_action"),
    *("created_after", "created_before", "limit", "after"),
)


class NewJob(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    model: str = Field(max_length=200, pattern=MODEL_ID)
    input: dict[str, Any]
    params: dict[str, Any] = Field(default_factory=dict)
    provider: str | None = Field(default=None, max_length=50)
    notify_hook: str | None = Field(default=None, max_length=2048)
    metadata: dict[str, str] = Field(default_factory=dict, max_length=50)
    reference: str | None = Field(default=None, max_length=200)
    deadline_seconds: float | None = Field(default=None, gt=0, le=30 * 86400, strict=False)
    unlisted: bool = False
    dry_run: bool = False


async def create(request: Request) -> Response:
    """Takes a job: 202 with the job, or as it ended where the caller waits for it."""
    who = await need(request, "submit")
    wait = _preferred_wait(request)
    body = await json_body(request, NewJob, most=BODY_BYTES)
    _storable(body)
    key = _idempotency_key(request)
    wanted = Wanted(
        app_id=who.app_id,
        model=body.model,
        input=body.input,
        params=body.params,
        metadata=body.metadata,
        provider=body.provider,
        reference=body.reference,
        notify_hook=body.notify_hook,
        deadline_seconds=body.deadline_seconds,
        unlisted=body.unlisted,
        idempotency_key=key,
        fingerprint=fingerprint(jsontext.canonical(body.model_dump(exclude_defaults=True))),
    )
    if body.dry_run:
        return _dry(request.state.creator.prepare(wanted))
    made = await request.state.creator.create(wanted)
    request.state.wakes.submit.set()
    try:
        row = await _wait(request, made.id, wait) if wait or made.row is None else made.row
    except DatabaseAway:
        raise _unseen(made.id, key) from None
    headers = {"location": f"/v1/jobs/{ids.show('job', made.id)}"}
    if made.replayed:
        headers["idempotency-replayed"] = "true"
    if wait:
        headers["preference-applied"] = f"wait={wait}"
    return json_answer(document.of_job(row), status=202, headers=headers)


async def page(request: Request) -> Response:
    """An app's jobs, newest first; every app's for a key that sees them."""
    who = await need(request, "read", "operate")
    limit = page_limit(request)
    found = await job_lists.page(request.state.db, seen_by(who), _filter(request), limit)
    return json_answer(document.of_jobs(found.rows, found.after))


async def show(request: Request) -> Response:
    """One job, at once or (`?wait=`) as soon as it has ended."""
    who = await need(request, "read", "submit", "operate")
    row = await visible(request, who)
    wait = _seconds("wait", request.query_params.get("wait", "0"))
    row = await _wait(request, row["id"], wait)
    shown = document.of_job(row)
    tag = f'"{blake2b(jsontext.dumps(shown).encode(), digest_size=12).hexdigest()}"'
    if _has(request, tag):
        return Response(status_code=304, headers={"etag": tag})
    return json_answer(shown, headers={"etag": tag})


async def timeline(request: Request) -> Response:
    """Everything that happened to a job, oldest first."""
    who = await need(request, "read", "operate")
    row = await visible(request, who)
    happened = await jobs.timeline(request.state.db, row["id"])
    data = [one | {"at": document.moment(one["at"])} for one in happened]
    return json_answer({"data": data, "next": None})


def seen_by(who: Access) -> UUID | None:
    """The app whose jobs this key sees; None for all."""
    return who.sees


async def visible(request: Request, who: Access) -> Mapping[str, Any]:
    """The job in the path. Raises NotFound, where this key does not see it too."""
    row = await jobs.get(request.state.db, path_id(request, "job"))
    if row is None or seen_by(who) not in (None, row["app_id"]):
        raise NotFound("there is no such job", code="not_found")
    return row


async def _wait(request: Request, job_id: UUID, seconds: int) -> Mapping[str, Any]:
    """The job's row, once it has ended or the time is over. Meanwhile its provider is asked more
    often; each move dates the next poll anew, so it is said after each."""
    until = time.monotonic() + seconds
    version = 0
    while True:
        row = await jobs.get(request.state.db, job_id)
        if row is None:
            raise NotFound("there is no such job", code="not_found")
        left = until - time.monotonic()
        if left <= 0 or row["state"] in ENDED or await request.is_disconnected():
            return row
        if row["state"] in (State.SUBMITTED, State.RUNNING) and row["version"] != version:
            version = row["version"]
            await agenda.watch(request.state.db, job_id, seconds=left)
        await asyncio.sleep(min(left, LOOK_SECONDS))


def _has(request: Request, tag: str) -> bool:
    """Whether the caller's If-None-Match (RFC 9110 §13.1.2) names what we would send."""
    asked = request.headers.get("if-none-match", "")
    return asked == "*" or tag in [one.strip().removeprefix("W/") for one in asked.split(",")]


def _unseen(job_id: UUID, key: str | None) -> Unavailable:
    return Unavailable(
        f"the job is stored as {ids.show('job', job_id)}, and the database went away after that",
        code="unavailable",
        retryable=key is not None,
        charged="unknown",
        retry_after=5,
    )


def _dry(job: jobs.NewJob) -> Response:
    cost = {name: getattr(job, name) for name in ("currency", "estimate", "upper_bound")}
    return json_answer(
        {
            "provider": job.provider,
            "model": job.model,
            "input": job.input,
            "cost": document.cost(cost | {"actual": None}),
            "warnings": list(job.warnings),
        }
    )


def _storable(body: NewJob) -> None:
    """Postgres keeps no NUL in text; say so before it does."""
    texts = {"model": body.model, "reference": body.reference or ""}
    texts |= {f"metadata.{name[:64]}": name + value for name, value in body.metadata.items()}
    for field, text in texts.items():
        if "\x00" in text or text.encode(errors="ignore").decode() != text:
            raise field_fault(field, "must be text without NUL characters or lone surrogates")


def _idempotency_key(request: Request) -> str | None:
    """The Idempotency-Key, quoted (the draft's structured string) or bare (what clients send)."""
    key = request.headers.get("idempotency-key")
    if key is None:
        return None
    key = key.strip().removeprefix('"').removesuffix('"')
    if not 1 <= len(key) <= 255 or not key.isprintable() or not key.isascii():
        raise field_fault("Idempotency-Key", "must be 1 to 255 printable ASCII characters")
    return key


def _preferred_wait(request: Request) -> int:
    """`wait` of the Prefer headers; one that cannot be read is ignored (RFC 7240 §2)."""
    for preference in ",".join(request.headers.getlist("prefer")).split(","):
        name, _, value = preference.partition(";")[0].partition("=")
        value = value.strip().strip('"')
        if name.strip().lower() == "wait" and value.isascii() and value.isdigit():
            return min(LONGEST_WAIT_SECONDS, int(value[:6]))
    return 0


def _seconds(field: str, text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 6:
        raise field_fault(field, f"must be whole seconds, at most {LONGEST_WAIT_SECONDS}")
    return min(LONGEST_WAIT_SECONDS, int(text))


def _filter(request: Request) -> Filter:
    query = request.query_params
    metadata = {}
    for name, value in query.multi_items():
        if "\x00" in name + value:
            raise field_fault(name[:64], "must be text without NUL characters")
        if name.startswith("metadata[") and name.endswith("]"):
            metadata[name[9:-1]] = value
        elif name not in FILTERS:
            raise field_fault(name[:64], f"is no filter; there are {', '.join(FILTERS)}")
    state = query.get("state")
    if state is not None and state not in set(State):
        raise field_fault("state", f"must be one of {', '.join(State)}")
    for field in ("stuck", "needs_action"):
        if query.get(field, "false") not in ("true", "false"):
            raise field_fault(field, "must be true or false")
    return Filter(
        state=state,
        provider=query.get("provider"),
        model=query.get("model"),
        reference=query.get("reference"),
        metadata=metadata or None,
        stuck=query.get("stuck") == "true",
        needs_action=query.get("needs_action") == "true",
        after=id_at(query.get("created_after"), "created_after") or FIRST_ID,
        before=min(
            id_at(query.get("created_before"), "created_before") or LAST_ID,
            cursor("job", query.get("after")),
        ),
    )
