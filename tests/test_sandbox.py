"""The pretend fal keeps fal's protocol, to the letter."""

import asyncio
import itertools
import json
import time
from base64 import urlsafe_b64decode
from collections.abc import AsyncIterator
from hashlib import sha256
from urllib.parse import urlsplit

import aiohttp
import pytest
from sandbox_client import KEY, Client, Receiver, receiving

from service.sandbox.callbacks import Call, attempts
from service.sandbox.ledger import CallKind
from service.sandbox.options import Options
from service.sandbox.serve import running

INPUT = {"prompt": "A paper boat on a canal."}
DEFAULTS = {"render_seconds": 0.05, "retention_seconds": 3600}
DEFAULTS |= {"ignore_cancel": 0, "forget_canceled": 0}


@pytest.fixture(scope="module")
async def served() -> AsyncIterator[Client]:
    async with running(Options()) as url, aiohttp.ClientSession(headers=KEY) as http:
        yield Client(http, url)


@pytest.fixture
async def sandbox(served: Client) -> Client:
    await served.control(**DEFAULTS)
    return served


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


async def test_a_submission_is_answered_with_its_addresses_under_owner_and_app(sandbox):
    reply = await sandbox.submit()
    base = f"{sandbox.url}/fal/fal-ai/sora-2/requests/{reply['request_id']}"
    position = reply.pop("queue_position")
    assert isinstance(position, int)
    assert reply == {
        "status": "IN_QUEUE",
        "request_id": reply["request_id"],
        "gateway_request_id": reply["request_id"],
        "response_url": f"{base}/response",
        "status_url": f"{base}/status",
        "cancel_url": f"{base}/cancel",
    }
    wrong = base.replace("sora-2", "sora-2/text-to-video/pro")
    assert (await sandbox.call("GET", f"{wrong}/status"))[0] == 404
    assert (await sandbox.call("POST", f"{base}/status", json=INPUT))[0] == 404


@pytest.mark.parametrize("space", ["workflows", "comfy"])
async def test_a_namespace_keeps_one_segment_more(sandbox, space):
    url = f"{sandbox.url}/fal/{space}/me/boats/deep"
    _, reply, _ = await sandbox.call("POST", url, json=INPUT)
    assert f"/fal/{space}/me/boats/requests/" in reply["status_url"]
    assert (await sandbox.ended(reply))["status"] == "COMPLETED"
    assert (await sandbox.call("POST", f"{sandbox.url}/fal/{space}/me", json=INPUT))[0] == 404


@pytest.mark.parametrize("header", ["", "Bearer one:two", "Key "])
async def test_only_a_key_opens_the_queue(sandbox, header):
    good = await sandbox.submit()
    accepted = (await sandbox.ledger())["totals"]["accepted"]
    for method, target in [
        ("POST", sandbox.submit_url()),
        ("GET", good["status_url"]),
        ("GET", good["response_url"]),
        ("PUT", good["cancel_url"]),
    ]:
        headers = {"Authorization": header}
        assert (await sandbox.call(method, target, headers=headers, json=INPUT))[0] == 401
    assert (await sandbox.ledger())["totals"]["accepted"] == accepted


async def test_a_sandbox_with_a_key_of_its_own_takes_no_other():
    async with running(Options(api_key="one:two")) as url, aiohttp.ClientSession() as http:
        client = Client(http, url)
        for key, code in (("one:two", 200), ("one:three", 401), ("one:twö", 401)):
            headers = {"Authorization": f"Key {key}"}
            answered = await client.call("POST", client.submit_url(), headers=headers, json=INPUT)
            assert answered[0] == code
        assert "one:two" not in json.dumps(await client.ledger())


async def test_a_job_in_the_queue_has_a_position_and_no_result(sandbox):
    await sandbox.control(render_seconds=60)
    ahead, reply = await sandbox.submit(), await sandbox.submit()
    assert reply["queue_position"] == ahead["queue_position"] + 1
    status, now, _ = await sandbox.call("GET", reply["status_url"])
    assert (status, now["status"]) == (202, "IN_QUEUE")
    assert now["queue_position"] == reply["queue_position"]
    early = await sandbox.call("GET", reply["response_url"])
    assert early[:2] == (400, {"detail": "Request is still in progress"})
    full = f"{sandbox.submit_url()}?fal_max_queue_length=0"
    assert (await sandbox.call("POST", full, json=INPUT))[0] == 429
    await sandbox.call("PUT", ahead["cancel_url"])
    now = (await sandbox.call("GET", reply["status_url"]))[1]
    assert now["queue_position"] == reply["queue_position"] - 1
    await sandbox.call("PUT", reply["cancel_url"])


