"""A model as the API and the command show it."""

from collections.abc import Mapping
from typing import Any

from service.catalog.model import Model, Price
from service.catalog.params import possible

_LIMITS = {
    "minItems": "at least {} of them",
    "maxItems": "at most {} of them",
    "minimum": "at least {}",
    "maximum": "at most {}",
    "exclusiveMinimum": "more than {}",
}


def shown(model: Model, configured: bool) -> dict[str, Any]:
    """A model with what it takes and costs; `configured`: its provider has a key here.

    `params` says for each of ours which field it becomes and which values it can be (null: any
    that the field's schema takes), `limits` in words what the schema holds a field to, `price` the
    rows that price a job (null: nobody prints one).
    """
    return {
        "id": model.id,
        "provider": model.provider,
        "category": model.category,
        "input_schema": model.input_schema,
        "defaults": model.defaults,
        "params": {
            name: {"field": param.field, "values": possible(model, param)}
            for name, param in model.params.items()
        },
        "price": _price(model.price, model.currency),
        "limits": _limits(model.input_schema or {}),
        "typical_seconds": model.typical_seconds,
        "retired_on": None if model.retired_on is None else model.retired_on.isoformat(),
        "configured": configured,
    }


def _price(price: Price | None, currency: str | None) -> dict[str, Any] | None:
    if price is None:
        return None
    return {
        "currency": currency,
        "rows": [{"amount": f"{row.amount:f}", "when": dict(row.when)} for row in price.rows],
        "upper_bound_when": dict(price.undecided),
        "free_with": price.free_with,
    }


def _limits(schema: Mapping[str, Any]) -> dict[str, str]:
    """Beside the types and the enumerations, what a field is held to."""
    needs = schema.get("dependentSchemas", {})
    found = {}
    for name, one in schema.get("properties", {}).items():
        words = [text.format(one[rule]) for rule, text in _LIMITS.items() if rule in one]
        words += [needs[name].get("description", "")] if name in needs else []
        found[name] = "; ".join(words)
    return {name: words for name, words in found.items() if words}
