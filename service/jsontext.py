"""JSON in and out: orjson where it is exact, the standard library where it is not.

orjson rounds whole numbers past 64 bits to floats and refuses lone surrogates, both of which
providers and apps may send and must get back as they were; and it writes NaN as null.
"""

import json
from dataclasses import fields, is_dataclass
from datetime import datetime
from typing import Any

import orjson

_DIGITS_AS_ZERO = bytes.maketrans(b"123456789", b"000000000")
_MAY_NOT_FIT = b"0" * 19  # a number of so many digits may be past 64 bits
_FINITE = frozenset({str, int, bool, type(None)})
# orjson writes 254 levels, and what came from outside is shown a few levels further down.
RECEIVED_LEVELS = 200


def loads(text: bytes | str) -> Any:
    """The value in `text` (UTF-8 where it is bytes). Raises ValueError where it is not JSON: NaN,
    Infinity and numbers past a double's range are not, nor is nesting past some hundred levels."""
    raw = text.encode(errors="surrogatepass") if isinstance(text, str) else text
    if _MAY_NOT_FIT not in raw.translate(_DIGITS_AS_ZERO):
        try:
            return orjson.loads(raw)
        except orjson.JSONDecodeError:
            pass
    plain = text if isinstance(text, str) else text.decode("utf-8-sig")
    try:
        return json.loads(plain, parse_constant=_refuse, parse_float=_finite)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def received(text: bytes | str) -> Any:
    """The value in what somebody outside sent. As `loads`, and a ValueError too where it is nested
    past RECEIVED_LEVELS: what we keep must be readable wherever it is shown."""
    value = loads(text)
    raw = text.encode(errors="surrogatepass") if isinstance(text, str) else text
    if len(raw) <= 2 * RECEIVED_LEVELS:  # each level opens and closes
        return value
    if raw.count(b"[") + raw.count(b"{") > RECEIVED_LEVELS and is_deeper(value, RECEIVED_LEVELS):
        raise ValueError("nested too deeply")
    return value


def is_deeper(value: Any, levels: int) -> bool:
    """Whether lists and objects stand more than `levels` deep in `value`."""
    level = _parts([value])
    for _ in range(levels):
        level = [inner for one in level for inner in _parts(one)]
        if not level:
            return False
    return True


def _parts(value: Any) -> list[Any]:
    """The lists and objects directly in one."""
    inside = value.values() if isinstance(value, dict) else value
    return [one for one in inside if isinstance(one, dict | list)]


# JSON text from `dumps`, or from Postgres, that goes into a larger one as it stands.
Written = orjson.Fragment


def joined(value: Any) -> str:
    """`value` as JSON text where all that `dumps` takes care with is Written already."""
    return orjson.dumps(value).decode()


def moment(utc: datetime) -> str:
    """A time in UTC as RFC 3339 has it: a third of what isoformat takes."""
    return orjson.dumps(utc, option=orjson.OPT_UTC_Z)[1:-1].decode()


def dumps(value: Any) -> str:
    """`value` as JSON text; times, UUIDs, enumerations and dataclasses as orjson writes them.

    Raises TypeError or ValueError where it has none, as NaN and the infinities have none.
    """
    try:
        text = orjson.dumps(value)
    except TypeError:
        return _dumps_exactly(value)
    if b"null" in text and _has_nonfinite(value):
        raise ValueError("NaN and the infinities are not JSON")
    return text.decode()


def _dumps_exactly(value: Any) -> str:
    try:
        return json.dumps(value, allow_nan=False, separators=(",", ":"), default=_as_orjson_does)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _has_nonfinite(value: Any) -> bool:
    """Whether NaN or an infinity is anywhere in `value`, which orjson has just written."""
    parts = [value]
    for part in parts:
        if type(part) in _FINITE:
            continue
        if isinstance(part, float):
            if part - part != 0:
                return True
        elif isinstance(part, dict):
            parts.extend(part.values())
        elif isinstance(part, list | tuple):
            parts.extend(part)
        elif is_dataclass(part):
            parts.extend(getattr(part, field.name) for field in fields(part))
    return False


def _as_orjson_does(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    return orjson.loads(orjson.dumps(value))


def canonical(value: Any) -> str:
    """`value` as JSON text in its one spelling: keys sorted, ASCII only."""
    return json.dumps(value, allow_nan=False, separators=(",", ":"), sort_keys=True)


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if number - number != 0:
        raise ValueError("a number is past a double's range")
    return number
