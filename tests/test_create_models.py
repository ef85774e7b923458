"""service/create.py with the catalog's models: params, prices, hooks and names of providers."""

from decimal import Decimal
from typing import Any

import app_client
import pytest
from printed_inputs import PRINTED, RELAY

from service import ids
from service.create import Creator, Wanted
from service.database import Database
from service.errors import InvalidRequest
from service.providers import Provider
from service.store.jobs import NewJob

VEO = "fal-ai/veo3/fast"
PROMPT = {"prompt": "a paper boat"}
HOOK = "https://app.example/hook"


def named(name: str) -> Provider:
    """A provider of that name; how it speaks does not matter here."""
    one = app_client.fal_provider()
    one.name = name
    return one


@pytest.fixture
def creator(db: Database) -> Creator:
    names = ("fal", "genviral", "prism", "relay")
    return app_client.creator(db, providers={name: named(name) for name in names})


def prepared(creator: Creator, model: str, given: dict[str, Any], **more: Any) -> NewJob:
    wanted = {"app_id": ids.new_id(), "model": model, "input": given, "metadata": {}}
    return creator.prepare(Wanted(**wanted | more))


def refused(creator: Creator, model: str, given: dict[str, Any], **more: Any) -> tuple[str, str]:
    """The code, and the one field named."""
    with pytest.raises(InvalidRequest) as caught:
        prepared(creator, model, given, **more)
    (fault,) = caught.value.fields
    return caught.value.code, fault.field


@pytest.mark.parametrize(("provider", "model", "given"), PRINTED)
def test_every_request_that_a_provider_prints_becomes_a_job_as_it_is(
    creator: Creator, provider: str, model: str, given: dict[str, Any]
) -> None:
    job = prepared(creator, model, given)
    assert (job.provider, job.input) == (provider, given)
    assert list(job.input) == list(given)


def test_a_job_is_priced_with_its_params_in_it(creator: Creator) -> None:
    job = prepared(creator, VEO, PROMPT, params={"duration_seconds": 4, "generate_audio": False})
    assert job.input == PROMPT | {"duration": "4s", "generate_audio": False}
    assert (job.currency, job.estimate, job.upper_bound) == ("USD", Decimal("1.00"), False)
    pro = prepared(creator, "fal-ai/sora-2/image-to-video/pro", PROMPT | {"image_url": "i"})
    assert (pro.estimate, pro.upper_bound) == (Decimal("2.00"), True)
    assert "2026-09-24" in pro.warnings[0]
    credits = prepared(creator, "google/veo-3", PROMPT)
    assert (credits.currency, credits.estimate) == ("credits", None)


def test_a_wrong_input_or_param_is_named(creator: Creator) -> None:
    assert refused(creator, VEO, PROMPT | {"duration": 8}) == ("invalid_input", "input.duration")
    assert refused(creator, VEO, PROMPT, params={"fps": 24}) == ("invalid_input", "params.fps")
    several = {"count": 2} | PROMPT
    assert refused(creator, "veo-3.1", several) == ("invalid_input", "input.count")


def test_any_name_is_taken_where_prism_is_named(creator: Creator) -> None:
    job = prepared(creator, "kling-9", PROMPT, provider="prism", params={"duration_seconds": 5})
    assert (job.provider, job.model, job.currency) == ("prism", "kling-9", "credits")
    assert job.input == PROMPT | {"duration": "5s"}
    assert refused(creator, "kling-9", PROMPT) == ("unsupported_model", "model")
    assert refused(creator, "kling-9", PROMPT, provider="fal") == ("unsupported_model", "model")


def test_what_nobody_knows_goes_unchecked_and_takes_no_params(creator: Creator) -> None:
    free = {"provider": "fal", "unlisted": True}
    job = prepared(creator, "fal-ai/new", {"anything": [None]}, **free)
    assert (job.input, job.currency, job.estimate) == ({"anything": [None]}, "USD", None)
    wanted = refused(creator, "fal-ai/new", {}, params={"fps": 24}, **free)
    assert wanted == ("invalid_request", "params")
    known = prepared(creator, VEO, PROMPT | {"new_field": 1}, **free)
    assert known.warnings == ("input.new_field is not in the catalog; sent as it is",)


@pytest.mark.parametrize(
    ("provider", "model", "field"),
    [
        ("genviral", "openai/sora-2", "model_id"),
        ("genviral", "acme/new", "model_id"),
        ("prism", "veo-3.1", "modelName"),
        ("prism", "kling-9", "modelName"),
        ("relay", "sora-2", "model"),
        ("relay", "sora-9", "model"),
    ],
)
def test_a_model_inside_the_input_is_refused_by_name_of_an_unlisted_model_too(
    creator: Creator, provider: str, model: str, field: str
) -> None:
    for unlisted in (True, False) if creator.catalog.find(model, provider) else (True,):
        for inner in (model, "dear/one"):
            given = PROMPT | {field: inner}
            told = refused(creator, model, given, provider=provider, unlisted=unlisted)
            assert told == ("invalid_input", f"input.{field}")


@pytest.mark.parametrize("model", ["sora-2", "sora-2-pro", "sora-9"])
def test_a_relays_notify_hook_becomes_the_jobs_own_and_is_never_forwarded(
    creator: Creator, model: str
) -> None:
    more = {"provider": "relay", "unlisted": model == "sora-9"}
    given = PROMPT | {"notify_hook": HOOK}
    job = prepared(creator, model, given, **more)
    assert (job.input, job.notify_hook, job.warnings) == (PROMPT, HOOK, ())
    assert given["notify_hook"] == HOOK
    other = prepared(creator, model, given, notify_hook="https://app.example/other", **more)
    assert (other.input, other.notify_hook) == (PROMPT, "https://app.example/other")
    assert "input.notify_hook" in other.warnings[0]
    assert prepared(creator, model, given, notify_hook=HOOK, **more).warnings == ()


def test_a_relays_printed_request_is_taken_hook_and_all(creator: Creator) -> None:
    _, model, given = RELAY[0]
    job = prepared(creator, model, given | {"notify_hook": HOOK})
    assert (job.input, job.notify_hook) == (given, HOOK)
    assert len(job.warnings) == 1


def test_a_hook_that_is_no_address_is_refused_by_its_own_name(creator: Creator) -> None:
    for hook in ("string", "http://10.0.0.1/", 7, None, "https://a.example/" + "x" * 2100):
        code, field = refused(creator, "sora-2", PROMPT | {"notify_hook": hook})
        assert field == "input.notify_hook"
        assert code in ("invalid_request", "invalid_input")
    code, field = refused(creator, VEO, PROMPT | {"notify_hook": HOOK})
    assert (code, field) == ("invalid_input", "input.notify_hook")
