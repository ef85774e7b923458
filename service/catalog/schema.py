"""Holds an input to its model's schema, and says what is wrong in words for whoever sent it."""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any, cast

from jsonschema import Draft202012Validator, ValidationError

from service import jsontext
from service.catalog.model import Model
from service.errors import FieldFault

MOST_FAULTS = 20
_SHOWN_CHARACTERS = 40
_KINDS = {
    "string": "a string",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "an object",
}


def faults(model: Model, given: Mapping[str, Any]) -> list[FieldFault]:
    """What in `given` the model does not take, unknown fields aside; at most MOST_FAULTS."""
    found: dict[FieldFault, None] = {}  # each once: jsonschema tells of every missing field apart
    for error in Draft202012Validator(model.input_schema or {}).iter_errors(given):
        if error.validator != "additionalProperties" or error.absolute_path:
            found.update(dict.fromkeys(_read(model, error)))
        if len(found) >= MOST_FAULTS:
            break
    return list(found)[:MOST_FAULTS]


def unknown(model: Model, given: Mapping[str, Any]) -> list[FieldFault]:
    """The fields of `given` that are none of the model's; at most MOST_FAULTS."""
    if (model.input_schema or {}).get("additionalProperties", True):
        return []
    extra = [name for name in given if name not in model.properties]
    return [_stranger("input", name, list(model.properties)) for name in extra[:MOST_FAULTS]]


def allowed(schema: Mapping[str, Any]) -> str:
    """What a field may be: `"4s", "6s" or "8s"`, else its kind."""
    if "enum" in schema:
        return listed(schema["enum"])
    if "const" in schema:
        return shown(schema["const"])
    return _KINDS.get(schema.get("type", ""), "anything")


def listed(values: list[Any]) -> str:
    """`"4s", "6s" or "8s"`."""
    texts = [shown(value) for value in values]
    return f"{', '.join(texts[:-1])} or {texts[-1]}" if len(texts) > 1 else "".join(texts)


def shown(value: Any) -> str:
    """A value as a message shows it: short, whatever it is."""
    if isinstance(value, str):
        long = len(value) > _SHOWN_CHARACTERS
        return jsontext.dumps(value[:_SHOWN_CHARACTERS] + "…" if long else value)
    if isinstance(value, list | dict):
        return f"{_KINDS['array' if isinstance(value, list) else 'object']} of {len(value)}"
    return jsontext.dumps(value)[:_SHOWN_CHARACTERS]


def _read(model: Model, error: ValidationError) -> Iterator[FieldFault]:
    where = ".".join(("input", *(str(part)[:64] for part in error.absolute_path)))
    schema = error.schema if isinstance(error.schema, dict) else {}
    rule, instance = cast(Any, error.validator_value), cast(Any, error.instance)
    if "dependentSchemas" in error.absolute_schema_path:
        path = list(error.absolute_schema_path)
        trigger = path[path.index("dependentSchemas") + 1]
        yield FieldFault(f"{where}.{trigger}", schema.get("description", "lacks what it needs"))
    elif error.validator == "required":
        for name in rule:
            if name not in instance:
                yield FieldFault(f"{where}.{name}", "is required")
    elif error.validator == "additionalProperties":
        names = list(schema.get("properties", {}))
        for name in instance:
            if name not in names:
                yield _stranger(where, name, names)
    else:
        secret = set(error.absolute_path) & model.secret_fields
        given = "" if secret else f"{shown(instance)} is not possible: "
        why = f" ({schema['description']})" if "description" in schema else ""
        yield FieldFault(where, f"{given}{_demand(error, schema)}{why}")


def _demand(error: ValidationError, schema: Mapping[str, Any]) -> str:
    rule = error.validator_value
    match error.validator:
        case "type" | "enum" | "const":
            return f"must be {allowed(schema)}"
        case "maxItems":
            return f"at most {rule} of them"
        case "minItems":
            return f"at least {rule} of them"
        case "maximum":
            return f"at most {rule}"
        case "minimum":
            return f"at least {rule}"
        case "exclusiveMinimum":
            return f"must be more than {rule}"
    return f"breaks the rule {error.validator} {shown(rule)}"


def _stranger(where: str, name: str, names: list[str]) -> FieldFault:
    near = get_close_matches(name[:64], names, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    takes = f"it takes {', '.join(names)}" if names else "it takes none"
    return FieldFault(f"{where}.{name[:64]}", f"is no field of this model: {hint}{takes}")
