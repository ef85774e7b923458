"""The pretend fal misbehaves as it is told, each way once, and says so in its ledger."""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from urllib.parse import quote, urlsplit

import aiohttp
import pytest
from sandbox_client import KEY, MODEL, PATIENCE, Client, Receiver, receiving

from service.sandbox.callbacks import Hold
from service.sandbox.fates import OF_CALLBACKS, Fates
from service.sandbox.options import Misbehaviour, Options
from service.sandbox.serve import running

NONE = {str(name): 0 for name in Misbehaviour}


@pytest.fixture(scope="module")
async def served() -> AsyncIterator[Client]:
    async with running(Options()) as url, aiohttp.ClientSession(headers=KEY) as http:
        yield Client(http, url)


@pytest.fixture
async def sandbox(served: Client) -> Client:
    await served.control(**NONE, render_seconds=0.05)
    return served


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


async def test_a_lost_callback_never_comes_though_the_job_has_ended(sandbox, receiver):
    await sandbox.control(lose=1)
    lost = await sandbox.submit(receiver.url("lost"))
    await sandbox.ended(lost)
    await sandbox.control(lose=0)
    await sandbox.submit(receiver.url("heard"))
    assert (await receiver.next()).token == "heard"
    job = await sandbox.job(lost["request_id"])
    assert (job["outcome"], job["callbacks"], job["misbehaviour"]) == ("completed", [], ["lose"])


async def test_a_duplicate_is_the_same_call_again(sandbox, receiver):
    await sandbox.control(duplicate=1)
    reply = await sandbox.submit(receiver.url())
    first, second = await receiver.next(), await receiver.next()
    assert (first.path, first.body) == (second.path, second.body)
    assert await sandbox.is_signed(second)
    assert await sandbox.calls(reply, 2) == [("true", 200), ("duplicate", 200)]


async def test_an_early_callback_is_answered_before_the_submission_is(sandbox, receiver):
    await sandbox.control(early=1, slow=1, render_seconds=60)
    receiver.open.clear()
    submission = asyncio.create_task(sandbox.submit(receiver.url()))
    call = await receiver.next()
    assert not submission.done()
    receiver.open.set()
    reply = await submission
    assert reply["status"] == "IN_QUEUE"
    assert json.loads(call.body)["request_id"] == reply["request_id"]
    status, now, _ = await sandbox.call("GET", reply["status_url"])
    assert (status, now["status"]) == (200, "COMPLETED")
    assert (await sandbox.job(reply["request_id"]))["misbehaviour"] == ["early"]


async def test_an_early_callback_that_is_refused_does_not_hold_the_reply_up(sandbox, receiver):
    await sandbox.control(early=1)
    receiver.statuses = [503]
    reply = await sandbox.submit(receiver.url())
    assert await sandbox.calls(reply, 2) == [("true", 503), ("true", 200)]


async def test_a_reordered_callback_goes_after_another_jobs(sandbox, receiver):
    await sandbox.control(reorder=1)
    await sandbox.submit(receiver.url("first"))
    await sandbox.submit(receiver.url("second"))
    assert [(await receiver.next()).token for _ in range(2)] == ["second", "first"]


async def test_a_held_callback_goes_in_the_end_where_there_is_no_other():
    hold = Hold(seconds=0.01)
    async with asyncio.timeout(PATIENCE):
        await hold.wait()
        await hold.wait()


async def test_a_corrupt_callback_is_cut_short_and_followed_by_the_right_one(sandbox, receiver):
    await sandbox.control(corrupt=1)
    receiver.statuses = [400]
    reply = await sandbox.submit(receiver.url())
    cut, right = await receiver.next(), await receiver.next()
    assert right.body.startswith(cut.body)
    with pytest.raises(ValueError, match=r"Unterminated|Expecting"):
        json.loads(cut.body)
    assert json.loads(right.body)["status"] == "OK"
    assert await sandbox.calls(reply, 2) == [("corrupt", 400), ("true", 200)]


