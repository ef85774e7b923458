"""fal never stumbles: whatever comes, each reader gives one of its own answers, and a safe one."""

from typing import Any

import pytest
from fal_conversation import FAL, ID, attempt, reply
from hypothesis import given, settings
from hypothesis import strategies as st

from service import jsontext
from service.errors import CallbackRefused, CallbackUnreadable
from service.job import State
from service.providers import Accepted, Refused, Reply, Report, Unclear

UNREADABLE = {"malformed", "truncated", "double_encoded", "not_json"}
ENDS = {State.COMPLETED, State.FAILED, State.CANCELED}
DOCUMENTED = {400, 401, 403, 404, 410, 422, 429}

TOO_DEEP = (b"[" * 100_000, b'{"request_id":' * 100_000)

numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
words = st.sampled_from((ID, "OK", "ERROR", "COMPLETED", "IN_QUEUE", "request_timeout"))
urls = st.sampled_from(("https://v3.fal.media/a.mp4", "https://queue.fal.run/a", "", "data:"))
keys = st.text(max_size=5) | st.sampled_from(("url", "video", "videos", "detail", "type", "msg"))
anything = st.recursive(
    st.none() | st.booleans() | numbers | st.text(max_size=20) | words | urls,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=5,
)
FIELDS = (
    *("gateway_request_id", "status", "payload", "error", "error_type", "detail", "video"),
    *("queue_position", "status_url"),
)
nearly = st.builds(
    lambda odd, request_id: odd | {"request_id": request_id},
    st.dictionaries(st.sampled_from(FIELDS), anything, max_size=5),
    st.just(ID) | anything,
)
bodies = (
    st.binary(max_size=50)
    | (nearly | anything).map(lambda value: jsontext.dumps(value).encode())
    | st.sampled_from((b"", b"null", b"1e999", b"\xff\xfe{", b'"\\ud800"', b'{"a":'))
)
HEADERS = (
    *("retry-after", "date", "x-fal-error-type", "x-fal-billable-units"),
    *(f"x-fal-webhook-{end}" for end in ("request-id", "user-id", "timestamp", "signature")),
)
odd_headers = st.dictionaries(
    st.sampled_from(HEADERS),
    st.text(max_size=20)
    | numbers.map(str)
    | st.sampled_from((ID, "00" * 64, "Sat, 21 Nov 2026 10:00:00 -0000")),
)
replies = st.builds(
    Reply,
    status=st.sampled_from((200, 202, 302, 400, 401, 403, 404, 408, 410, 422, 429, 500, 502, 504))
    | st.integers(100, 599),
    content=bodies,
    headers=odd_headers,
)
several = settings(max_examples=100, deadline=None)


@several
@given(replies)
def test_any_reply_to_a_submission_is_accepted_refused_or_unclear(one: Reply) -> None:
    verdict = FAL.read_submission(one)
    if isinstance(verdict, Accepted):
        assert 200 <= one.status < 300
        assert verdict.provider_id == one.json()["request_id"]
    elif isinstance(verdict, Refused):
        assert one.status in DOCUMENTED
        assert verdict.error.charged == "no"
        assert verdict.retry_after is None or 0 <= verdict.retry_after <= 86400
    else:
        assert isinstance(verdict, Unclear)


@several
@given(st.integers(100, 599).filter(lambda status: not 200 <= status < 300), nearly)
def test_a_reply_that_names_a_request_is_never_a_refusal(status: int, body: Any) -> None:
    assert isinstance(FAL.read_submission(reply(status, body | {"request_id": ID})), Unclear)


def ask(first: Reply, second: Reply) -> tuple[Report, int]:
    """The report, and how many replies it took."""
    conversation, taken = FAL.poll(attempt(provider_id=ID)), 0
    next(conversation)
    try:
        for one in (first, second):
            taken += 1
            conversation.send(one)
    except StopIteration as end:
        return end.value, taken
    raise AssertionError("a third request")


@several
@given(replies, replies)
def test_any_poll_ends_in_a_report_that_can_be_kept(first: Reply, second: Reply) -> None:
    report, _ = ask(first, second)
    sound(report)


@several
@given(replies)
def test_any_result_ends_a_job_only_by_a_documented_answer(result: Reply) -> None:
    report, taken = ask(reply(200, {"status": "COMPLETED"}), result)
    assert taken == 2
    sound(report)
    if report.state in ENDS:
        assert result.status not in (401, 403, 404, 408, 429)
        assert result.status == 200 or result.status >= 400
        assert result.json() in (report.output, report.error and report.error.provider)


def heard(headers: dict[str, str], body: bytes) -> Report | str:
    """The report of a callback, or the reason why there is none."""
    try:
        return FAL.read_callback(headers, body)
    except (CallbackUnreadable, CallbackRefused) as fault:
        return fault.reason


@several
@given(bodies, odd_headers)
def test_any_callback_is_a_report_or_a_named_reason(body: bytes, headers: dict[str, str]) -> None:
    report = heard(headers, body)
    if isinstance(report, str):
        assert report in UNREADABLE | {"request_id_mismatch"}
    else:
        sound(report)
        assert report.provider_id == jsontext.loads(body)["request_id"]
        assert report.ask is (report.state is None)


@several
@given(odd_headers, st.binary(max_size=20))
def test_any_signature_is_taken_apart_or_refused(headers: dict[str, str], body: bytes) -> None:
    found: int | str
    try:
        found = len(FAL.read_signature(headers, body).signature)
    except CallbackRefused as fault:
        found = fault.reason
    assert found in (64, "signature_missing", "signature_invalid")


@pytest.mark.parametrize("body", TOO_DEEP, ids=("lists", "objects"))
def test_json_that_is_nested_too_deeply_is_no_json(body: bytes) -> None:
    assert isinstance(FAL.read_submission(reply(200, body)), Unclear)
    assert ask(reply(200, body), reply(200, body))[0].state is None
    assert ask(reply(200, {"status": "COMPLETED"}), reply(200, body))[0].state is State.RUNNING
    assert heard({}, body) == "truncated"


def sound(report: Report) -> None:
    """An end has its output or its error, and everything in a report can be written as JSON."""
    assert (report.error is not None) is (report.state in (State.FAILED, State.CANCELED))
    assert bool(FAL.outputs(report.output)) is (report.state is State.COMPLETED)
    assert report.state is not None or report.note
    jsontext.dumps([report.output, report.note, report.error and report.error.as_dict()])
