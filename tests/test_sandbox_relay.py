"""The pretend relay keeps its protocol and misbehaves as told, and our provider reads it all."""

import json
from collections.abc import AsyncIterator
from hashlib import sha256
from typing import Any

import aiohttp
import pytest
from sandbox_client import Receiver, receiving
from sandbox_rounds import QUIET, Round, serving

from service.job import State
from service.providers import Accepted, Attempt, Refused, Report
from service.providers.relay import Settings, build

MODEL = "sora-2"
INPUT = {"prompt": "A paper boat on a canal.", "duration": "10", "aspect_ratio": "16:9"}


def relay(url: str, key: str = "sk-secret") -> Any:
    return build(Settings(relay_key=key, relay_url=f"{url}/relay"))


@pytest.fixture(scope="module")
async def served() -> AsyncIterator[Round]:
    async with serving() as client:
        yield Round(client, relay(client.url))


@pytest.fixture
async def sandbox(served: Round) -> Round:
    await served.client.control(**QUIET)
    return served


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


async def told(sandbox: Round, receiver: Receiver) -> Report:
    """The next call, as our provider reads it."""
    return sandbox.provider.read_callback({}, (await receiver.next()).body)


async def calls(sandbox: Round, about: Attempt, count: int) -> list[tuple[str, int | None]]:
    return await sandbox.client.calls({"request_id": about.provider_id}, count)


async def test_a_submission_is_answered_with_a_task_id_only_and_ends(sandbox: Round) -> None:
    about, verdict = await sandbox.submit(MODEL, INPUT)
    assert isinstance(verdict, Accepted)
    report = await sandbox.ended(about)
    assert report.state is State.COMPLETED
    (output,) = sandbox.provider.outputs(report.output)
    assert str(about.provider_id) in output["url"]
    assert set(report.output) == {
        *("task_id", "status", "fail_reason", "submit_time", "start_time", "finish_time"),
        *("progress", "data"),
    }
    entry = await sandbox.entry(about)
    assert (entry["accepted"], entry["outcome"], entry["callbacks"]) == (1, "completed", [])
    assert entry["polls"] > 0
    reply = await sandbox.send(sandbox.provider.submission(about, None))
    assert (reply.status, set(reply.json())) == (200, {"task_id"})


async def test_a_job_under_way_says_how_far_it_is(sandbox: Round) -> None:
    await sandbox.client.control(render_seconds=60)
    about, _ = await sandbox.submit(MODEL, INPUT)
    report = await sandbox.ask(about)
    assert report.state is State.SUBMITTED
    assert report.progress is not None
    assert report.progress.fraction == 0


async def test_each_change_is_told_once_unsigned_and_never_again(
    sandbox: Round, receiver: Receiver
) -> None:
    receiver.statuses = [503, 401]
    about, _ = await sandbox.submit(MODEL, INPUT, receiver.url("a%2Fb~c&x=1+2"))
    begun, done = await receiver.next(), await receiver.next()
    assert begun.path == done.path == "/callbacks/fal?token=a%2Fb~c&x=1+2"
    assert not [name for name in done.headers if "signature" in name]
    assert done.headers["content-type"] == "application/json"
    first, last = (sandbox.provider.read_callback({}, call.body) for call in (begun, done))
    assert (first.state, last.state) == (State.RUNNING, State.COMPLETED)
    assert first.provider_id == last.provider_id == about.provider_id
    assert json.loads(done.body) == (await sandbox.ended(about)).output
    assert await calls(sandbox, about, 2) == [("progress", 503), ("true", 401)]
    await sandbox.submit(MODEL, INPUT, receiver.url("next"))
    assert (await receiver.next()).token == "next"
    entry = await sandbox.entry(about)
    assert entry["key"] == sha256(b"a/b~c").hexdigest()[:16]


