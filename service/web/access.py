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
    Unauthorized,
    UnsupportedMedia,
)
from service.store import access
from service.store.access import Access

MOST_PER_PAGE = 200
DEFAULT_PER_PAGE = 50
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


async def json_body(request: Request, model: type[Model]) -> Model:
    """The body as `model`. Raises NotJson, UnsupportedMedia, InvalidRequest naming each field."""
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip()
    if kind.lower() != "application/json":
        raise UnsupportedMedia("send application/json", code="unsupported_media_type")
    try:
        value = jsontext.loads(await request.body())
    except ValueError:
        raise NotJson("the body is not JSON") from None
    try:
        return model.model_validate(value)
    except ValidationError as fault:
        raise invalid(fault) from None


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
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= MOST_PER_PAGE:
        raise field_fault("limit", f"must be a whole number from 1 to {MOST_PER_PAGE}")
    return int(text)


def page_of(rows: list[dict[str, Any]], limit: int) -> dict[str, Any]:
    """A page of a list that was asked for one more than `limit`: `next` is the last id shown."""
    shown = rows[:limit]
    return {"data": shown, "next": shown[-1]["id"] if len(rows) > limit else None}
