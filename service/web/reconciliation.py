"""/v1/reconciliation: how ends were learnt, which callbacks never came, what it cost."""

from datetime import UTC, datetime

from starlette.requests import Request
from starlette.responses import Response

from service import reconciliation
from service.web.access import field_fault, need, page_limit
from service.web.answers import json_answer


async def page(request: Request) -> Response:
    """Of an app's jobs; of every app's for a key that sees them."""
    who = await need(request, "read", "operate")
    for name in request.query_params:
        if name not in reconciliation.FILTERS:
            options = ", ".join(reconciliation.FILTERS)
            raise field_fault(name[:64], f"is no filter; there are {options}")
    asked = reconciliation.wanted(request.query_params, datetime.now(UTC))
    limit = page_limit(request)
    found = await reconciliation.read(request.state.db, who.sees, asked, limit=limit)
    return json_answer(found)
