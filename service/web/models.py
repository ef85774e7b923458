"""/v1/models: what can be rendered, how it is asked for and what it costs."""

from starlette.requests import Request
from starlette.responses import Response

from service.catalog import listing
from service.web.access import field_fault, need, page_limit
from service.web.answers import json_answer

FILTERS = ("provider", "limit", "after")


async def page(request: Request) -> Response:
    """Every model of the catalog, by provider and in the order of its file."""
    await need(request, "read", "submit", "operate")
    for name in request.query_params:
        if name not in FILTERS:
            raise field_fault(name[:64], f"is no filter; there are {', '.join(FILTERS)}")
    making = request.state.creator
    found = listing.page(
        making.catalog, making.providers, request.query_params, page_limit(request)
    )
    return json_answer(found)


async def show(request: Request) -> Response:
    """One model; `?provider=` says whose, where several have it or one takes any name."""
    await need(request, "read", "submit", "operate")
    making, provider = request.state.creator, request.query_params.get("provider")
    model = request.path_params["id"]
    return json_answer(listing.one(making.catalog, making.providers, model, provider))