@pytest.mark.parametrize(
    ("model", "given", "code"),
    [
        ("sora-9", INPUT, "unsupported_model"),
        (MODEL, {}, "invalid_input"),
        (MODEL, {**INPUT, "duration": "25"}, "invalid_input"),
        (MODEL, {**INPUT, "duration": 10}, "invalid_input"),
        (MODEL, {**INPUT, "aspect_ratio": "1:1"}, "invalid_input"),
    ],
)
async def test_a_wrong_submission_is_refused_and_not_counted(
    sandbox: Round, model: str, given: Any, code: str
) -> None:
    before = (await sandbox.client.ledger())["totals"]["accepted"]
    _, verdict = await sandbox.submit(model, given)
    assert isinstance(verdict, Refused)
    assert verdict.error.code == code
    assert (await sandbox.client.ledger())["totals"]["accepted"] == before


@pytest.mark.parametrize("body", [b"{", b"[1]", b"", b'{"notify_hook":7}'])
async def test_a_body_that_cannot_be_is_refused(sandbox: Round, body: bytes) -> None:
    url = f"{sandbox.client.url}/relay/v2/videos/generations"
    headers = {"Authorization": "Bearer x"}
    status, reply, _ = await sandbox.client.call("POST", url, data=body, headers=headers)
    assert (status, set(reply["error"])) == (400, {"message", "type", "param", "code"})


@pytest.mark.parametrize("hook", ["ftp://x/", "http://x/ y", 7])
async def test_a_hook_that_cannot_be_called_is_refused(sandbox: Round, hook: Any) -> None:
    url = f"{sandbox.client.url}/relay/v2/videos/generations"
    body = {**INPUT, "model": MODEL, "notify_hook": hook}
    headers = {"Authorization": "Bearer x"}
    assert (await sandbox.client.call("POST", url, json=body, headers=headers))[0] == 400


async def test_25_seconds_are_for_the_larger_model(sandbox: Round) -> None:
    _, verdict = await sandbox.submit("sora-2-pro", {**INPUT, "duration": "25", "hd": True})
    assert isinstance(verdict, Accepted)


async def test_only_the_right_key_opens_it() -> None:
    async with serving(api_key="sk-one") as client:
        good, bad = (Round(client, relay(client.url, key)) for key in ("sk-one", "other"))
        about, _ = await good.submit(MODEL, INPUT)
        _, verdict = await bad.submit(MODEL, INPUT)
        assert isinstance(verdict, Refused)
        assert verdict.error.code == "provider_auth"
        assert (await bad.ask(about)).state is None


async def test_a_forgotten_task_is_gone(sandbox: Round) -> None:
    await sandbox.client.control(render_seconds=0, retention_seconds=0)
    about, _ = await sandbox.submit(MODEL, INPUT)
    await sandbox.forgotten(about)


async def test_errors_are_by_turns_a_fault_and_a_refused_prompt(
    sandbox: Round, receiver: Receiver
) -> None:
    await sandbox.client.control(error=1)
    codes = set()
    for _ in range(2):
        about, _ = await sandbox.submit(MODEL, INPUT, receiver.url())
        await receiver.next()
        told_of, asked = await told(sandbox, receiver), await sandbox.ended(about)
        assert told_of.error == asked.error
        assert asked.error is not None
        codes.add(asked.error.code)
        assert (await sandbox.entry(about))["outcome"] == "failed"
    assert codes == {"provider_unavailable", "content_policy"}


async def test_a_lost_call_never_comes_though_the_job_has_ended(
    sandbox: Round, receiver: Receiver
) -> None:
    await sandbox.client.control(lose=1)
    about, _ = await sandbox.submit(MODEL, INPUT, receiver.url("lost"))
    await sandbox.ended(about)
    await sandbox.client.control(lose=0)
    await sandbox.submit(MODEL, INPUT, receiver.url("heard"))
    assert [(await receiver.next()).token for _ in range(2)] == ["heard", "heard"]


