"""/v1/subscriptions: which endpoints of an app hear of its jobs."""

import base64
import secrets
from typing import Annotated, Any
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from service import ids, jsontext
from service.document import moment
from service.errors import NotFound, TargetForbidden
from service.job import ALL_EVENT_TYPES, END_EVENT_TYPES
from service.store import access as stored_access
from service.store import subscriptions
from service.web.access import field_fault, json_body, need, page_limit, page_of, path_id
from service.web.answers import json_answer

BODY_BYTES = 64 * 1024
SECRET_BYTES = 32
# What frames the request, or what we say ourselves.
RESERVED = frozenset(
    (
        *("connection", "content-encoding", "content-length", "content-type", "expect", "host"),
        *("keep-alive", "te", "trailer", "transfer-encoding", "upgrade"),
    )
)
OURS = ("webhook-", "proxy-")


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


class NewSubscription(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    url: str = Field(min_length=1, max_length=2048)
    events: Annotated[list[str], AfterValidator(_event_types)] = Field(
        default=list(END_EVENT_TYPES), min_length=1
    )
    secret: Annotated[str, AfterValidator(_secret)] | None = None
    headers: Annotated[dict[str, str], AfterValidator(_headers)] = Field(
        default_factory=dict, max_length=20
    )


def new_secret() -> str:
    """A signing secret as Standard Webhooks writes it."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


async def create(request: Request) -> Response:
    """Makes an endpoint; its secret is shown this once."""
    who = await need(request, "submit", "operate")
    wanted = await json_body(request, NewSubscription, most=BODY_BYTES)
    try:
        request.state.guard.check_url(wanted.url)
    except TargetForbidden as fault:
        raise field_fault("url", str(fault)) from fault
    secret = wanted.secret or new_secret()
    subscription_id = ids.new_id()
    await subscriptions.create(
        request.state.db,
        subscription_id=subscription_id,
        app_id=who.app_id,
        url=wanted.url,
        events=wanted.events,
        secret=request.state.at_rest.encrypt(secret),
        headers=request.state.at_rest.encrypt(jsontext.dumps(wanted.headers)),
    )
    row = await subscriptions.get(request.state.db, who.app_id, subscription_id)
    if row is None:
        raise NotFound("the subscription was deleted meanwhile", code="not_found")
    shown = _shown(request, row)
    return json_answer(
        shown | {"secret": secret},
        status=201,
        headers={"location": f"/v1/subscriptions/{shown['id']}"},
    )


async def page(request: Request) -> Response:
    """An app's endpoints, oldest first."""
    who = await need(request, "read", "operate")
    limit = page_limit(request)
    text = request.query_params.get("after")
    after = UUID(int=0) if text is None else ids.read("sub", text)
    if after is None:
        raise field_fault("after", "must be the `next` of an earlier page")
    rows = await subscriptions.page(request.state.db, who.app_id, after=after, limit=limit + 1)
    return json_answer(page_of([_shown(request, row) for row in rows], limit))


async def show(request: Request) -> Response:
    who = await need(request, "read", "operate")
    row = await subscriptions.get(request.state.db, who.app_id, path_id(request, "sub"))
    if row is None:
        raise NotFound("there is no such subscription", code="not_found")
    return json_answer(_shown(request, row))


async def delete(request: Request) -> Response:
    """Ends it; what waits for it is closed."""
    who = await need(request, "submit", "operate")
    if not await subscriptions.delete(request.state.db, who.app_id, path_id(request, "sub")):
        raise NotFound("there is no such subscription", code="not_found")
    return Response(status_code=204)


async def default_secret(request: Request) -> Response:
    """The secret that signs what goes to jobs' own notify_hook."""
    who = await need(request, "submit", "operate")
    stored = await stored_access.default_secret(request.state.db, who.app_id)
    return json_answer({"secret": request.state.at_rest.decrypt(stored)})


def _shown(request: Request, row: dict[str, Any]) -> dict[str, Any]:
    headers = jsontext.loads(request.state.at_rest.decrypt(row["headers"]))
    return {
        "id": ids.show("sub", row["id"]),
        "url": row["url"],
        "events": row["events"],
        "enabled": row["enabled"],
        "disabled_reason": row["disabled_reason"],
        "failing_since": moment(row["failing_since"]),
        "headers": dict.fromkeys(headers, "***"),  # a header may hold a key
        "created_at": moment(row["created_at"]),
    }
