"""The relay, beside its cassettes: settings, notify_hook, its relatives' words, and oddities."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from odd_replies import (
    TOO_DEEP,
    UNREADABLE,
    attempt,
    bodies,
    heard,
    polled,
    replies,
    reply,
    sound_poll,
    sound_report,
    sound_verdict,
)

from service import jsontext
from service.errors import CallbackRefused, SettingInvalid
from service.job import State
from service.providers import Progress, Reply, Report, Trust, Unclear
from service.providers.relay import Relay, Settings, build

PLACE = {"relay_url": "https://relay.example", "relay_trust": "hint"}
OURS = "https://callboard.example/callbacks/relay?token=x"
FIELDS = (
    *("task_id", "id", "status", "state", "task_status", "progress", "data", "output", "outputs"),
    *("video_url", "fail_reason", "error", "message", "code", "task_result", "videos", "url"),
)
WORDS = ("NOT_START", "IN_PROGRESS", "SUCCESS", "FAILURE", "succeed", "model_not_found")
odd = bodies(FIELDS, WORDS)
several = settings(max_examples=150, deadline=None)


def relay(**told: Any) -> Relay:
    built = build(Settings(**{"relay_key": "sk-secret", **PLACE, **told}))
    assert built is not None
    return built


RELAY = relay()


def test_settings_reach_the_provider() -> None:
    built = relay(relay_url="http://127.0.0.1:8090/relay/", relay_trust="token")
    assert built.origin == "http://127.0.0.1:8090"
    assert built.callbacks is Trust.TOKEN
    assert built.credentials() == {"Authorization": "Bearer sk-secret"}
    assert built.submission(attempt(), None).url == (
        "http://127.0.0.1:8090/relay/v2/videos/generations"
    )
    assert (RELAY.callbacks, RELAY.cancels) == (Trust.HINT, False)
    assert Settings.model_fields["relay_trust"].default == "hint"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("relay_trust", "signed"),
        ("relay_trust", "none"),
        ("relay_key", "two words"),
        ("relay_url", "relay.example"),
    ],
)
def test_a_bad_setting_is_named_and_its_value_is_not_shown(variable: str, value: str) -> None:
    with pytest.raises(SettingInvalid) as caught:
        Settings.read(**{variable: value})
    assert caught.value.name == variable.upper()
    assert f" {value} " not in f"{caught.value} "


def test_a_key_without_an_address_is_named_and_the_other_way_round_is_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    with pytest.raises(SettingInvalid, match=r"^RELAY_URL: must be set where RELAY_KEY is$"):
        build(Settings(relay_key="sk-secret"))
    assert build(Settings(relay_url="https://relay.example")) is None


@pytest.mark.parametrize("callback_url", [OURS, None])
@several
@given(st.dictionaries(st.text(), st.none() | st.integers() | st.text() | st.lists(st.text())))
def test_any_input_goes_out_whole_with_the_model_and_our_hook(
    callback_url: str | None, told: dict[str, Any]
) -> None:
    asked = attempt("sora-2", input={**told, "notify_hook": "https://app.example/hook"})
    request = RELAY.submission(asked, callback_url)
    assert request.content is not None
    ours = {} if callback_url is None else {"notify_hook": callback_url}
    assert jsontext.loads(request.content) == {**told, "model": "sora-2", **ours}
    assert "notify_hook" in asked.input


def test_a_model_in_the_input_does_not_replace_the_jobs() -> None:
    request = RELAY.submission(attempt("sora-2", input={"model": "sora-2-pro"}), None)
    assert request.content == b'{"model":"sora-2"}'


def test_an_id_is_no_path() -> None:
    conversation = RELAY.poll(attempt(provider_id="a/../b?c"))
    assert next(conversation).url.endswith("/v2/videos/generations/a%2F..%2Fb%3Fc")


@pytest.mark.parametrize(
    ("told", "share"),
    [
        ("45%", 0.45),
        (" 45 % ", 0.45),
        ("45", 0.45),
        (45, 0.45),
        (45.0, 0.45),
        (0.45, 0.45),
        (1, 0.01),
        ("0%", 0.0),
        (100, 1.0),
        ("101%", None),
        (-1, None),
        (10**400, None),
        ("nan", None),
        ("soon", None),
        (True, None),
        (None, None),
        (["45%"], None),
    ],
)
def test_progress_is_percent_in_any_spelling(told: Any, share: float | None) -> None:
    report = polled(RELAY, reply(200, {"status": "IN_PROGRESS", "progress": told}))
    assert report.state is State.RUNNING
    assert report.progress == (None if share is None else Progress(fraction=share))


@pytest.mark.parametrize(
    ("words", "state"),
    [
        ("NOT_START NotStart SUBMITTED QUEUED queueing pending", State.SUBMITTED),
        ("IN_PROGRESS in_progress in-progress Processing running generating", State.RUNNING),
        ("SUCCESS Success succeeded succeed completed", State.COMPLETED),
        ("FAILURE failed fail error", State.FAILED),
        ("MODAL cancelled 成功", None),
    ],
)
def test_the_familys_words_are_read_by_query_and_by_call(words: str, state: State | None) -> None:
    for word in words.split():
        for key in ("status", "task_status", "state"):
            task = {"task_id": "an-id", key: word, "video_url": "https://cdn.example/v.mp4"}
            assert polled(RELAY, reply(200, task)).state is state
            report = heard(RELAY, jsontext.dumps(task).encode())
            assert isinstance(report, Report)
            assert (report.state, report.provider_id) == (state, "an-id")
            assert report.ask is (state is None)


@pytest.mark.parametrize(
    "body",
    [
        {"task_id": "an-id"},
        {"id": "an-id"},
        {"task_id": "an-id", "id": "other"},
        {"task_id": None, "id": "an-id"},
        {"data": {"task_id": "an-id"}},
        {"code": 200, "msg": "ok", "data": {"task_id": "an-id", "video_url": "https://x.example"}},
        {"id": "evt_1", "type": "video.done", "data": {"id": "an-id", "status": "SUCCESS"}},
        {"id": "evt_1", "status": "sent", "data": {"task_id": "an-id", "status": "SUCCESS"}},
        {"id": "an-id", "status": "SUCCESS", "data": {"task_id": "upstream", "output": None}},
        {"task_id": "an-id", "status": "SUCCESS", "data": {"task_id": "upstream", "status": "x"}},
        {"status": "SUCCESS", "data": {"task_id": "an-id"}},
    ],
)
def test_the_task_is_found_wherever_a_relative_puts_it(body: dict[str, Any]) -> None:
    report = heard(RELAY, jsontext.dumps(body).encode())
    assert isinstance(report, Report)
    assert report.provider_id == "an-id"


def test_a_render_without_its_url_goes_on_and_nobody_is_at_work() -> None:
    for data in (None, {}, {"output": ""}, {"outputs": []}, {"outputs": ["ftp://x/v.mp4", 7]}):
        report = polled(RELAY, reply(200, {"status": "SUCCESS", "data": data}))
        assert (report.state, report.resultless) == (State.RUNNING, True)
    assert not polled(RELAY, reply(200, {"status": "IN_PROGRESS"})).resultless


def test_a_call_cut_anywhere_is_told_from_one_that_is_not_json() -> None:
    whole = jsontext.dumps({"task_id": "an-id", "status": "SUCCESS", "note": '"}]'}).encode()
    assert isinstance(heard(RELAY, whole), Report)
    for end in range(1, len(whole)):
        assert heard(RELAY, whole[:end]) == "truncated"
    assert heard(RELAY, whole + b"}") == "not_json"


def test_it_has_no_signatures() -> None:
    with pytest.raises(CallbackRefused):
        RELAY.read_signature({"x-signature": "sha256=00"}, b"{}")


def test_a_reply_that_names_a_task_is_never_a_refusal() -> None:
    for status in range(300, 600):
        body = {"error": {"message": "no quota", "code": "insufficient_user_quota"}}
        for name in ("task_id", "id"):
            assert isinstance(RELAY.read_submission(reply(status, {**body, name: "t"})), Unclear)


def test_no_5xx_is_a_refusal() -> None:
    for status in range(500, 600):
        for code in ("model_not_found", "insufficient_user_quota", "rate_limited"):
            body = {"error": {"message": "Unknown model, no quota", "code": code}}
            assert isinstance(RELAY.read_submission(reply(status, body)), Unclear)


@several
@given(replies(odd))
def test_any_reply_to_a_submission_is_accepted_refused_or_unclear(answer: Reply) -> None:
    sound_verdict(RELAY.read_submission(answer), answer)


@several
@given(replies(odd))
def test_any_poll_ends_in_a_report_that_can_be_kept(answer: Reply) -> None:
    sound_poll(RELAY, polled(RELAY, answer), answer)


@several
@given(odd)
def test_any_call_is_a_report_that_can_be_kept_or_a_named_reason(body: bytes) -> None:
    report = heard(RELAY, body)
    if isinstance(report, str):
        assert report in UNREADABLE
    else:
        sound_report(RELAY, report)
        assert report.provider_id
        assert report.ask is (report.state is None)


@pytest.mark.parametrize("body", TOO_DEEP, ids=("lists", "objects"))
def test_json_that_is_nested_too_deeply_is_no_json(body: bytes) -> None:
    assert isinstance(RELAY.read_submission(reply(200, body)), Unclear)
    assert polled(RELAY, reply(200, body)).state is None
    assert heard(RELAY, body) == "truncated"
