"""POST /v1/jobs/{id}/…: what people do to a job by hand. Each answers with the job as it is then.

The body of each is read strictly: a field that it does not know is refused by name.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from service import document, ids
from service.adopt import adopt as do_adopt
from service.cancel import cancel as do_cancel
from service.errors import DatabaseAway, Unavailable
from service.operating import Actor, Parts
from service.rerun import rerun as do_rerun
from service.resolve import accepted, not_accepted
from service.resync import resync as do_resync
from service.store.access import Access
from service.web.access import invalid, json_body, need
from service.web.answers import json_answer
from service.web.jobs import visible
from service.wire import id_in

BODY_BYTES = 64 * 1024
REASON_CHARACTERS = 1000


def _text(value: str) -> str:
    """Postgres keeps no NUL in text, and JSON may bring half a character."""
    if "\x00" in value or value.encode(errors="ignore").decode() != value:
        raise ValueError("must be text without NUL characters or lone surrogates")
    return value


def _id(value: str) -> str:
    if id_in(value) is None:
        raise ValueError("must be the provider's id: 1 to 200 visible ASCII characters")
    return value


Reason = Annotated[str, Field(max_length=REASON_CHARACTERS), AfterValidator(_text)] | None
Number = Annotated[int, Field(ge=1, le=2**31 - 1)]
STRICT = ConfigDict(extra="forbid", strict=True)


class Free(BaseModel):
    """Cancel and resync."""

    model_config = STRICT

    reason: Reason = None


class OnAttempt(BaseModel):
    """Rerun and adopt."""

    model_config = STRICT

    attempt: Number
    force: bool = False
    reason: Reason = None


class Resolve(BaseModel):
    model_config = STRICT

    attempt: Number
    word: Literal["accepted", "not_accepted"] = Field(alias="as")
    provider_id: Annotated[str, AfterValidator(_id)] | None = None
    reason: Reason = None


Body = Free | OnAttempt | Resolve
BODIES: Mapping[str, type[Free] | type[OnAttempt] | type[Resolve]] = {
    "cancel": Free,
    "resync": Free,
    "rerun": OnAttempt,
    "resolve": Resolve,
    "adopt": OnAttempt,
}


def body_of(name: str, given: Mapping[str, Any]) -> Body:
    """The body of the act of that name. Raises InvalidRequest, naming each wrong field."""
    try:
        return BODIES[name].model_validate(given)
    except ValidationError as fault:
        raise invalid(fault) from None


async def do(parts: Parts, actor: Actor, job_id: UUID, name: str, body: Body) -> None:
    """The act of that name; raises what its verb raises."""
    match name, body:
        case "cancel", _:
            await do_cancel(parts, actor, job_id)
        case "resync", _:
            await do_resync(parts, actor, job_id)
        case "rerun", OnAttempt():
            await do_rerun(parts, actor, job_id, attempt=body.attempt, force=body.force)
        case "adopt", OnAttempt():
            await do_adopt(parts, actor, job_id, attempt=body.attempt, force=body.force)
        case "resolve", Resolve(word="accepted"):
            known = body.provider_id
            await accepted(parts, actor, job_id, attempt=body.attempt, provider_id=known)
        case "resolve", Resolve():
            await not_accepted(parts, actor, job_id, attempt=body.attempt)


async def cancel(request: Request) -> Response:
    """Ends the job, or has its provider asked to."""
    return await _done(request, "cancel", "submit", "operate", source="api")


async def resync(request: Request) -> Response:
    """Asks the provider now."""
    return await _done(request, "resync", "operate")


async def rerun(request: Request) -> Response:
    """A new, paid attempt; `cost` in the answer is what it is estimated to cost."""
    return await _done(request, "rerun", "operate")


async def resolve(request: Request) -> Response:
    """Says what became of an unconfirmed POST."""
    return await _done(request, "resolve", "operate")


async def adopt(request: Request) -> Response:
    """Takes a kept success as the job's end."""
    return await _done(request, "adopt", "operate")


async def _done(request: Request, name: str, *scopes: str, source: str = "operator") -> Response:
    who = await need(request, *scopes)
    job_id = (await visible(request, who))["id"]
    kind = BODIES[name]
    body = await json_body(request, kind, most=BODY_BYTES, may_be_empty=kind is Free)
    actor = Actor(who=ids.show("key", who.key_id), source=source, reason=body.reason)
    await do(request.state.acting, actor, job_id, name, body)
    return await _shown(request, who)


async def _shown(request: Request, who: Access) -> Response:
    try:
        return json_answer(document.of_job(await visible(request, who)))
    except DatabaseAway:
        raise Unavailable(
            "it is done, and the database went away after that",
            code="unavailable",
            charged="unknown",
            retry_after=5,
        ) from None
