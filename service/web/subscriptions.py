"""/v1/subscriptions: which endpoints of an app hear of its jobs."""

from typing import Any
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response

from service import ids
from service.store import access as stored_access
from service.store.access import Access
from service.subscribe import Subscribing
from service.web.access import field_fault, json_body, need, page_limit, page_of, path_id
from service.web.answers import json_answer
from service.web.subscription_bodies import (
    ChangedSubscription,
    NewSubscription,
    NoBody,
    Rotation,
    WantedRecovery,
)

BODY_BYTES = 64 * 1024


async def create(request: Request) -> Response:
    """Makes an endpoint; its secret is shown this once."""
    who = await need(request, "submit", "operate")
    wanted = await json_body(request, NewSubscription, most=BODY_BYTES)
    made = await _subscribing(request).create(who.app_id, **dict(wanted), who=_named(who))
    if wanted.since is not None:
        request.state.wakes.recover.set()
    headers = {"location": f"/v1/subscriptions/{made['id']}"}
    return json_answer(made, status=201, headers=headers)


async def page(request: Request) -> Response:
    """An app's endpoints, oldest first."""
    who = await need(request, "read", "operate")
    limit = page_limit(request)
    text = request.query_params.get("after")
    after = UUID(int=0) if text is None else ids.read("sub", text)
    if after is None:
        raise field_fault("after", "must be the `next` of an earlier page")
    shown = await _subscribing(request).page(who.app_id, after=after, limit=limit + 1)
    return json_answer(page_of(shown, limit))


async def show(request: Request) -> Response:
    who = await need(request, "read", "operate")
    return json_answer(await _subscribing(request).show(who.app_id, path_id(request, "sub")))


async def change(request: Request) -> Response:
    """Changes what is said; enabled again, it is sent what was held."""
    who = await need(request, "submit", "operate")
    subscription_id = path_id(request, "sub")
    wanted = await json_body(request, ChangedSubscription, most=BODY_BYTES)
    shown = await _subscribing(request).change(who.app_id, subscription_id, **wanted.changes)
    request.state.wakes.deliver.set()
    return json_answer(shown)


async def delete(request: Request) -> Response:
    """Ends it; what waits for it is closed."""
    who = await need(request, "submit", "operate")
    await _subscribing(request).delete(who.app_id, path_id(request, "sub"))
    return Response(status_code=204)


async def rotate(request: Request) -> Response:
    """Another secret, shown this once; the one before it signs beside it for a while."""
    who = await need(request, "submit", "operate")
    subscription_id = path_id(request, "sub")
    wanted = await json_body(request, Rotation, most=BODY_BYTES, may_be_empty=True)
    overlap = wanted.overlap_seconds
    rotated = await _subscribing(request).rotate(who.app_id, subscription_id, overlap=overlap)
    return json_answer(rotated)


async def test(request: Request) -> Response:
    """Sends a test now and tells how that went."""
    who = await need(request, "submit", "operate")
    subscription_id = path_id(request, "sub")
    await json_body(request, NoBody, most=BODY_BYTES, may_be_empty=True)
    return json_answer(await _subscribing(request).test(who.app_id, subscription_id))


async def recover(request: Request) -> Response:
    """Sends again what the endpoint has not acknowledged: 202 with how much that is."""
    who = await need(request, "submit", "operate")
    subscription_id = path_id(request, "sub")
    wanted = await json_body(request, WantedRecovery, most=BODY_BYTES)
    count = await request.state.recovering.ask(
        who.app_id, subscription_id, **dict(wanted), who=_named(who)
    )
    return json_answer({"count": count}, status=200 if wanted.dry_run else 202)


async def default_secret(request: Request) -> Response:
    """The secret that signs what goes to jobs' own notify_hook."""
    who = await need(request, "submit", "operate")
    stored = await stored_access.default_secret(request.state.db, who.app_id)
    return json_answer({"secret": request.state.at_rest.decrypt(stored)})


def _subscribing(request: Request) -> Subscribing:
    found: Any = request.state.subscribing
    assert isinstance(found, Subscribing)
    return found


def _named(who: Access) -> str:
    return ids.show("key", who.key_id)
