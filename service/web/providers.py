"""/v1/providers: who takes jobs, who is paused and why, and how much each has to do."""

from starlette.requests import Request
from starlette.responses import Response

from service.standing import page as page_of
from service.standing import standing
from service.web.access import field_fault, need, page_limit
from service.web.answers import json_answer

FILTERS = ("limit", "after")


async def page(request: Request) -> Response:
    """Every provider, by name."""
    await need(request, "read", "operate")
    for name in request.query_params:
        if name not in FILTERS:
            raise field_fault(name[:64], f"is no filter; there are {', '.join(FILTERS)}")
    limit = page_limit(request)
    state = request.state
    found = await standing(state.db, state.creator.providers, state.most_in_flight)
    return json_answer(page_of(found, request.query_params.get("after"), limit))
