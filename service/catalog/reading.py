"""Reads a provider's catalog file: TOML with definitions that its models share."""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from typing import Any

from jsonschema import Draft202012Validator, SchemaError
from pydantic import TypeAdapter, ValidationError

from service.catalog.model import Model, ProviderFacts
from service.errors import SettingInvalid

_MODEL = TypeAdapter(Model)
_CURRENCIES = (None, "USD", "credits")
_DEFS = "#/defs/"
_ANY_NAME = "*"
_FIELDS_OF_OURS = ("hook_field", "model_field")
_FROM_THE_FILE = ("provider", "currency", "open")
_DEEPEST = 20  # definitions within definitions: more are a circle


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """What one catalog file holds."""

    provider: str
    models: tuple[Model, ...]
    facts: ProviderFacts


def read(path: Traversable) -> File:
    """Raises SettingInvalid, which names the file and the key that is wrong.

    Beside `[[model]]` a file may hold `currency`, `hook_field`, `model_field`, `[open]` (a model
    without an id, which stands for every name not listed) and `[defs]`: a table
    `{"$ref" = "#/defs/name"}` anywhere in a model is that definition, with what stands beside the
    reference put over it.
    """
    told = _toml(path)
    defs = told.pop("defs", {})
    rows, other = told.pop("model", []), told.pop("open", None)
    currency = told.pop("currency", None)
    ours = {name: told.pop(name, None) for name in _FIELDS_OF_OURS}
    if told:
        raise SettingInvalid(path.name, f"{sorted(told)[0]}: is not known here")
    if not isinstance(rows, list):
        raise SettingInvalid(path.name, "model: must be [[model]] tables")
    if currency not in _CURRENCIES:
        raise SettingInvalid(path.name, "currency: must be USD or credits")
    for name, field in ours.items():
        if not isinstance(field, str | None):
            raise SettingInvalid(path.name, f"{name}: must be the name of a field")
    models = tuple(_models(path, rows, defs, currency))
    stand_in = None
    if other is not None:
        row = {**other, "id": _ANY_NAME} if isinstance(other, dict) else other
        stand_in = _model(path, "[open]", row, defs, {"currency": currency, "open": True})
    every = (*models, *(() if stand_in is None else (stand_in,)))
    facts = ProviderFacts(
        currency=currency,
        **ours,
        secret_fields=frozenset().union(*(model.secret_fields for model in every)),
        open=stand_in,
    )
    return File(provider=_provider(path), models=models, facts=facts)


def _provider(path: Traversable) -> str:
    return path.name.removesuffix(".toml")


def _toml(path: Traversable) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as fault:  # TOML's own, or bytes that are not UTF-8
        raise SettingInvalid(path.name, f"is not TOML: {fault}") from None


def _models(
    path: Traversable, rows: list[Any], defs: Mapping[str, Any], currency: str | None
) -> Iterator[Model]:
    seen: set[str] = set()
    for number, row in enumerate(rows, start=1):
        model = _model(path, f"[[model]] {number}", row, defs, {"currency": currency})
        if model.id in seen:
            raise SettingInvalid(path.name, f"[[model]] {number}: id: {model.id} is there twice")
        seen.add(model.id)
        yield model


def _model(
    path: Traversable, where: str, row: Any, defs: Mapping[str, Any], more: Mapping[str, Any]
) -> Model:
    if not isinstance(row, dict):
        raise SettingInvalid(path.name, f"{where}: must be a table")
    for name in _FROM_THE_FILE:
        if name in row:
            raise SettingInvalid(path.name, f"{where}: {name}: is the whole file's, not a model's")
    try:
        model = _MODEL.validate_python(
            {**_resolved(row, defs), **more, "provider": _provider(path)}
        )
        Draft202012Validator.check_schema(model.input_schema or {})
    except ValidationError as fault:
        first = fault.errors(include_input=False, include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        raise SettingInvalid(path.name, f"{where}: {key}: {first['msg']}") from None
    except SchemaError as fault:
        key = ".".join(str(part) for part in ("input_schema", *fault.absolute_path))
        raise SettingInvalid(path.name, f"{where}: {key}: {fault.message}") from None
    except LookupError as fault:
        raise SettingInvalid(path.name, f"{where}: {fault.args[0]}") from None
    return model


def _resolved(value: Any, defs: Mapping[str, Any], depth: int = 0) -> Any:
    """`value` with each reference to a definition replaced by it. Raises LookupError."""
    if isinstance(value, list):
        return [_resolved(one, defs, depth) for one in value]
    if not isinstance(value, dict):
        return value
    inside = {name: _resolved(one, defs, depth) for name, one in value.items()}
    named = inside.pop("$ref", None)
    if named is None:
        return inside
    name = str(named).removeprefix(_DEFS)
    if not isinstance(defs.get(name), dict) or depth > _DEEPEST:
        raise LookupError(f"$ref: {named} is no definition of this file")
    return {**_resolved(defs[name], defs, depth + 1), **inside}
