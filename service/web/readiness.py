"""`/healthz` and `/readyz`: is the process there, does the database answer, and, where somebody
asks for more, is it set up well."""

from starlette.requests import Request
from starlette.responses import Response

from service import providers
from service.checks import Check
from service.errors import DatabaseAway
from service.web.answers import json_answer


async def healthz(request: Request) -> Response:
    """The process answers."""
    return json_answer({"status": "ok"})


async def readyz(request: Request) -> Response:
    """The database answers too. With `?verbose` in the query, what else was looked at; the
    status goes by the database alone."""
    database = await _database(request)
    body: dict[str, object] = {"status": "ok" if database.ok else "the database is away"}
    if "verbose" in request.query_params:
        checks = [database, request.state.probe.check(), *_providers(request)]
        body["checks"] = [check.as_dict() for check in checks]
    return json_answer(body, status=200 if database.ok else 503)


async def _database(request: Request) -> Check:
    try:
        await request.state.db.ping()
    except DatabaseAway as fault:
        cure = "start Postgres, or correct DATABASE_URL"
        return Check(check="database", ok=False, detail=str(fault), cure=cure)
    return Check(check="database", ok=True, detail="it answers")


def _providers(request: Request) -> list[Check]:
    """Each provider there is; one that is off is no fault."""
    configured = request.state.creator.providers
    return [
        Check(
            check=f"provider {name}",
            ok=True,
            detail="configured" if name in configured else "off, without a key",
        )
        for name in providers.names()
    ]
