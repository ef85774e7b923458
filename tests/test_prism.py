"""Prism, beside its cassettes: settings, what goes out, several generations, and oddities."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from odd_replies import (
    TOO_DEEP,
    attempt,
    bodies,
    heard,
    polled,
    replies,
    reply,
    sound_poll,
    sound_verdict,
)

from service import jsontext
from service.errors import CallbackRefused, SettingInvalid
from service.job import State
from service.providers import Accepted, Refused, Reply, Trust, Unclear
from service.providers.prism import Prism, Settings, build

PRINTED = {"prism_url": "https://www.prismvideos.com/api"}
FIELDS = (
    *("error", "message", "data", "generations", "id", "status", "video_url", "metadata"),
    *("credits_charged", "num_generations"),
)
WORDS = ("queued", "generating", "completed", "failed", "free_tier_paused", "generation_error")
odd = replies(bodies(FIELDS, WORDS))
several = settings(max_examples=100, deadline=None)


def prism(**told: Any) -> Prism:
    built = build(Settings(**{"prism_key": "prism_sk_secret", **PRINTED, **told}))
    assert built is not None
    return built


PRISM = prism()


def test_settings_reach_the_provider() -> None:
    built = prism(prism_url="http://127.0.0.1:8090/prism/")
    assert built.origin == "http://127.0.0.1:8090"
    assert built.credentials() == {"Authorization": "Bearer prism_sk_secret"}
    assert built.submission(attempt(), None).url == "http://127.0.0.1:8090/prism/generations"
    assert PRISM.origin == "https://www.prismvideos.com"
    assert (PRISM.callbacks, PRISM.cancels) == (Trust.NONE, False)
    assert Settings.model_fields["prism_url"].default == PRINTED["prism_url"]


@pytest.mark.parametrize(
    ("variable", "value"), [("prism_key", "two words"), ("prism_url", "prismvideos.com/api")]
)
def test_a_bad_setting_is_named_and_its_value_is_not_shown(variable: str, value: str) -> None:
    with pytest.raises(SettingInvalid) as caught:
        Settings.read(**{variable: value})
    assert caught.value.name == variable.upper()
    assert value not in str(caught.value)


@several
@given(st.dictionaries(st.text(), st.none() | st.integers() | st.text() | st.lists(st.text())))
def test_any_input_goes_out_whole_with_nothing_but_the_model_added(told: dict[str, Any]) -> None:
    request = PRISM.submission(attempt("veo-3.1", input=told), None)
    assert request.content is not None
    assert jsontext.loads(request.content) == {**told, "modelName": "veo-3.1"}


def test_a_model_in_the_input_does_not_replace_the_jobs() -> None:
    request = PRISM.submission(attempt("veo-3.1", input={"modelName": "dear-one"}), None)
    assert request.content == b'{"modelName":"veo-3.1"}'


def test_an_id_is_no_path() -> None:
    assert next(PRISM.poll(attempt(provider_id="a/../b?c"))).url.endswith(
        "/generations/a%2F..%2Fb%3Fc"
    )


@several
@given(st.lists(st.sampled_from(("gen_a", "gen_b", "gen_c", None, "", 7)), max_size=4))
def test_every_generation_that_was_made_is_kept_and_said(ids: list[Any]) -> None:
    listed = [{"id": one} for one in ids]
    verdict = PRISM.read_submission(reply(200, {"data": {"generations": listed}}))
    made = list(dict.fromkeys(one for one in ids if isinstance(one, str) and one))
    if not made:
        assert isinstance(verdict, Unclear)
        return
    assert isinstance(verdict, Accepted)
    assert verdict.provider_id == made[0]
    assert [url.rsplit("/", 1)[1] for url in verdict.urls.values()] == made[1:]
    assert (verdict.note is not None) is (len(made) > 1)
    assert all(one in (verdict.note or verdict.provider_id) for one in made)


def test_a_reply_that_names_a_generation_is_never_a_refusal() -> None:
    for status in range(300, 600):
        body = {"error": "generation_error", "data": {"generations": [{"id": "gen_a"}]}}
        assert isinstance(PRISM.read_submission(reply(status, body)), Unclear)


def test_no_5xx_is_a_refusal_but_the_two_documented_ones() -> None:
    for status in range(500, 600):
        for code in ("generation_error", "free_tier_paused", "server_error", None):
            verdict = PRISM.read_submission(reply(status, {"error": code}))
            documented = (status, code) in ((500, "generation_error"), (503, "free_tier_paused"))
            assert isinstance(verdict, Refused if documented else Unclear)


@pytest.mark.parametrize(
    ("query", "expires_at"),
    [
        ("X-Amz-Date=20260501T100140Z&X-Amz-Expires=3600", "2026-05-01T11:01:40Z"),
        ("x-amz-expires=60&x-amz-date=20261231T235930Z", "2027-01-01T00:00:30Z"),
        ("X-Amz-Date=20260501T100140Z", None),
        ("X-Amz-Expires=3600", None),
        ("X-Amz-Date=yesterday&X-Amz-Expires=3600", None),
        ("X-Amz-Date=20260501T100140Z&X-Amz-Expires=long", None),
        ("X-Amz-Date=20260501T100140Z&X-Amz-Expires=" + "9" * 30, None),
        ("X-Amz-Date=99991231T235959Z&X-Amz-Expires=3600", None),
        ("", None),
    ],
)
def test_a_presigned_address_says_until_when_it_is_good(query: str, expires_at: str) -> None:
    url = f"https://s3.example/v.mp4?{query}"
    (output,) = PRISM.outputs({"status": "completed", "video_url": url})
    assert output == {"url": url, "content_type": None, "expires_at": expires_at}


def test_it_hears_no_callbacks() -> None:
    assert heard(PRISM, b'{"id":"gen_a","status":"completed"}') == "malformed"
    with pytest.raises(CallbackRefused):
        PRISM.read_signature({}, b"")


@several
@given(odd)
def test_any_reply_to_a_submission_is_accepted_refused_or_unclear(answer: Reply) -> None:
    sound_verdict(PRISM.read_submission(answer), answer)


@several
@given(odd)
def test_any_poll_ends_in_a_report_that_can_be_kept(answer: Reply) -> None:
    sound_poll(PRISM, polled(PRISM, answer), answer)


@pytest.mark.parametrize("body", TOO_DEEP, ids=("lists", "objects"))
def test_json_that_is_nested_too_deeply_is_no_json(body: bytes) -> None:
    assert isinstance(PRISM.read_submission(reply(200, body)), Unclear)
    assert polled(PRISM, reply(200, body)).state is None


def test_a_render_without_its_url_goes_on() -> None:
    for url in (None, "", "s3://bucket/v.mp4", 7):
        body = {"status": "completed", "video_url": url}
        report = polled(PRISM, reply(200, body))
        assert (report.state, report.resultless) == (State.RUNNING, True)
    assert not polled(PRISM, reply(200, {"status": "generating"})).resultless
