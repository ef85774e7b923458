"""One job of the demo: submitted, followed, and seen through everybody's eyes."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from service.commands import timeline
from service.commands.demo.cases import Case
from service.commands.demo.report import Outcome
from service.commands.demo.stage import Stage
from service.commands.remote import RemoteJobs
from service.job import ENDED
from service.sandbox.options import Misbehaviour

CASE_SECONDS = 20.0
LOOK_SECONDS = 0.1


async def run_case(stage: Stage, case: Case, tell: Callable[[str], None]) -> Outcome:
    """Submits one job and follows it until everybody has said what they must, or time is over."""
    await stage.control(dict.fromkeys(Misbehaviour, 0.0) | dict(case.misbehaviour))
    asked = {"model": case.model, "input": dict(case.input), "reference": case.name}
    job = await stage.ask("/v1/jobs", method="POST", body=asked)
    tell(f"\n{case.name}: {job['id']} ({case.model})")
    jobs = RemoteJobs(stage.asker, stage.url, stage.key, pause=LOOK_SECONDS)
    with suppress(TimeoutError):  # then the checks say what is missing
        async with asyncio.timeout(CASE_SECONDS):
            async for news in timeline.follow(jobs, job["id"], done=_settled(case)):
                for entry in news.entries:
                    tell(f"  {timeline.line(entry)}")
            await _told(stage, case, job["id"])
    found = await jobs.job(job["id"])
    ledger = await _ledger(stage, found["provider_id"])
    for call in ledger.get("callbacks", ()):
        if call["status"] != 200:
            tell(f"  the provider's {call['kind']} callback was answered HTTP {call['status']}")
    return Outcome(
        case=case,
        job=found,
        timeline=await jobs.timeline(job["id"]),
        events=stage.subscriber.of(job["id"]),
        ledger=ledger,
    )


def _settled(case: Case) -> Callable[[Mapping[str, Any], list[timeline.Entry]], bool]:
    def settled(job: Mapping[str, Any], entries: list[timeline.Entry]) -> bool:
        kinds = [entry["kind"] for entry in entries]
        called = kinds.count("callback") >= len(case.verdicts)
        return job["state"] in ENDED and called and "delivery" in kinds

    return settled


async def _told(stage: Stage, case: Case, job_id: str) -> None:
    """Returns when the subscriber has an event and the provider an answer to each call."""
    async with stage.subscriber.news:
        await stage.subscriber.news.wait_for(lambda: stage.subscriber.of(job_id))
    provider_id = (await stage.ask(f"/v1/jobs/{job_id}"))["provider_id"]
    while True:
        answered = (await _ledger(stage, provider_id)).get("callbacks", ())
        if len(answered) >= len(case.calls):
            return
        await asyncio.sleep(LOOK_SECONDS)


async def _ledger(stage: Stage, provider_id: str | None) -> Mapping[str, Any]:
    """The sandbox's entry of the job that it knows by this id."""
    entries = (await stage.control())["jobs"]
    return next((entry for entry in entries if provider_id in entry["request_ids"]), {})
