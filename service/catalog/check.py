"""Checks and prices what an app wants of a model, before anything is stored or spent."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from service.catalog.model import Currency, Model, has
from service.catalog.params import merged
from service.catalog.price import estimate
from service.catalog.schema import faults, unknown
from service.errors import FieldFault, InvalidRequest
from service.job import ErrorCode


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A good request: the input as it is sent, what the app should know, and what it will cost.

    `estimate` is in `currency`; None where nobody can say. `upper_bound`: it may cost less.
    """

    input: dict[str, Any]
    warnings: tuple[str, ...] = ()
    estimate: Decimal | None = None
    currency: Currency | None = None
    upper_bound: bool = False


def check(
    model: Model, given: Mapping[str, Any], params: Mapping[str, Any], *, unlisted: bool = False
) -> Checked:
    """`given` with `params` in it, in the model's own spelling, held to its schema and priced.

    A field that the catalog does not know is refused, since a provider drops a misspelt one in
    silence and bills its default; `unlisted` lets it through with a warning, for the day a
    provider has more fields than this catalog. Raises InvalidRequest, whose `fields` name each
    fault under `input` or `params`.
    """
    put = merged(model, given, params)
    strangers = unknown(model, put.input)
    found = [*put.faults, *faults(model, put.input), *(() if unlisted else strangers)]
    if found:
        raise refusal(found)
    warnings = [one.say for one in model.warnings if has(put.input, one.when)]
    if model.retired_on is not None:
        when = f"the provider is reported to have retired this on {model.retired_on}"
        warnings.insert(0, when)
    warnings += [f"{_plain(one.field)} is not in the catalog; sent as it is" for one in strangers]
    priced = estimate(model, put.input)
    return Checked(
        input=put.input,
        warnings=tuple(warnings),
        estimate=priced.amount,
        currency=model.currency,
        upper_bound=priced.upper_bound,
    )


def _plain(name: str) -> str:
    """A field's name as text that can be stored and searched anywhere."""
    return name if name.isprintable() else ascii(name)[1:-1]


def refusal(found: list[FieldFault]) -> InvalidRequest:
    """The refusal of an input, led by its first fault."""
    return InvalidRequest(
        f"{found[0].field}: {found[0].message}",
        code=ErrorCode.INVALID_INPUT,
        fields=tuple(found),
    )
