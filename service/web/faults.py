"""Which answer each failure is, as `application/problem+json` (RFC 9457)."""

from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Match

from service.errors import (
    CallboardError,
    Conflict,
    DatabaseAway,
    Forbidden,
    InvalidRequest,
    NotFound,
    NotJson,
    PayloadTooLarge,
    RequestFault,
    Unauthorized,
    Unavailable,
    UnsupportedMedia,
)
from service.web.answers import json_answer

STATUS: dict[type[CallboardError], int] = {
    NotJson: 400,
    InvalidRequest: 422,
    Unauthorized: 401,
    Forbidden: 403,
    NotFound: 404,
    Conflict: 409,
    PayloadTooLarge: 413,
    UnsupportedMedia: 415,
    Unavailable: 503,
}
# What Starlette itself refuses, in our words.
CODES = {
    404: "not_found",
    405: "invalid_request",
}


def problem(request: Request, status: int, fault: RequestFault) -> Response:
    """The problem document of one fault."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "status": status,
        "code": fault.code,
        "detail": fault.message,
        "retryable": fault.retryable,
        "charged": fault.charged,
        "request_id": request.scope.get("callboard.request_id"),
    }
    if fault.fields:
        body["errors"] = [{"field": one.field, "message": one.message} for one in fault.fields]
    headers = {} if fault.retry_after is None else {"retry-after": str(fault.retry_after)}
    if status == 401:
        headers["www-authenticate"] = "Bearer"
    return json_answer(body, status=status, headers=headers, media_type="application/problem+json")


async def of_ours(request: Request, fault: Exception) -> Response:
    """A RequestFault, by the nearest class in STATUS."""
    assert isinstance(fault, RequestFault)
    status = next(STATUS[kind] for kind in type(fault).__mro__ if kind in STATUS)
    return problem(request, status, fault)


async def of_starlette(request: Request, fault: Exception) -> Response:
    """What routing refuses. Starlette's own Allow names the methods of one route only."""
    assert isinstance(fault, HTTPException)
    code = CODES.get(fault.status_code, "invalid_request")
    answer = problem(request, fault.status_code, RequestFault(str(fault.detail), code=code))
    answer.headers.update(fault.headers or {})
    if fault.status_code == 405:
        answer.headers["allow"] = ", ".join(sorted(_methods(request)))
    return answer


def _methods(request: Request) -> set[str]:
    """What the path of this request may be asked with."""
    here = [one for one in request.app.routes if one.matches(request.scope)[0] is not Match.NONE]
    return {method for route in here for method in route.methods}


async def of_caller_gone(request: Request, fault: Exception) -> Response:
    """The caller went away before its body ended: nobody hears this."""
    return problem(request, 400, RequestFault("the body did not end"))


async def of_database(request: Request, fault: Exception) -> Response:
    """The database is away: nothing was lost, and nothing was charged by this request."""
    away = RequestFault("the database is away", code="unavailable", retryable=True, retry_after=5)
    return problem(request, 503, away)


async def of_anything(request: Request, fault: Exception) -> Response:
    """A fault of ours: the caller learns its request id, the log everything else."""
    unknown = RequestFault(
        "something went wrong here; the log has it under this request id",
        code="internal",
        retryable=True,
        charged="unknown",
    )
    return problem(request, 500, unknown)


HANDLERS: dict[int | type[Exception], Any] = {
    RequestFault: of_ours,
    HTTPException: of_starlette,
    DatabaseAway: of_database,
    ClientDisconnect: of_caller_gone,
    Exception: of_anything,
}
