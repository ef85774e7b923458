"""The catalog as a list for whoever asks: page by page, and one model by its name."""

from collections.abc import Collection, Mapping
from typing import Any

from service.catalog import Catalog
from service.catalog.showing import shown
from service.errors import FieldFault, InvalidRequest, NotFound


def page(
    catalog: Catalog, configured: Collection[str], query: Mapping[str, str], limit: int
) -> dict[str, Any]:
    """Up to `limit` models after the one that `after` names (`provider:id`, the `next` of an
    earlier page), of one `provider` or of all. Raises InvalidRequest."""
    provider, after = query.get("provider"), query.get("after")
    found = [one for one in catalog.models if provider in (None, one.provider)]
    places = [f"{one.provider}:{one.id}" for one in found]
    if after is not None and after not in places:
        raise _wrong("after", "must be the `next` of an earlier page")
    start = 0 if after is None else places.index(after) + 1
    end = start + limit
    return {
        "data": [shown(one, one.provider in configured) for one in found[start:end]],
        "next": places[end - 1] if end < len(found) else None,
    }


def one(
    catalog: Catalog, configured: Collection[str], model: str, provider: str | None
) -> dict[str, Any]:
    """A model by its name. Raises NotFound, and InvalidRequest where several providers have it and
    none is named."""
    found = catalog.find(model, provider)
    if not found:
        raise NotFound(f"the catalog has no model {model[:100]!r}", code="not_found")
    if len(found) > 1:
        raise _wrong("provider", f"say which one: {', '.join(one.provider for one in found)}")
    return shown(found[0], found[0].provider in configured)


def _wrong(field: str, problem: str) -> InvalidRequest:
    return InvalidRequest(f"{field}: {problem}", fields=(FieldFault(field, problem),))
