"""Every provider, whatever its name: each of its cassettes is what it builds and what it reads.

A cassette is one exchange: what it `shows`, its `source`, which of the provider's methods `reads`
it, what goes in (`attempt`, `callback_url`, `call`, `output`), the `exchange` of requests and
replies as they go over the wire, and the value to `expect`, less the fields at their defaults.
`settings` are the provider's, beside its key.
"""

from collections.abc import Generator, Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from service import jsontext
from service.errors import CallbackRefused, CallbackUnreadable
from service.job import JobError
from service.providers import (
    Accepted,
    Attempt,
    CancelAnswer,
    Provider,
    Refused,
    Reply,
    Report,
    Request,
    Signed,
    Trust,
    Unclear,
    names,
    settings_of,
)

FOLDER = Path(__file__).parent / "cassettes"
KEY = "an-id:a-secret"
Cassette = dict[str, Any]
WORDS = {
    Accepted: "accepted",
    Refused: "refused",
    Unclear: "unclear",
    Report: "report",
    Signed: "signed",
    CancelAnswer: "cancel",
}


@cache
def cassettes(name: str) -> dict[str, Cassette]:
    """A provider's cassettes, which nobody changes."""
    found = sorted((FOLDER / name).glob("*.json"))
    return {path.stem: jsontext.loads(path.read_bytes()) for path in found}


def provider(name: str, **given: Any) -> Provider:
    """The provider with a key, and with an address where it has no default for one."""
    address = settings_of(name).model_fields.get(f"{name}_url")
    needed = {f"{name}_key": KEY}
    if address is not None and address.default is None:
        needed[f"{name}_url"] = f"https://{name}.example"
    built = import_module(f"service.providers.{name}").build(
        settings_of(name)(**{**needed, **given})
    )
    assert built is not None
    found: Provider = built
    return found


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in names():
        for variable in settings_of(name).model_fields:
            monkeypatch.delenv(variable.upper(), raising=False)
            monkeypatch.delenv(f"{variable.upper()}_FILE", raising=False)


def content(told: Mapping[str, Any]) -> bytes:
    """The body that a cassette gives: `json`, or `text` where that is the point of it."""
    if "json" in told:
        return jsontext.dumps(told["json"]).encode()
    return str(told.get("text", "")).encode()


def reply(told: Mapping[str, Any]) -> Reply:
    return Reply(status=told["status"], content=content(told), headers=told.get("headers", {}))


def attempt(told: Mapping[str, Any]) -> Attempt:
    return Attempt(job_id=UUID(int=1), number=1, **told)


def shown(value: Any) -> Any:
    """A value as a cassette has it: dataclasses without the fields at their defaults."""
    if isinstance(value, JobError):
        return value.as_dict()
    if isinstance(value, bytes):
        return value.hex() if len(value) == 64 else value.decode()
    if not is_dataclass(value):
        return value
    found = {}
    for field in fields(value):
        default = field.default if field.default_factory is MISSING else field.default_factory()
        if getattr(value, field.name) != default:
            found[field.name] = shown(getattr(value, field.name))
    return found


def request(told: Mapping[str, Any]) -> Request:
    body = content(told) if "json" in told or "text" in told else None
    return Request(
        method=told["method"], url=told["url"], content=body, headers=told.get("headers", {})
    )


def played(built: Provider, cassette: Cassette) -> Any:
    """Plays the exchange: every request must be as told; the value that was read comes back."""
    about, steps = attempt(cassette["attempt"]), cassette["exchange"]
    if cassette["reads"] == "poll":
        return carried(built.poll(about), steps)
    if cassette["reads"] == "cancel":
        asked = built.cancel(about)
        return carried(asked, steps) if asked is not None else None
    step = steps[0]
    assert built.submission(about, cassette["callback_url"]) == request(step["request"])
    return built.read_submission(reply(step["reply"]))


def carried(conversation: Generator[Request, Reply, Any], steps: list[Cassette]) -> Any:
    left = iter(steps)
    try:
        asked = next(conversation)
        for step in left:
            assert asked == request(step["request"])
            asked = conversation.send(reply(step["reply"]))
    except StopIteration as end:
        assert list(left) == [], "the cassette has more than was asked for"
        return end.value
    raise AssertionError(f"one request more than the cassette has: {asked.url}")


def read(built: Provider, cassette: Cassette) -> Any:
    """What a cassette's reader returns or raises, as a cassette's `expect` has it."""
    reads = cassette["reads"]
    if reads == "outputs":
        return {"outputs": built.outputs(cassette["output"])}
    if reads in ("submission", "cancel", "poll"):
        value = played(built, cassette)
        return {} if value is None else {WORDS[type(value)]: shown(value)}
    call = cassette["call"]
    method = built.read_callback if reads == "callback" else built.read_signature
    try:
        value = method(call["headers"], content(call))
    except CallbackUnreadable as fault:
        return {"unreadable": fault.reason}
    except CallbackRefused as fault:
        return {"denied": fault.reason}
    return {WORDS[type(value)]: shown(value)}


ALL = [(name, stem) for name in names() for stem in cassettes(name)]


@pytest.mark.parametrize(("name", "stem"), ALL, ids=[f"{name}-{stem}" for name, stem in ALL])
def test_a_cassette_is_built_and_read_as_it_says(name: str, stem: str) -> None:
    cassette = cassettes(name)[stem]
    assert cassette["shows"]
    assert cassette["source"]
    built = provider(name, **cassette.get("settings", {}))
    assert read(built, cassette) == cassette["expect"]


@pytest.mark.parametrize("name", names())
def test_each_reader_of_a_provider_has_a_cassette(name: str) -> None:
    wanted = {"submission", "poll", "cancel", "outputs"}
    if provider(name).callbacks is not Trust.NONE:
        wanted.add("callback")
    if provider(name).keys_url is not None:
        wanted.add("signature")
    assert {one["reads"] for one in cassettes(name).values()} >= wanted


@pytest.mark.parametrize("name", names())
def test_a_provider_cancels_what_has_an_id_exactly_where_it_says_that_it_can(name: str) -> None:
    built = provider(name)
    told = {"model": "acme/model", "input": {}}
    assert built.cancel(attempt(told)) is None
    assert (built.cancel(attempt({**told, "provider_id": "an-id"})) is not None) is built.cancels


@pytest.mark.parametrize("name", names())
def test_a_cassette_holds_every_kind_of_answer_to_a_submission(name: str) -> None:
    answers = {word for one in cassettes(name).values() for word in one["expect"]}
    assert answers >= {"accepted", "refused", "unclear", "report"}


@pytest.mark.parametrize("name", names())
def test_every_request_goes_to_the_configured_host_and_carries_no_credentials(name: str) -> None:
    for cassette in cassettes(name).values():
        built = provider(name, **cassette.get("settings", {}))
        secret = " ".join(built.credentials().values())
        assert KEY in secret
        for step in cassette.get("exchange", []):
            assert step["request"]["url"].startswith(f"{built.origin}/")
            assert not set(step["request"].get("headers", {})) & set(built.credentials())
            assert KEY not in jsontext.dumps(step)


@pytest.mark.parametrize("name", names())
def test_a_provider_without_a_key_is_off(name: str) -> None:
    assert import_module(f"service.providers.{name}").build(settings_of(name)()) is None


@pytest.mark.parametrize("name", names())
def test_a_provider_never_shows_its_key(name: str) -> None:
    built = provider(name)
    assert built.name == name
    assert KEY not in f"{built!r} {built}"