async def test_forged_callbacks_have_by_turns_a_wrong_token_and_a_wrong_signature(
    sandbox, receiver
):
    await sandbox.control(forge=1)
    seen = set()
    for _ in range(2):
        receiver.statuses = [401]
        url = receiver.url()
        token = url.partition("token=")[2]
        reply = await sandbox.submit(url)
        forged, true = await receiver.next(), await receiver.next()
        assert json.loads(forged.body)["request_id"] == reply["request_id"]
        assert json.loads(forged.body) != json.loads(true.body)
        assert (true.token, await sandbox.is_signed(true)) == (token, True)
        assert len(forged.path) == len(true.path)
        seen.add((forged.token == token, await sandbox.is_signed(forged)))
        assert await sandbox.calls(reply, 2) == [("forged", 401), ("true", 200)]
    assert seen == {(False, True), (True, False)}


async def raw_submission(sandbox: Client, webhook: str) -> bytes:
    """Every byte that the sandbox writes before the connection ends."""
    at = urlsplit(sandbox.url)
    reader, writer = await asyncio.open_connection(at.hostname, at.port)
    body = b'{"prompt": "A paper boat."}'
    head = f"POST /fal/{MODEL}?fal_webhook={quote(webhook, safe='')} HTTP/1.1\r\nHost: a\r\n"
    head += f"Authorization: Key a:b\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    async with asyncio.timeout(PATIENCE):
        written = await reader.read()
    writer.close()
    await writer.wait_closed()
    return written


async def test_a_dropped_reply_is_accepted_and_counted_and_the_connection_cut(sandbox, receiver):
    await sandbox.control(drop_submit_reply=1)
    replies = [await raw_submission(sandbox, receiver.url(f"t{number}")) for number in range(2)]
    nothing, half = sorted(replies, key=len)
    assert nothing == b""
    head, _, body = half.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    promised = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    assert 0 < len(body) < promised
    assert {(await receiver.next()).token for _ in range(2)} == {"t0", "t1"}
    dropped = [
        job
        for job in (await sandbox.ledger())["jobs"]
        if job["misbehaviour"] == ["drop_submit_reply"]
    ]
    assert [job["accepted"] for job in dropped] == [1, 1]


async def test_a_client_sees_a_dropped_reply_as_a_cut_connection(sandbox):
    await sandbox.control(drop_submit_reply=1)
    for _ in range(2):
        with pytest.raises((aiohttp.ServerDisconnectedError, aiohttp.ClientPayloadError)):
            await sandbox.submit()


async def test_an_error_shows_by_turns_on_the_status_and_in_the_result_only(sandbox, receiver):
    await sandbox.control(error=1)
    seen = {}
    for _ in range(2):
        reply = await sandbox.submit(receiver.url())
        told = json.loads((await receiver.next()).body)
        end = await sandbox.ended(reply)
        status, result, headers = await sandbox.call("GET", reply["response_url"])
        assert (end["status"], told["status"]) == ("COMPLETED", "ERROR")
        assert told["error"] == f"Invalid status code: {status}"
        assert told["payload"] == result
        assert told["request_id"] == reply["request_id"]
        same_gateway = told["gateway_request_id"] == reply["request_id"]
        seen[status] = (end.get("error_type"), headers.get("x-fal-error-type"), same_gateway)
        if status == 422:
            assert result["detail"][0]["type"] == "content_policy_violation"
            assert "error" not in end
        else:
            assert (end["error"], end["error_type"]) == (result["detail"], result["error_type"])
        assert (await sandbox.job(reply["request_id"]))["outcome"] == "failed"
    assert seen == {422: (None, None, True), 504: ("request_timeout", "request_timeout", False)}


async def test_a_slow_job_ends_after_one_that_came_later(sandbox, receiver):
    await sandbox.control(slow=1, render_seconds=0.1)
    await sandbox.submit(receiver.url("slow"))
    await sandbox.control(slow=0)
    await sandbox.submit(receiver.url("quick"))
    assert [(await receiver.next()).token for _ in range(2)] == ["quick", "slow"]


