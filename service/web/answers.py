"""JSON answers, written exactly: what an app or a provider once sent goes out as it came in."""

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from service import jsontext


def json_answer(
    value: Any,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    media_type: str = "application/json",
) -> Response:
    """`value` as an answer. Starlette's own refuses the lone surrogates that providers send."""
    return Response(
        jsontext.dumps(value), status_code=status, headers=headers, media_type=media_type
    )
