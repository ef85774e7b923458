"""/v1/deliveries: what was sent to whom, how that went, and sending it again."""

from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response

from service import ids
from service.store.jobs import FIRST_ID, LAST_ID
from service.store.outbox import STATES, Sought
from service.web.access import field_fault, json_body, need, page_limit, page_of, path_id
from service.web.answers import json_answer
from service.web.bounds import cursor, id_at
from service.web.subscription_bodies import NoBody

BODY_BYTES = 64 * 1024
PREFIXES = {"job": "job", "subscription": "sub", "event": "evt"}
FILTERS = (*PREFIXES, "state", "created_after", "created_before", "limit", "after")
# A delivery's id begins with its event's first 13 digits: the millisecond it was made in.
BITS_AFTER_TIME = 128 - 13 * 4


async def page(request: Request) -> Response:
    """An app's deliveries, newest event first; every app's for a key that sees them."""
    who = await need(request, "read", "operate")
    limit, sought = page_limit(request), sought_by(dict(request.query_params))
    shown = await request.state.resending.page(who.sees, sought, limit=limit + 1)
    return json_answer(page_of(shown, limit))


async def show(request: Request) -> Response:
    who = await need(request, "read", "operate")
    return json_answer(await request.state.resending.show(who.sees, path_id(request, "dlv")))


async def resend(request: Request) -> Response:
    """Sends it again under the same event id: 202 with the delivery."""
    who = await need(request, "submit", "operate")
    delivery_id = path_id(request, "dlv")
    await json_body(request, NoBody, most=BODY_BYTES, may_be_empty=True)
    shown = await request.state.resending.resend(
        who.sees, delivery_id, who=ids.show("key", who.key_id)
    )
    return json_answer(shown, status=202)


def sought_by(query: dict[str, str]) -> Sought:
    """The filters of a query. `created_after` and `created_before` bound the time of the event.
    Raises InvalidRequest, naming the one that is wrong."""
    for name in query:
        if name not in FILTERS:
            raise field_fault(name[:64], f"is no filter; there are {', '.join(FILTERS)}")
    state = query.get("state")
    if state is not None and state not in STATES:
        raise field_fault("state", f"must be one of {', '.join(STATES)}")
    named = {name: _id(name, query[name]) for name in PREFIXES if name in query}
    after = id_at(query.get("created_after"), "created_after") or FIRST_ID
    before = id_at(query.get("created_before"), "created_before") or LAST_ID
    before = min(before, cursor("dlv", query.get("after")))
    if (event := named.get("event")) is not None:
        first = event.int >> BITS_AFTER_TIME << BITS_AFTER_TIME
        after = max(after, UUID(int=max(0, first - 1)))
        before = min(before, UUID(int=min(LAST_ID.int, first + (1 << BITS_AFTER_TIME))))
    return Sought(
        job_id=named.get("job"),
        subscription_id=named.get("subscription"),
        event_id=named.get("event"),
        state=state,
        after=after,
        before=before,
    )


def _id(name: str, text: str) -> UUID:
    found = ids.read(PREFIXES[name], text)
    if found is None:
        raise field_fault(name, f"must be {PREFIXES[name]}_ and 32 hex digits")
    return found
