"""Odd replies for any provider's tests, and what must hold of whatever it makes of them."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from hypothesis import strategies as st

from service import jsontext
from service.errors import CallbackUnreadable
from service.job import ENDED, State
from service.providers import Accepted, Attempt, Provider, Refused, Reply, Report, Unclear

TOO_DEEP = (b"[" * 100_000, b'{"data":' * 100_000)
UNREADABLE = {"malformed", "truncated", "double_encoded", "not_json"}
STATUSES = (200, 201, 202, 204, 302, 400, 401, 402, 403, 404, 408, 410, 422, 429, 500, 502, 503)
WAITS = {"rate_limited", "provider_auth", "insufficient_credits", "provider_paused"}

_numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
_texts = st.text(max_size=12) | st.sampled_from(
    ("an-id", "https://cdn.example/a.mp4?X-Amz-Date=20260501T100140Z&X-Amz-Expires=9", "45%", "7")
)


def bodies(fields: Sequence[str], words: Sequence[str]) -> st.SearchStrategy[bytes]:
    """Bytes that are no JSON, any JSON, and most often JSON with these fields and words in it."""
    keys = st.sampled_from(fields) | st.text(max_size=3)
    leaves = st.none() | st.booleans() | _numbers | _texts | st.sampled_from(words)
    anything = st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4),
        max_leaves=6,
    )
    nearly = st.dictionaries(keys, anything, max_size=5)
    return (
        st.binary(max_size=50)
        | (nearly | anything).map(lambda value: jsontext.dumps(value).encode())
        | st.sampled_from((b"", b"null", b"1e999", b"\xff\xfe{", b'"\\ud800"', b'{"a":'))
    )


def replies(content: st.SearchStrategy[bytes]) -> st.SearchStrategy[Reply]:
    """Replies with such bodies, of any status and with odd waits."""
    waits = st.sampled_from(("7", "-1", "soon", "Sat, 21 Nov 2026 10:00:00 -0000")) | st.text()
    headers = st.dictionaries(st.sampled_from(("retry-after", "date", "content-type")), waits)
    statuses = st.sampled_from(STATUSES) | st.integers(100, 599)
    return st.builds(Reply, status=statuses, content=content, headers=headers)


def reply(status: int, body: Any, **headers: str) -> Reply:
    """A reply with `body` as its JSON, or as it is where it is bytes."""
    content = body if isinstance(body, bytes) else jsontext.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status=status, content=content, headers=named)


def attempt(model: str = "acme/model", **told: Any) -> Attempt:
    return Attempt(job_id=UUID(int=1), number=1, model=model, **{"input": {}, **told})


def polled(provider: Provider, answer: Reply) -> Report:
    """What a poll reports that is sent this reply, after its one request."""
    conversation = provider.poll(attempt(provider_id="an-id"))
    next(conversation)
    try:
        conversation.send(answer)
    except StopIteration as end:
        report: Report = end.value
        return report
    raise AssertionError("a second request")


def heard(provider: Provider, body: bytes) -> Report | str:
    """The report of a callback, or the reason why there is none."""
    try:
        return provider.read_callback({}, body)
    except CallbackUnreadable as fault:
        return fault.reason


def sound_verdict(verdict: Accepted | Refused | Unclear, answer: Reply) -> None:
    """A submission's reply is taken only where it is a 2xx, and refused only where it is none;
    money is never said to be safe where the provider broke; all of it can be written as JSON."""
    if isinstance(verdict, Accepted):
        assert 200 <= answer.status < 300
        assert verdict.provider_id
        assert verdict.actual is None or verdict.actual >= 0
        jsontext.dumps([verdict.provider_id, dict(verdict.urls), verdict.note])
    elif isinstance(verdict, Refused):
        error = verdict.error
        assert answer.status >= 400
        assert error.charged == ("unknown" if answer.status == 500 else "no")
        assert verdict.waits is (error.code in WAITS)
        assert error.retryable is (verdict.waits or answer.status == 500)
        assert verdict.retry_after is None or 0 <= verdict.retry_after <= 86400
        jsontext.dumps(error.as_dict())
    else:
        assert verdict.note
        jsontext.dumps([verdict.note, verdict.provider])


def sound_poll(provider: Provider, report: Report, answer: Reply) -> None:
    """Only a 2xx with a JSON object ends a job, and then with its output or its error."""
    sound_report(provider, report)
    assert not report.ask
    if report.state is not None:
        assert 200 <= answer.status < 300
        assert isinstance(answer.json(), dict)
    assert not report.gone or answer.status >= 400


def sound_report(provider: Provider, report: Report) -> None:
    assert (report.error is not None) is (report.state is State.FAILED)
    assert bool(provider.outputs(report.output)) is (report.state is State.COMPLETED)
    assert report.state in (None, State.SUBMITTED, State.RUNNING) or report.state in ENDED
    assert report.state is not None or report.note
    assert not report.resultless or (report.state is State.RUNNING and report.note)
    share = report.progress and report.progress.fraction
    assert share is None or 0 <= share <= 1
    jsontext.dumps([report.output, report.note, report.error and report.error.as_dict()])
