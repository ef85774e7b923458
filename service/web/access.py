"""Who asks, and the reading of what they ask: keys, scopes, JSON bodies, query values."""

from typing import Any, TypeVar
from uuid import UUID

from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from service import ids, jsontext
from service.errors import (
    FieldFault,
    Forbidden,
    InvalidRequest,
    NotFound,
    NotJson,
    PayloadTooLarge,
    Unauthorized,
    UnsupportedMedia,
)
from service.store import access
from service.store.access import Access

MOST_PER_PAGE = 200
DEFAULT_PER_PAGE = 50
MOST_LEVELS = 100  # of nesting: far more than any model takes, far less than any reader trips on
Model = TypeVar("Model", bound=BaseModel)


async def need(request: Request, *scopes: str) -> Access:
    """Whose key it is; one of `scopes` must be among the key's. Raises Unauthorized, Forbidden."""
    kind, _, key = request.headers.get("authorization", "").partition(" ")
    if kind.lower() != "bearer" or not key:
        raise Unauthorized("send your key as Authorization: Bearer cb_…", code="unauthorized")
    found = await access.find(request.state.db, key.strip())
    if found is None:
        raise Unauthorized("this key is unknown or revoked", code="unauthorized")
    if not found.scopes & set(scopes):
        wanted = " or ".join(scopes)
        raise Forbidden(f"this needs a key with the scope {wanted}", code="forbidden")
    return found


async def json_body(
    request: Request, model: type[Model], *, most: int, may_be_empty: bool = False
) -> Model:
    """The body, of at most `most` bytes, as `model`. `may_be_empty`: none stands for `{}`.

    Raises UnsupportedMedia, PayloadTooLarge, NotJson, and InvalidRequest naming each field.
    """
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip()
    if kind.lower() != "application/json":
        raise UnsupportedMedia("send application/json", code="unsupported_media_type")
    try:
        body = await _body(request, most)
        value = jsontext.loads(b"{}" if may_be_empty and not body else body)
    except ValueError:
        raise NotJson("the body is not JSON") from None
    _not_too_deep(value)
    try:
        return model.model_validate(value)
    except ValidationError as fault:
        raise invalid(fault) from None


async def _body(request: Request, most: int) -> bytes:
    """The whole body, counted while it streams, whatever length it was said to have."""
    parts = bytearray()
    async for part in request.stream():
        parts += part
        if len(parts) > most:
            raise PayloadTooLarge(f"the body is over {most} bytes", code="payload_too_large")
    return bytes(parts)


def _not_too_deep(value: Any) -> None:
    """Raises InvalidRequest, naming the field that holds more than MOST_LEVELS levels: it must be
    readable wherever it is shown, however deep in a call that is."""
    for name, part in value.items() if isinstance(value, dict) else ():
        if jsontext.is_deeper(part, MOST_LEVELS):
            raise field_fault(name[:64], f"is nested deeper than {MOST_LEVELS} levels")


def invalid(fault: ValidationError) -> InvalidRequest:
    """Each wrong field, dotted, with what is wrong and what would be right."""
    fields = tuple(
        FieldFault(
            ".".join(str(part) for part in one["loc"]) or "body",
            one["msg"].removeprefix("Value error, "),
        )
        for one in fault.errors(include_url=False, include_input=False, include_context=False)
    )
    return InvalidRequest(f"{fields[0].field}: {fields[0].message}", fields=fields)


def field_fault(field: str, message: str) -> InvalidRequest:
    """One wrong field or query value."""
    return InvalidRequest(f"{field}: {message}", fields=(FieldFault(field, message),))


def path_id(request: Request, prefix: str) -> UUID:
    """The id in the path. Raises NotFound where it is not one of ours at all."""
    found = ids.read(prefix, request.path_params["id"])
    if found is None:
        raise NotFound(f"there is no such {request.path_params['id']}"[:200], code="not_found")
    return found


def page_limit(request: Request) -> int:
    """`limit`, 1 to 200."""
    text = request.query_params.get("limit", str(DEFAULT_PER_PAGE))
    digits = text.lstrip("0")
    plain = text.isascii() and text.isdigit() and len(digits) <= len(str(MOST_PER_PAGE))
    if not plain or not 1 <= int(digits or "0") <= MOST_PER_PAGE:
        raise field_fault("limit", f"must be a whole number from 1 to {MOST_PER_PAGE}")
    return int(digits)


def page_of(rows: list[dict[str, Any]], limit: int) -> dict[str, Any]:
    """A page of a list that was asked for one more than `limit`: `next` is the last id shown."""
    shown = rows[:limit]
    return {"data": shown, "next": shown[-1]["id"] if len(rows) > limit else None}
