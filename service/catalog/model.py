"""What the catalog knows of a model: its input, its params, its price, and what to warn of."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, Strict, StringConstraints

Text = Annotated[str, StringConstraints(strict=True, pattern=r"^\S+$")]
Currency = Literal["USD", "credits"]
ParamName = Literal["duration_seconds", "aspect_ratio", "resolution", "generate_audio", "fps"]
_Day = Annotated[date, Strict()]
_Seconds = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]
_STRICT = ConfigDict(extra="forbid")


def _text(value: Any) -> Any:
    if not isinstance(value, str):
        raise ValueError('must be text, as "0.20": a TOML float is not exact')
    return value


def _one_number(value: str) -> str:
    if value.count("{}") != 1:
        raise ValueError('must have one {}, as "{}s"')
    return value


_Amount = Annotated[Decimal, BeforeValidator(_text), Field(ge=0, allow_inf_nan=False)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Param:
    """How a model spells a normalised param: in which `field` of its input (dotted), and how.

    `values` are pairs of ours and its own; `template` takes a number, as `{}s`; with neither the
    value goes in as it is, and the input's schema says what it may be.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    field: Text
    values: tuple[tuple[Any, Any], ...] = ()
    template: Annotated[str, AfterValidator(_one_number)] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceRow:
    """What one render costs where its input, defaults included, has all of `when`."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    amount: _Amount
    when: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """A model's prices. A field in `undecided` with just that value leaves the choice to the
    provider: the dearest row that is then possible is an upper bound. With a `free_with` of the
    caller's own in the input the provider bills nothing."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    rows: tuple[PriceRow, ...]
    undecided: dict[str, Any] = field(default_factory=dict)
    free_with: Text | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Warn:
    """What an app should know where its input has all of `when`."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    when: dict[str, Any]
    say: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One model of one provider.

    `typical_seconds` is how long a render usually takes, `deadline_seconds` how long after its
    POST it is due (None: the service's default), `retired_on` the day the provider shut it down.
    `input_schema` is JSON Schema 2020-12 (None: nothing is known of its input); its defaults are
    the provider's, price a job, and are never sent. `price` None: nobody prints one. `open`: the
    catalog does not list it, and its provider takes any name.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    provider: Text
    id: Text
    category: Text
    typical_seconds: _Seconds
    deadline_seconds: _Seconds | None = None
    retired_on: _Day | None = None
    input_schema: dict[str, Any] | None = None
    params: dict[ParamName, Param] = field(default_factory=dict)
    price: Price | None = None
    currency: Currency | None = None
    warnings: tuple[Warn, ...] = ()
    open: bool = False

    @property
    def properties(self) -> Mapping[str, Mapping[str, Any]]:
        """The schema of each field of its input; empty where none is known."""
        found: Mapping[str, Mapping[str, Any]] = (self.input_schema or {}).get("properties", {})
        return found

    @property
    def defaults(self) -> dict[str, Any]:
        """What the provider takes for a field that the input leaves out."""
        return {
            name: schema["default"]
            for name, schema in self.properties.items()
            if "default" in schema
        }

    @property
    def secret_fields(self) -> frozenset[str]:
        """The fields of its input that are nobody else's business (`writeOnly`)."""
        return frozenset(
            name for name, schema in self.properties.items() if schema.get("writeOnly")
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderFacts:
    """What holds for every model of a provider, listed or not.

    `hook_field`: the field of its request that is a callback address, `model_field`: the one that
    names the model; both are ours to fill, and an input's own are never forwarded.
    `secret_fields`: what any of its models takes in secret. `open`: the model that stands for
    every name its file does not list; None where it has none.
    """

    currency: Currency | None = None
    hook_field: str | None = None
    model_field: str | None = None
    secret_fields: frozenset[str] = frozenset()
    open: Model | None = None


def same(one: Any, other: Any) -> bool:
    """Whether two JSON values are equal, truth never being a number as Python has it."""
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def has(values: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether `values` has all of `wanted`."""
    return all(name in values and same(values[name], one) for name, one in wanted.items())