async def test_a_stream_follows_a_job_to_its_end(sandbox):
    await sandbox.control(render_seconds=1)
    reply = await sandbox.submit()
    async with sandbox.http.get(f"{reply['status_url']}/stream?logs=1") as stream:
        assert stream.content_type == "text/event-stream"
        seen = [json.loads(line[6:]) async for line in stream.content if line.strip()]
    assert [one["status"] for one in seen[-2:]] == ["IN_PROGRESS", "COMPLETED"]
    assert len(seen[-1]["logs"]) == 2
    assert set(seen[-1]["logs"][0]) == {"message", "timestamp", "level", "source"}


async def test_a_completed_job_has_its_result_at_both_addresses(sandbox):
    reply = await sandbox.submit()
    end = await sandbox.ended(reply)
    assert end["logs"] is None
    assert end["metrics"]["inference_time"] > 0
    assert "error" not in end
    status, result, headers = await sandbox.call("GET", reply["response_url"])
    again = await sandbox.call("GET", reply["response_url"].removesuffix("/response"))
    assert (status, result) == again[:2]
    assert status == 200
    assert reply["request_id"] in result["video"]["url"]
    assert set(result["video"]) == {"url", "content_type", "file_name", "file_size"}
    assert headers["x-fal-request-id"] == reply["request_id"]
    assert headers["x-fal-billable-units"]
    assert (await sandbox.job(reply["request_id"]))["outcome"] == "completed"


async def test_a_cancel_is_answered_by_where_the_job_stands(sandbox):
    await sandbox.control(render_seconds=30)
    reply = await sandbox.submit()
    answered = await sandbox.call("PUT", reply["cancel_url"])
    assert answered[:2] == (202, {"status": "CANCELLATION_REQUESTED"})
    end = await sandbox.ended(reply)
    assert (end["status"], end["error_type"]) == ("COMPLETED", "client_cancelled")
    assert (await sandbox.call("GET", reply["response_url"]))[0] == 499
    answered = await sandbox.call("PUT", reply["cancel_url"])
    assert answered[:2] == (400, {"status": "ALREADY_COMPLETED"})
    unknown = reply["cancel_url"].replace(reply["request_id"], "none")
    assert (await sandbox.call("PUT", unknown))[:2] == (404, {"status": "NOT_FOUND"})
    assert (await sandbox.job(reply["request_id"]))["outcome"] == "canceled"


async def test_a_cancelled_job_has_no_callback(sandbox, receiver):
    await sandbox.control(render_seconds=0.3)
    reply = await sandbox.submit(receiver.url("cancelled"))
    await sandbox.call("PUT", reply["cancel_url"])
    await sandbox.submit(receiver.url("later"))
    assert (await receiver.next()).token == "later"


async def test_a_job_may_be_forgotten_once_it_is_canceled_in_the_queue(sandbox):
    await sandbox.control(render_seconds=30, forget_canceled=1)
    reply = await sandbox.submit()
    answered = await sandbox.call("PUT", reply["cancel_url"])
    assert answered[:2] == (202, {"status": "CANCELLATION_REQUESTED"})
    assert (await sandbox.call("GET", reply["status_url"]))[0] == 404
    assert (await sandbox.call("PUT", reply["cancel_url"]))[:2] == (404, {"status": "NOT_FOUND"})
    assert (await sandbox.job(reply["request_id"]))["outcome"] == "canceled"


async def test_a_render_may_go_on_though_its_cancel_was_taken(sandbox, receiver):
    await sandbox.control(render_seconds=0.3, ignore_cancel=1)
    reply = await sandbox.submit(receiver.url("goes-on"))
    answered = await sandbox.call("PUT", reply["cancel_url"])
    assert answered[:2] == (202, {"status": "CANCELLATION_REQUESTED"})
    assert (await receiver.next()).token == "goes-on"
    assert (await sandbox.job(reply["request_id"]))["outcome"] == "completed"


async def test_an_ended_job_is_forgotten_after_its_retention(sandbox):
    await sandbox.control(retention_seconds=0, render_seconds=0)
    reply = await sandbox.submit()
    async with asyncio.timeout(10):
        while (await sandbox.call("GET", reply["status_url"]))[0] != 404:
            pass
    assert (await sandbox.call("GET", reply["response_url"]))[0] == 404