async def test_an_early_call_is_answered_before_the_submission_is(
    sandbox: Round, receiver: Receiver
) -> None:
    await sandbox.client.control(early=1, render_seconds=60)
    receiver.statuses = [503]
    about, _ = await sandbox.submit(MODEL, INPUT, receiver.url())
    assert await calls(sandbox, about, 1) == [("true", 503)]
    report = await told(sandbox, receiver)
    assert (report.state, report.provider_id) == (State.COMPLETED, about.provider_id)
    assert (await sandbox.ask(about)).state is State.COMPLETED


async def test_a_reordered_job_tells_its_older_state_after_its_end_and_after_another_job(
    sandbox: Round, receiver: Receiver
) -> None:
    await sandbox.client.control(reorder=1)
    first, _ = await sandbox.submit(MODEL, INPUT, receiver.url("first"))
    await sandbox.submit(MODEL, INPUT, receiver.url("second"))
    heard = [await receiver.next() for _ in range(4)]
    ends = [call.token for call in heard if json.loads(call.body)["status"] == "SUCCESS"]
    assert ends == ["second", "first"]
    assert await calls(sandbox, first, 2) == [("true", 200), ("progress", 200)]


async def test_a_duplicate_is_the_same_call_again(sandbox: Round, receiver: Receiver) -> None:
    await sandbox.client.control(duplicate=1)
    about, _ = await sandbox.submit(MODEL, INPUT, receiver.url())
    _, first, second = [await receiver.next() for _ in range(3)]
    assert (first.path, first.body) == (second.path, second.body)
    assert [kind for kind, _ in await calls(sandbox, about, 3)] == [
        *("progress", "true", "duplicate")
    ]


async def test_a_corrupt_call_is_cut_short_and_followed_by_the_right_one(
    sandbox: Round, receiver: Receiver
) -> None:
    await sandbox.client.control(corrupt=1)
    await sandbox.submit(MODEL, INPUT, receiver.url())
    _, cut, right = [await receiver.next() for _ in range(3)]
    assert right.body.startswith(cut.body)
    with pytest.raises(ValueError, match=r"Unterminated|Expecting"):
        json.loads(cut.body)


async def test_forged_calls_come_by_turns_with_a_wrong_token_and_a_wrong_body(
    sandbox: Round, receiver: Receiver
) -> None:
    await sandbox.client.control(forge=1)
    right = []
    for _ in range(2):
        url = receiver.url()
        about, _ = await sandbox.submit(MODEL, INPUT, url)
        _, forged, true = [await receiver.next() for _ in range(3)]
        assert json.loads(forged.body)["task_id"] == about.provider_id
        assert json.loads(forged.body)["data"] != json.loads(true.body)["data"]
        assert len(forged.path) == len(true.path)
        right.append(forged.token == true.token)
    assert sorted(right) == [False, True]


async def test_success_may_come_before_its_address_by_call_and_by_query(
    sandbox: Round, receiver: Receiver
) -> None:
    await sandbox.client.control(null_payload=1)
    about, _ = await sandbox.submit(MODEL, INPUT, receiver.url())
    await receiver.next()
    report = await told(sandbox, receiver)
    assert (report.state, report.ask) == (None, True)
    report = await sandbox.ask(about)
    assert (report.state, bool(report.note)) == (State.RUNNING, True)
    assert (await sandbox.ask(about)).state is State.COMPLETED


async def test_a_dropped_reply_is_counted_under_its_token(
    sandbox: Round, receiver: Receiver
) -> None:
    await sandbox.client.control(drop_submit_reply=1)
    url = receiver.url()
    for _ in range(2):
        with pytest.raises((aiohttp.ServerDisconnectedError, aiohttp.ClientPayloadError)):
            await sandbox.submit(MODEL, INPUT, url)
    entry = (await sandbox.client.ledger())["jobs"][-1]
    assert (entry["accepted"], entry["key"]) == (2, _key(url))


def _key(url: str) -> str:
    return sha256(url.partition("token=")[2].encode()).hexdigest()[:16]
