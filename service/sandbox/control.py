"""`/control`: what the sandbox was told, what it accepted, and how to tell it otherwise."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service import jsontext
from service.errors import InvalidRequest
from service.sandbox.options import changed
from service.sandbox.state import Sandbox


def routes(sandbox: Sandbox) -> list[Route]:
    """GET answers the options, each job and the totals; PUT changes options for later jobs."""

    async def show(_: Request) -> Response:
        return _json(200, {"options": sandbox.options.shown(), **sandbox.ledger.as_dict()})

    async def change(request: Request) -> Response:
        try:
            given = _parsed(await request.body())
            sandbox.options = changed(sandbox.options, given)
        except InvalidRequest as fault:
            return _refusal(fault)
        return _json(200, {"options": sandbox.options.shown()})

    return [Route("/control", show), Route("/control", change, methods=["PUT"])]


def _parsed(body: bytes) -> Any:
    try:
        return jsontext.loads(body)
    except ValueError:
        raise InvalidRequest("The body is not JSON.") from None


def _refusal(fault: InvalidRequest) -> Response:
    errors = [{"field": wrong.field, "message": wrong.message} for wrong in fault.fields]
    problem = {"title": fault.message, "status": 422, "code": fault.code, "errors": errors}
    return _json(422, problem, "application/problem+json")


def _json(status: int, value: Any, media_type: str = "application/json") -> Response:
    return Response(jsontext.dumps(value), status, media_type=media_type)