async def test_a_null_payload_comes_with_its_reason_and_the_result_has_it(sandbox, receiver):
    await sandbox.control(null_payload=1)
    reply = await sandbox.submit(receiver.url())
    told = json.loads((await receiver.next()).body)
    assert (told["status"], told["payload"]) == ("OK", None)
    assert told["payload_error"]
    assert (await sandbox.call("GET", reply["response_url"]))[1]["video"]["url"]


async def test_control_changes_later_submissions_only(sandbox, receiver):
    await sandbox.control(render_seconds=0.5)
    await sandbox.submit(receiver.url("before"))
    status, answered = await sandbox.control(lose=1)
    assert (status, answered["options"]["lose"]) == (200, 1)
    assert (await sandbox.ledger())["options"] == answered["options"]
    assert (await receiver.next()).token == "before"


@pytest.mark.parametrize("value", [-0.1, 1.1, True, "1", None, [1], float("nan")])
async def test_a_bad_share_is_named_and_changes_nothing(sandbox, value):
    body = json.dumps({"forge": 0.5, "lose": value})
    status, answered, _ = await sandbox.call("PUT", f"{sandbox.url}/control", data=body)
    assert status == 422
    if value == value:  # NaN is no JSON, so there is no field to name
        assert [wrong["field"] for wrong in answered["errors"]] == ["lose"]
    assert (await sandbox.ledger())["options"]["forge"] == 0


async def test_an_unknown_option_is_named(sandbox):
    status, answered = await sandbox.control(loose=1)
    assert (status, answered["errors"][0]["field"]) == (422, "loose")


def test_the_same_seed_draws_the_same_fates_and_each_share_its_own():
    options = Options(duplicate=0.5, error=0.3)

    def drawn(options: Options, seed: int) -> list[set[Misbehaviour]]:
        fates = Fates(seed)
        return [set(fates.draw(options, has_callback=True).turns) for _ in range(200)]

    assert drawn(options, 7) == drawn(options, 7)
    assert drawn(options, 7) != drawn(options, 8)
    more = drawn(replace(options, forge=1), 7)
    assert [fate - {Misbehaviour.FORGE} for fate in more] == drawn(options, 7)
    assert 30 < sum(Misbehaviour.ERROR in fate for fate in more) < 90


def test_a_job_without_a_callback_has_no_callback_misbehaviour():
    everything = Options(**dict.fromkeys(Misbehaviour, 1.0))
    drawn = set(Fates(1).draw(everything, has_callback=False).turns)
    assert drawn == set(Misbehaviour) - OF_CALLBACKS


@pytest.mark.slow
async def test_the_command_says_where_it_listens_and_stops_quietly_amid_callbacks(receiver):
    receiver.open.clear()
    code = "import typer; from service.commands.sandbox import sandbox; typer.run(sandbox)"
    command = [sys.executable, "-W", "error", "-c", code, "--port", "0", "--early", "1"]
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
    async with asyncio.timeout(PATIENCE * 2), aiohttp.ClientSession(headers=KEY) as http:
        client = Client(http, (await process.stderr.readline()).decode().split()[-1])
        assert (await client.ledger())["options"]["early"] == 1
        submission = asyncio.create_task(client.submit(receiver.url()))
        await receiver.next()
        process.send_signal(signal.SIGTERM)
        rest = await process.stderr.read()
        assert (await process.wait(), rest) == (0, b"")
        await asyncio.gather(submission, return_exceptions=True)


async def test_a_hundred_jobs_with_all_of_it_at_once_are_each_accepted_once(sandbox, receiver):
    shares = dict.fromkeys(NONE, 0.3)
    await sandbox.control(**shares, render_seconds=0.01)
    before = (await sandbox.ledger())["totals"]

    async def submit(number: int) -> None:
        url = sandbox.submit_url(receiver.url(f"all{number}"))
        try:
            await sandbox.call("POST", url, json={"prompt": f"Boat {number}."})
        except aiohttp.ClientError:
            return

    await asyncio.gather(*(submit(number) for number in range(100)))
    after = (await sandbox.ledger())["totals"]
    assert after["accepted"] - before["accepted"] == 100
    assert after["jobs"] - before["jobs"] == 100
