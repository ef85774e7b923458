"""Genviral, beside its cassettes: settings, what goes out, and that nothing makes it stumble."""

from decimal import Decimal
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
from service.providers.genviral import Genviral, Settings, build

PRINTED = {"genviral_url": "https://www.genviral.io/api/partner/v1"}
FIELDS = (
    *("ok", "code", "error_code", "message", "data", "video_id", "status", "output_url", "error"),
    *("credits_used", "model_id"),
)
WORDS = ("processing", "succeeded", "failed", "insufficient_credits", "generation_failed")
odd = replies(bodies(FIELDS, WORDS))
several = settings(max_examples=100, deadline=None)


def genviral(**told: Any) -> Genviral:
    built = build(Settings(**{"genviral_key": "public.secret", **PRINTED, **told}))
    assert built is not None
    return built


GENVIRAL = genviral()


def test_settings_reach_the_provider() -> None:
    built = genviral(genviral_url="http://127.0.0.1:8090/genviral/")
    assert built.origin == "http://127.0.0.1:8090"
    assert built.credentials() == {"Authorization": "Bearer public.secret"}
    assert built.submission(attempt(), None).url == (
        "http://127.0.0.1:8090/genviral/studio/videos/generate"
    )
    assert GENVIRAL.origin == "https://www.genviral.io"
    assert (GENVIRAL.callbacks, GENVIRAL.cancels) == (Trust.NONE, False)
    assert Settings.model_fields["genviral_url"].default == PRINTED["genviral_url"]


@pytest.mark.parametrize(
    ("variable", "value"),
    [("genviral_key", "two words"), ("genviral_key", "a\nx: 1"), ("genviral_url", "genviral.io")],
)
def test_a_bad_setting_is_named_and_its_value_is_not_shown(variable: str, value: str) -> None:
    with pytest.raises(SettingInvalid) as caught:
        Settings.read(**{variable: value})
    assert caught.value.name == variable.upper()
    assert value not in str(caught.value)


@several
@given(st.dictionaries(st.text(), st.none() | st.integers() | st.text() | st.lists(st.text())))
def test_any_input_goes_out_whole_with_nothing_but_the_model_added(told: dict[str, Any]) -> None:
    request = GENVIRAL.submission(attempt("openai/sora-2", input=told), None)
    assert request.content is not None
    assert jsontext.loads(request.content) == {**told, "model_id": "openai/sora-2"}
    assert list(jsontext.loads(request.content))[: len(told)] == list(told)


def test_a_model_in_the_input_does_not_replace_the_jobs() -> None:
    request = GENVIRAL.submission(attempt("openai/sora-2", input={"model_id": "dear/one"}), None)
    assert request.content == b'{"model_id":"openai/sora-2"}'


def test_an_id_is_no_path() -> None:
    conversation = GENVIRAL.poll(attempt(provider_id="a/../b?c"))
    assert next(conversation).url.endswith("/studio/videos/a%2F..%2Fb%3Fc")


@pytest.mark.parametrize("ok", [1, "true", None, [True]])
def test_ok_is_nothing_but_true(ok: Any) -> None:
    data = {"video_id": "v", "status": "succeeded", "output_url": "https://cdn.example/v.mp4"}
    answer = reply(200, {"ok": ok, "data": data})
    assert isinstance(GENVIRAL.read_submission(answer), Unclear)
    assert polled(GENVIRAL, answer).state is None


@pytest.mark.parametrize(
    ("told", "actual"),
    [(0, "0"), (16, "16"), (2.5, "2.5"), ("16.5", "16.5"), (True, None), (-1, None), ("x", None)],
)
def test_credits_are_kept_exactly_or_not_at_all(told: Any, actual: str | None) -> None:
    answer = reply(202, {"ok": True, "data": {"video_id": "v", "credits_used": told}})
    accepted = GENVIRAL.read_submission(answer)
    assert isinstance(accepted, Accepted)
    assert accepted.actual == (None if actual is None else Decimal(actual))


def test_a_reply_that_names_a_video_is_never_a_refusal() -> None:
    for status in range(300, 600):
        body = {"ok": False, "error_code": "insufficient_credits", "data": {"video_id": "v"}}
        assert isinstance(GENVIRAL.read_submission(reply(status, body)), Unclear)


def test_no_5xx_is_a_refusal_but_the_documented_one() -> None:
    for status in range(500, 600):
        for code in ("generation_failed", "internal", None):
            verdict = GENVIRAL.read_submission(reply(status, {"ok": False, "error_code": code}))
            documented = (status, code) == (500, "generation_failed")
            assert isinstance(verdict, Refused if documented else Unclear)


def test_it_hears_no_callbacks() -> None:
    assert heard(GENVIRAL, b'{"video_id":"v","status":"succeeded"}') == "malformed"
    with pytest.raises(CallbackRefused):
        GENVIRAL.read_signature({}, b"")


@several
@given(odd)
def test_any_reply_to_a_submission_is_accepted_refused_or_unclear(answer: Reply) -> None:
    sound_verdict(GENVIRAL.read_submission(answer), answer)


@several
@given(odd)
def test_any_poll_ends_in_a_report_that_can_be_kept(answer: Reply) -> None:
    sound_poll(GENVIRAL, polled(GENVIRAL, answer), answer)


@several
@given(bodies(("status", "output_url", "error", "credits_used"), WORDS))
def test_any_data_in_a_good_envelope_is_a_report_that_can_be_kept(content: bytes) -> None:
    answer = reply(200, b'{"ok":true,"data":' + (content or b"{}") + b"}")
    report = polled(GENVIRAL, answer)
    if report.state is not None:
        sound_poll(GENVIRAL, report, answer)


@pytest.mark.parametrize("body", TOO_DEEP, ids=("lists", "objects"))
def test_json_that_is_nested_too_deeply_is_no_json(body: bytes) -> None:
    assert isinstance(GENVIRAL.read_submission(reply(200, body)), Unclear)
    assert polled(GENVIRAL, reply(200, body)).state is None


def test_a_render_without_its_url_goes_on() -> None:
    for url in (None, "", "ftp://x/v.mp4", 7, ["https://cdn.example/v.mp4"]):
        data = {"status": "succeeded", "output_url": url}
        report = polled(GENVIRAL, reply(200, {"ok": True, "data": data}))
        assert (report.state, report.resultless) == (State.RUNNING, True)
    working = reply(200, {"ok": True, "data": {"status": "processing"}})
    assert not polled(GENVIRAL, working).resultless
