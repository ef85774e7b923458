"""All four providers of the sandbox at once, with every misbehaviour on: each job ends as the
sandbox says, expired only where neither a reply nor a callback came, and none is accepted twice.

CALLBOARD_TEST_FULL=1 runs the full numbers; CALLBOARD_CHAOS_SEED repeats a run's draws.
"""

import asyncio
import os
import secrets
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from chaos.report import Job
from chaos.stage import PATIENCE_SECONDS, Stage, staged

from service.job import ErrorCode, State
from service.sandbox.options import Misbehaviour

SHARE = 0.2
# A slow render that is held back too is told of before an unconfirmed job is given up.
RENDER_SECONDS = 0.4
MODELS = {
    "fal": "fal-ai/veo3/fast",
    "genviral": "openai/sora-2",
    "prism": "veo-3.1",
    "relay": "sora-2",
}
SILENT = ("genviral", "prism")  # they never call back: a lost reply is the last that is heard
JOBS, SECONDS = 40, 2.0
if os.environ.get("CALLBOARD_TEST_FULL"):
    JOBS, SECONDS = 200, 10.0
HEADINGS = ("provider", "accepted", "ends", "learnt by", "replies lost", "expired")


async def submit_all(stage: Stage) -> None:
    """So many jobs for each provider, side by side, each with a prompt of its own."""
    async with asyncio.timeout(PATIENCE_SECONDS), asyncio.TaskGroup() as tasks:
        for number, model in enumerate(MODELS.values()):
            scenes = range(number * JOBS, (number + 1) * JOBS)
            tasks.create_task(stage.client.submit_all(scenes, SECONDS, model))


def faults(provider: str, jobs: list[Job]) -> Iterator[str]:
    """What is not as promised of one provider's jobs, beyond what is asked of every run."""
    lost = [job for job in jobs if not job.replied]
    unheard = {job.id for job in lost if not job.called_back()}
    expired = {job.id: job for job in jobs if job.state == State.EXPIRED}
    if len(jobs) != JOBS or accepted(jobs) != JOBS:
        yield f"{provider}: {len(jobs)} jobs and {accepted(jobs)} accepted, of {JOBS}"
    if expired.keys() != unheard:
        yield f"{provider}: {len(expired)} expired, and nothing was heard of {len(unheard)}"
    if provider in SILENT and unheard != {job.id for job in lost}:
        yield f"{provider}: called back"
    for job in expired.values():
        if job.error_code != ErrorCode.SUBMISSION_UNCONFIRMED:
            yield f"expired as {job.error_code}: {job.story()}"


def accepted(jobs: list[Job]) -> int:
    return sum(entry["accepted"] for job in jobs for entry in job.entries)


def table(by_provider: dict[str, list[Job]]) -> str:
    rows: list[tuple[object, ...]] = [HEADINGS]
    for provider, jobs in by_provider.items():
        states = Counter(job.state for job in jobs)
        learnt = Counter(job.learnt_by or "nobody" for job in jobs)
        lost = sum(not job.replied for job in jobs)
        counts = [
            ", ".join(f"{n} {what}" for what, n in sorted(counter.items()))
            for counter in (states, learnt)
        ]
        rows.append((provider, accepted(jobs), *counts, lost, states[State.EXPIRED]))
    widths = [max(len(str(cell)) for cell in column) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(f"{cell!s:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


@pytest.mark.slow
async def test_every_job_ends_as_the_sandbox_says_however_it_misbehaves(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = int(os.environ.get("CALLBOARD_CHAOS_SEED") or secrets.randbelow(10**6))
    words = ["--seed", str(seed), "--render-seconds", str(RENDER_SECONDS)]
    for name in Misbehaviour:
        words += [f"--{name.replace('_', '-')}", str(SHARE)]
    began = time.monotonic()
    async with staged(tmp_path, words, name=f"misbehaving {seed}", seed=seed) as stage:
        await submit_all(stage)
        await stage.settled()
        outcome = await stage.outcome()
    jobs = {name: [job for job in outcome.jobs if job.provider == name] for name in MODELS}
    with capsys.disabled():
        print(f"\nCALLBOARD_CHAOS_SEED={seed}\n{table(jobs)}")
        print(f"callbacks by verdict: {dict(outcome.calls)}")
        print(f"in {time.monotonic() - began:.1f} s")
    found = [*outcome.faults(), *stage.service.complaints()]
    found += [fault for name, its in jobs.items() for fault in faults(name, its)]
    assert not found, "\n".join(found)
    assert not all(job.replied for job in outcome.jobs), "no reply was lost: nothing is shown"
