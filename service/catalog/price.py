"""What a render will cost, from the rows that its provider prints."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from service.catalog.model import Model, Price, PriceRow, same


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """An amount in the model's currency; None where no row is about this input. `upper_bound`:
    the provider decides something that the price hangs on, and it is no more than this."""

    amount: Decimal | None = None
    upper_bound: bool = False


def estimate(model: Model, given: Mapping[str, Any]) -> Estimate:
    """The price of `given`, the provider's defaults standing for what it leaves out."""
    price = model.price
    if price is None:
        return Estimate()
    if price.free_with is not None and given.get(price.free_with):
        return Estimate(amount=Decimal(0))
    whole = {**model.defaults, **given}
    undecided = {
        name: value
        for name, value in price.undecided.items()
        if name in whole and same(whole[name], value)
    }
    settled = {name: value for name, value in whole.items() if name not in undecided}
    amounts = [row.amount for row in price.rows if _fits(row, settled, undecided)]
    if not amounts:
        return Estimate()
    return Estimate(amount=max(amounts), upper_bound=_hangs_on(price, undecided))


def _fits(row: PriceRow, settled: Mapping[str, Any], undecided: Mapping[str, Any]) -> bool:
    return all(
        name in undecided or (name in settled and same(settled[name], value))
        for name, value in row.when.items()
    )


def _hangs_on(price: Price, undecided: Mapping[str, Any]) -> bool:
    return any(name in undecided for row in price.rows for name in row.when)