@pytest.mark.parametrize("body", [b"", b"[1]", b"{", b'"text"'])
async def test_a_body_that_is_no_object_is_refused_and_not_counted(sandbox, body):
    accepted = (await sandbox.ledger())["totals"]["accepted"]
    status, reply, _ = await sandbox.call("POST", sandbox.submit_url(), data=body)
    assert (status, reply["detail"][0]["loc"]) == (422, ["body"])
    assert (await sandbox.ledger())["totals"]["accepted"] == accepted


@pytest.mark.parametrize("webhook", ["ftp://x/", "http://", "http://x/ y", "http://x:99999/"])
async def test_a_callback_address_that_cannot_be_called_is_refused(sandbox, webhook):
    assert (await sandbox.call("POST", sandbox.submit_url(webhook), json=INPUT))[0] == 422


async def test_an_empty_prompt_fails_in_the_result_only(sandbox, receiver):
    reply = await sandbox.submit(receiver.url(), {"prompt": " "})
    end = await sandbox.ended(reply)
    assert "error" not in end
    status, result, _ = await sandbox.call("GET", reply["response_url"])
    assert (status, result["detail"][0]["type"]) == (422, "sequence_too_short")
    told = json.loads((await receiver.next()).body)
    assert (told["status"], told["error"]) == ("ERROR", "Invalid status code: 422")
    assert told["payload"] == result


async def test_the_callback_is_signed_and_its_address_kept_letter_by_letter(sandbox, receiver):
    reply = await sandbox.submit(receiver.url("a%2Fb~c&x=1+2&y=%7e"))
    call = await receiver.next()
    assert call.path == "/callbacks/fal?token=a%2Fb~c&x=1+2&y=%7e"
    assert await sandbox.is_signed(call)
    assert call.headers["x-fal-webhook-request-id"] == reply["request_id"]
    assert call.headers["content-type"] == "application/json"
    assert abs(int(call.headers["x-fal-webhook-timestamp"]) - time.time()) < 300
    _, result, _ = await sandbox.call("GET", reply["response_url"])
    assert json.loads(call.body) == {
        "request_id": reply["request_id"],
        "gateway_request_id": reply["request_id"],
        "status": "OK",
        "error": None,
        "payload": result,
    }
    job = await sandbox.job(reply["request_id"])
    assert job["key"] == sha256(b"a/b~c").hexdigest()[:16]
    assert job["callback_url_host"] == urlsplit(receiver.address).netloc


async def test_a_refused_callback_is_tried_again(sandbox, receiver):
    receiver.statuses = [503, 401]
    reply = await sandbox.submit(receiver.url())
    assert await sandbox.calls(reply, 3) == [("true", 503), ("true", 401), ("true", 200)]


@pytest.mark.parametrize(("answers", "seen"), [([302], [302]), ([500] * 3, [500] * 3)])
async def test_a_redirect_ends_the_tries_and_failures_use_them_up(served, receiver, answers, seen):
    receiver.statuses = list(answers)
    stamps = itertools.count()
    call = Call(
        kind=CallKind.TRUE,
        url=receiver.address,
        body=b"{}",
        headers=lambda at: {"X-Try": str(next(stamps))},
        tries=3,
    )
    assert [status async for status in attempts(served.http, call)] == seen
    made = [(await receiver.next()).headers["x-try"] for _ in seen]
    assert made == [str(number) for number in range(len(seen))]
    assert receiver.inbox.empty()


async def test_the_key_set_pads_its_keys_as_the_live_one_does(sandbox):
    _, keys, _ = await sandbox.call("GET", f"{sandbox.url}/fal/.well-known/jwks.json")
    assert len(keys["keys"]) > 1
    for key in keys["keys"]:
        assert (key["kty"], key["crv"]) == ("OKP", "Ed25519")
        assert key["x"].endswith("=")
        assert len(urlsafe_b64decode(key["x"])) == 32


async def test_a_submission_that_comes_twice_is_counted_twice(sandbox, receiver):
    given = {"prompt": "Sent twice."}
    for webhook in (receiver.url("secret"), None):
        first, second = [await sandbox.submit(webhook, given) for _ in range(2)]
        job = await sandbox.job(first["request_id"])
        assert job["accepted"] == 2
        assert job["request_ids"] == [first["request_id"], second["request_id"]]
    text = json.dumps(await sandbox.ledger())
    assert sha256(json.dumps(given).encode()).hexdigest()[:16] in text
    assert sha256(b"secret").hexdigest()[:16] in text
    assert "secret" not in text


async def test_a_poll_is_counted(sandbox):
    reply = await sandbox.submit()
    for _ in range(3):
        await sandbox.call("GET", reply["status_url"])
    await sandbox.call("GET", reply["response_url"])
    assert (await sandbox.job(reply["request_id"]))["polls"] == 3
