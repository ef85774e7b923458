"""What every pretend provider does with a request: asks for a key, reads a body, answers."""

import hmac
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from service import jsontext
from service.sandbox.cut import cut
from service.sandbox.fates import Fate
from service.sandbox.options import Misbehaviour


def json(code: int, value: Any, headers: Mapping[str, str] | None = None) -> Response:
    """`value` as a JSON reply."""
    return Response(jsontext.dumps(value), code, headers, media_type="application/json")


def is_keyed(request: Request, scheme: str, wanted: str | None) -> bool:
    """Whether a request carries a key under `scheme`: `wanted`, or any where that is None."""
    given, _, key = request.headers.get("authorization", "").partition(" ")
    if given.lower() != scheme.lower() or not key.strip():
        return False
    return wanted is None or hmac.compare_digest(key.strip().encode(), wanted.encode())


def object_in(body: bytes) -> dict[str, Any] | None:
    """The JSON object that a body is, or None."""
    try:
        value = jsontext.loads(body)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def or_cut(reply: Response, fate: Fate) -> ASGIApp:
    """The reply to an accepted submission, or a cut connection where that is its fate."""
    if Misbehaviour.DROP_SUBMIT_REPLY in fate:
        return cut(reply, midway=fate.second_kind(Misbehaviour.DROP_SUBMIT_REPLY))
    return reply
