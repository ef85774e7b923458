"""The pretend Genviral keeps its protocol, and our provider reads every word of it."""

from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import aiohttp
import pytest
from sandbox_rounds import QUIET, Round, serving

from service.job import State
from service.providers import Accepted, Refused
from service.providers.genviral import Settings, build

MODEL = "openai/sora-2"
INPUT = {"prompt": "A paper boat on a canal.", "params": {"duration_seconds": 8}}


def genviral(url: str, key: str = "public.secret") -> Any:
    return build(Settings(genviral_key=key, genviral_url=f"{url}/genviral"))


@pytest.fixture(scope="module")
async def served() -> AsyncIterator[Round]:
    async with serving() as client:
        yield Round(client, genviral(client.url))


@pytest.fixture
async def sandbox(served: Round) -> Round:
    await served.client.control(**QUIET)
    return served


async def test_a_submission_is_answered_in_the_envelope_and_ends(sandbox: Round) -> None:
    about, verdict = await sandbox.submit(MODEL, INPUT)
    assert isinstance(verdict, Accepted)
    assert verdict.actual == Decimal(16)
    report = await sandbox.ended(about)
    assert (report.state, report.actual) == (State.COMPLETED, Decimal(16))
    (output,) = sandbox.provider.outputs(report.output)
    assert str(about.provider_id) in output["url"]
    entry = await sandbox.entry(about)
    assert (entry["accepted"], entry["outcome"], entry["model"]) == (1, "completed", MODEL)
    assert entry["polls"] > 0


async def test_the_reply_has_the_printed_keys_and_no_others(sandbox: Round) -> None:
    request = sandbox.provider.submission((await sandbox.submit(MODEL, INPUT))[0], None)
    reply = await sandbox.send(request)
    assert reply.status == 202
    assert set(reply.json()) == {"ok", "code", "message", "data"}
    assert set(reply.json()["data"]) == {
        *("video_id", "prediction_id", "provider", "model_id", "status", "output_url"),
        "credits_used",
    }
    assert (reply.json()["code"], reply.json()["data"]["status"]) == (202, "processing")


async def test_a_job_under_way_is_processing(sandbox: Round) -> None:
    await sandbox.client.control(render_seconds=60)
    about, _ = await sandbox.submit(MODEL, INPUT)
    assert (await sandbox.ask(about)).state is State.RUNNING


@pytest.mark.parametrize(
    ("model", "given", "code"),
    [
        ("openai/sora-9", INPUT, "unsupported_model"),
        (MODEL, {**INPUT, "speech_text": "Good evening"}, "invalid_input"),
        (MODEL, {**INPUT, "voice_id": "george"}, "invalid_input"),
        ("bytedance/seedance-2.0", {"reference_image_urls": ["u"] * 10}, "invalid_input"),
        ("bytedance/seedance-2.0", {"reference_audio_urls": "u"}, "invalid_input"),
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


@pytest.mark.parametrize(("body", "code"), [(b"{", 400), (b"[1]", 422), (b"", 400)])
async def test_a_body_that_is_no_object_is_refused(sandbox: Round, body: bytes, code: int) -> None:
    url = f"{sandbox.client.url}/genviral/studio/videos/generate"
    headers = {"Authorization": "Bearer x"}
    status, reply, _ = await sandbox.client.call("POST", url, data=body, headers=headers)
    assert (status, reply["ok"], reply["code"]) == (code, False, code)


async def test_only_the_right_key_opens_it() -> None:
    async with serving(api_key="public.secret") as client:
        good, bad = (Round(client, genviral(client.url, key)) for key in ("public.secret", "other"))
        about, _ = await good.submit(MODEL, INPUT)
        _, verdict = await bad.submit(MODEL, INPUT)
        assert isinstance(verdict, Refused)
        assert verdict.error.code == "provider_auth"
        assert (await bad.ask(about)).state is None
        assert (await client.ledger())["totals"]["accepted"] == 1


async def test_an_unknown_or_forgotten_video_is_gone(sandbox: Round) -> None:
    await sandbox.client.control(render_seconds=0)
    about, _ = await sandbox.submit(MODEL, INPUT)
    await sandbox.ended(about)
    await sandbox.client.control(retention_seconds=0)
    later, _ = await sandbox.submit(MODEL, INPUT)
    await sandbox.forgotten(later)


async def test_errors_are_by_turns_a_fault_and_a_refused_prompt(sandbox: Round) -> None:
    await sandbox.client.control(error=1)
    codes = set()
    for _ in range(2):
        about, _ = await sandbox.submit(MODEL, INPUT)
        report = await sandbox.ended(about)
        assert report.error is not None
        codes.add(report.error.code)
        assert (await sandbox.entry(about))["outcome"] == "failed"
    assert codes == {"provider_unavailable", "content_policy"}


async def test_a_dropped_reply_is_accepted_and_counted_under_its_body(sandbox: Round) -> None:
    await sandbox.client.control(drop_submit_reply=1)
    before = (await sandbox.client.ledger())["totals"]["accepted"]
    given = {"prompt": "Dropped, whatever is done."}
    for _ in range(2):
        with pytest.raises((aiohttp.ServerDisconnectedError, aiohttp.ClientPayloadError)):
            await sandbox.submit(MODEL, given)
    ledger = await sandbox.client.ledger()
    assert ledger["totals"]["accepted"] == before + 2
    assert ledger["jobs"][-1]["accepted"] == 2
    assert ledger["jobs"][-1]["callback_url_host"] is None
