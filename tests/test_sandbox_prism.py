"""The pretend Prism keeps its protocol, and our provider reads every word of it."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import aiohttp
import pytest
from sandbox_rounds import QUIET, Round, serving

from service.job import State
from service.providers import Accepted, Refused
from service.providers.prism import Settings, build

MODEL = "veo-3.1"
INPUT = {"prompt": "A paper boat on a canal.", "aspectRatio": "9:16", "count": 1}


def prism(url: str, key: str = "prism_sk_secret") -> Any:
    return build(Settings(prism_key=key, prism_url=f"{url}/prism"))


@pytest.fixture(scope="module")
async def served() -> AsyncIterator[Round]:
    async with serving() as client:
        yield Round(client, prism(client.url))


@pytest.fixture
async def sandbox(served: Round) -> Round:
    await served.client.control(**QUIET)
    return served


async def test_a_submission_is_one_generation_and_ends(sandbox: Round) -> None:
    about, verdict = await sandbox.submit(MODEL, INPUT)
    assert isinstance(verdict, Accepted)
    assert (verdict.actual, verdict.note, verdict.urls) == (Decimal(120), None, {})
    report = await sandbox.ended(about)
    assert report.state is State.COMPLETED
    (output,) = sandbox.provider.outputs(report.output)
    assert str(about.provider_id) in output["url"]
    until = datetime.fromisoformat(output["expires_at"])
    assert timedelta(minutes=50) < until - datetime.now(UTC) <= timedelta(hours=1)
    entry = await sandbox.entry(about)
    assert (entry["accepted"], entry["outcome"], entry["model"]) == (1, "completed", MODEL)
    assert entry["polls"] > 0


async def test_the_poll_is_flat_and_signs_the_address_anew(sandbox: Round) -> None:
    about, _ = await sandbox.submit(MODEL, INPUT)
    report = await sandbox.ended(about)
    again = await sandbox.ended(about)
    assert set(report.output) == {
        *("id", "status", "template_id", "video_url", "share_url", "created_at"),
        *("completed_at", "error"),
    }
    assert report.output["video_url"] != again.output["video_url"]


async def test_several_generations_are_each_there_and_counted_once(sandbox: Round) -> None:
    about, verdict = await sandbox.submit(MODEL, {**INPUT, "count": 3})
    assert isinstance(verdict, Accepted)
    assert (verdict.actual, len(verdict.urls)) == (Decimal(360), 2)
    assert "3 generations" in (verdict.note or "")
    for url in verdict.urls.values():
        headers = sandbox.provider.credentials()
        status, reply, _ = await sandbox.client.call("GET", url, headers=headers)
        assert (status, reply["id"]) == (200, url.rsplit("/", 1)[1])
    assert (await sandbox.entry(about))["accepted"] == 1


async def test_a_job_under_way_is_generating(sandbox: Round) -> None:
    await sandbox.client.control(render_seconds=60)
    about, _ = await sandbox.submit(MODEL, INPUT)
    assert (await sandbox.ask(about)).state is State.RUNNING


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"prompt": " "},
        {**INPUT, "count": 5},
        {**INPUT, "count": "1"},
        {**INPUT, "aspectRatio": "2:1"},
    ],
)
async def test_a_wrong_submission_is_refused_and_not_counted(sandbox: Round, given: Any) -> None:
    before = (await sandbox.client.ledger())["totals"]["accepted"]
    _, verdict = await sandbox.submit(MODEL, given)
    assert isinstance(verdict, Refused)
    assert verdict.error.code == "invalid_input"
    assert (await sandbox.client.ledger())["totals"]["accepted"] == before


@pytest.mark.parametrize("body", [b"{", b"[1]", b""])
async def test_a_body_that_is_no_object_is_refused(sandbox: Round, body: bytes) -> None:
    url, headers = f"{sandbox.client.url}/prism/generations", {"Authorization": "Bearer x"}
    status, reply, _ = await sandbox.client.call("POST", url, data=body, headers=headers)
    assert (status, reply["error"]) == (400, "validation_error")


async def test_only_the_right_key_opens_it() -> None:
    async with serving(api_key="prism_sk_one") as client:
        good, bad = (Round(client, prism(client.url, key)) for key in ("prism_sk_one", "other"))
        about, _ = await good.submit(MODEL, INPUT)
        _, verdict = await bad.submit(MODEL, INPUT)
        assert isinstance(verdict, Refused)
        assert verdict.error.code == "provider_auth"
        assert (await bad.ask(about)).state is None
        assert (await client.ledger())["totals"]["accepted"] == 1


async def test_a_forgotten_generation_is_gone(sandbox: Round) -> None:
    await sandbox.client.control(render_seconds=0, retention_seconds=0)
    about, _ = await sandbox.submit(MODEL, INPUT)
    await sandbox.forgotten(about)


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
