"""Normalised params, put into a model's input in the model's own spelling."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

from jsonschema import Draft202012Validator

from service.catalog.model import Model, Param, ParamName, same
from service.catalog.schema import allowed, listed, shown
from service.errors import FieldFault

NAMES: tuple[ParamName, ...] = get_args(ParamName)
_NUMBERS = ("duration_seconds", "fps")
_FLAGS = ("generate_audio",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """An input with the params in it, and what was wrong with those that are not."""

    input: dict[str, Any]
    faults: list[FieldFault]


class _Impossible(Exception):
    """A param that cannot be put into the input; its text says why."""


def merged(model: Model, given: Mapping[str, Any], params: Mapping[str, Any]) -> Merged:
    """`given` with `params` in the model's own fields and spelling.

    A param that the model lacks, a value that it cannot do and a value that differs from what
    `given` says are faults that say what it can; nothing is ever changed or rounded.
    """
    result, faults = dict(given), []
    for name, value in params.items():
        try:
            _put(model, result, name, value)
        except _Impossible as fault:
            faults.append(FieldFault(f"params.{name[:64]}", str(fault)))
    return Merged(input=result, faults=faults)


def possible(model: Model, param: Param) -> list[Any] | None:
    """Our values of a param that the model can do; None where they are not a list."""
    if param.values:
        return [ours for ours, _ in param.values]
    enum: list[Any] | None = _schema_of(model, param.field).get("enum")
    return None if param.template else enum


def _put(model: Model, into: dict[str, Any], name: str, value: Any) -> None:
    param = next((one for known, one in model.params.items() if known == name), None)
    if param is None:
        has = ", ".join(model.params) or "none"
        what = "is not among this model's params" if name in NAMES else "is no param"
        raise _Impossible(f"{what}; there are: {has}")
    spelled = _spelled(model, name, param, value)
    *outer, last = param.field.split(".")
    for step in outer:
        inner = into.get(step, {})
        if not isinstance(inner, dict):
            return  # the schema says what is wrong with it
        into[step] = into = dict(inner)
    if last in into and not same(into[last], spelled):
        raise _Impossible(
            f"is {shown(spelled)} to this model, and input.{param.field} says"
            f" {shown(into[last])}: say it once, or say the same; {_can(model, param)}"
        )
    into[last] = spelled


def _spelled(model: Model, name: str, param: Param, value: Any) -> Any:
    """The model's own word for a value. Raises _Impossible."""
    _typed(name, value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    choices = list(param.values) or [(one, one) for one in possible(model, param) or ()]
    for ours, own in choices:
        if same(_folded(ours), _folded(value)):
            return own
    spelled = param.template.format(value) if param.template else value
    if choices or not Draft202012Validator(_schema_of(model, param.field)).is_valid(spelled):
        raise _Impossible(f"{shown(value)} is not possible: {_can(model, param)}")
    return spelled


def _typed(name: str, value: Any) -> None:
    """Raises _Impossible where a value is of no kind that this param can be."""
    if name in _FLAGS:
        good, kind = isinstance(value, bool), "true or false"
    elif name in _NUMBERS:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        good, kind = number and value > 0, "a number above 0"
    else:
        good, kind = isinstance(value, str), "text"
    if not good:
        raise _Impossible(f"{shown(value)} is not possible: must be {kind}")


def _folded(value: Any) -> Any:
    return value.casefold() if isinstance(value, str) else value


def _can(model: Model, param: Param) -> str:
    values = possible(model, param)
    if values is not None:
        return f"it can be {listed(values)}"
    return f"it can be {allowed(_schema_of(model, param.field))}"


def _schema_of(model: Model, dotted: str) -> Mapping[str, Any]:
    """The schema of a field of the input; empty where there is none."""
    schema: Mapping[str, Any] = model.input_schema or {}
    for part in dotted.split("."):
        schema = schema.get("properties", {}).get(part, {})
    return schema
