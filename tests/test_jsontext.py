"""JSON text: what comes in goes out as it was, whatever orjson thinks of it."""

import json
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as some

from service import jsontext
from service.job import State

# Any code point, lone surrogates and NUL too.
TEXT = some.text(some.characters(exclude_categories=()))
LEAVES = (
    some.none()
    | some.booleans()
    | some.integers()
    | some.integers(-(2**200), 2**200)
    | some.floats(allow_nan=False, allow_infinity=False)
    | TEXT
)
VALUES = some.recursive(
    LEAVES, lambda part: some.lists(part) | some.dictionaries(TEXT, part), max_leaves=20
)
NO_NUMBERS = [math.nan, math.inf, -math.inf]


def same(one: Any, other: Any) -> bool:
    """Equal in type too: 1 is not 1.0 and not True."""
    return repr(one) == repr(other)


@given(VALUES)
def test_a_value_comes_back_as_it_was(value: Any) -> None:
    assert same(jsontext.loads(jsontext.dumps(value)), value)


@given(VALUES)
def test_a_value_comes_back_from_bytes_as_it_was(value: Any) -> None:
    assert same(jsontext.loads(jsontext.dumps(value).encode()), value)


@given(VALUES)
def test_it_is_read_as_the_standard_library_reads_it(value: Any) -> None:
    text = json.dumps(value)
    assert same(jsontext.loads(text), json.loads(text))


@pytest.mark.parametrize("number", [2**63, -(2**63), 2**64 - 1, 2**64, -(2**63) - 1, 10**80])
def test_whole_numbers_past_64_bits_are_exact(number: int) -> None:
    text = f'{{"seed":{number}}}'
    assert same(jsontext.loads(text), {"seed": number})
    assert same(jsontext.loads(text.encode()), {"seed": number})
    assert jsontext.dumps({"seed": number}) == text


@pytest.mark.parametrize(
    "text", ['"\\ud800"', '"\\udfff x"', '"a\\u0000b"', '{"\\ud800":"\\u0000"}']
)
def test_lone_surrogates_and_nul_survive(text: str) -> None:
    assert jsontext.dumps(jsontext.loads(text)) == text
    assert jsontext.dumps(jsontext.loads(text.encode())) == text


def test_text_going_out_is_always_utf_8() -> None:
    assert jsontext.dumps(["é", "\ud800"]).encode() == b'["\\u00e9","\\ud800"]'


@pytest.mark.parametrize("number", NO_NUMBERS)
def test_what_is_no_number_is_not_written(number: float) -> None:
    @dataclass
    class Holder:
        held: float

    for value in (number, [number], {"a": {"b": (1, number)}}, [2**70, number], Holder(number)):
        with pytest.raises(ValueError, match="JSON"):
            jsontext.dumps(value)


def test_null_beside_numbers_is_written() -> None:
    assert jsontext.dumps({"a": None, "b": [1.5, 2]}) == '{"a":null,"b":[1.5,2]}'


@pytest.mark.parametrize(
    "text",
    [
        "NaN",
        "-Infinity",
        '{"a": Infinity}',
        "[1e400]",
        "[-1e400, 18446744073709551616]",
        "",
        "{",
        "'a'",
        "[1,]",
        '{"a":1}{"b":2}',
        "[" * 100_000,
        "[" * 100_000 + "]" * 100_000,
        "1" * 10_000,
    ],
)
def test_what_is_not_json_is_a_value_error(text: str) -> None:
    for spelling in (text, text.encode()):
        with pytest.raises(ValueError):  # noqa: PT011 - each parser has its own words
            jsontext.loads(spelling)


@pytest.mark.parametrize("raw", [b'"\xff"', b'"\xed\xa0\x80"', '{"a":1}'.encode("utf-16")])
def test_bytes_that_are_not_utf_8_are_a_value_error(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r"decode|codec"):
        jsontext.loads(raw)


def test_a_value_that_holds_itself_is_refused() -> None:
    circle: list[Any] = []
    circle.append(circle)
    with pytest.raises(ValueError, match="Circular"):
        jsontext.dumps(circle)


def test_a_value_nested_too_deeply_is_refused() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(ValueError, match="too deeply"):
        jsontext.dumps(deep)


@pytest.mark.parametrize(("opened", "closed"), [("[", "]"), ('{"a":', "}")])
@pytest.mark.parametrize("held", ["1", '"\\ud800"', "1" * 30])
def test_what_is_received_can_be_written_wherever_it_is_shown(
    opened: str, closed: str, held: str
) -> None:
    def nested(levels: int) -> str:
        return opened * levels + held + closed * levels

    most = jsontext.RECEIVED_LEVELS
    shown = {"data": [{"error": {"provider": jsontext.received(nested(most))}}]}
    assert nested(most) in jsontext.dumps(shown)
    for levels in (most + 1, 500, 1000, 1023, 5000):
        for spelling in (nested(levels), nested(levels).encode()):
            with pytest.raises(ValueError, match="too deeply"):
                jsontext.received(spelling)


def test_many_levels_side_by_side_are_received() -> None:
    wide = "[" + ",".join(['[{"a":[]}]'] * 300) + "]"
    assert jsontext.received(wide) == jsontext.loads(wide)


def test_what_has_no_json_is_refused() -> None:
    with pytest.raises(TypeError):
        jsontext.dumps({"a": object()})


@pytest.mark.parametrize("beside", [1, 2**70, "\ud800"])
def test_times_ids_and_enumerations_are_written_alike_whatever_lies_beside(beside: Any) -> None:
    at, name = datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC), UUID(int=5)
    read = jsontext.loads(jsontext.dumps({"at": at, "id": name, "is": State.RUNNING, "x": beside}))
    assert read == {"at": at.isoformat(), "id": str(name), "is": "running", "x": beside}


@dataclass(frozen=True, slots=True)
class Clip:
    url: str
    seed: int


@pytest.mark.parametrize("seed", [1, 2**70])
def test_a_dataclass_is_written_as_its_fields(seed: int) -> None:
    assert jsontext.loads(jsontext.dumps([Clip("u", seed)])) == [{"url": "u", "seed": seed}]
