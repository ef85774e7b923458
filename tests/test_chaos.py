"""Kills and cuts while jobs are under way: no job is lost, none is paid twice, all is told.

CALLBOARD_TEST_FULL=1 runs the full numbers; CALLBOARD_CHAOS_SEED repeats a run's draws, and
CALLBOARD_CHAOS_SANDBOX adds options of `callboard sandbox`, such as "--error 0.2 --forge 0.2".
"""

import asyncio
import os
import random
import secrets
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from chaos.harness import some_time
from chaos.stage import PATIENCE_SECONDS, Stage, staged

MISBEHAVIOUR = "--lose 0.3 --duplicate 0.3 --early 0.2 --drop-submit-reply 0.1"
RENDER_SECONDS = 0.8
REPLIES_HELD = 6  # some of their callbacks are lost too


@dataclass(frozen=True)
class Size:
    """How much there is to do, and how often things go down. `seconds` to submit it all."""

    jobs: int
    kills: int
    seconds: float


SIZE = Size(jobs=100, kills=2, seconds=5.0)
if os.environ.get("CALLBOARD_TEST_FULL"):
    SIZE = Size(jobs=500, kills=5, seconds=25.0)


@dataclass
class Run:
    """What happens on a stage where all goes."""

    stage: Stage
    draws: random.Random

    async def happens(self) -> None:
        """All jobs are submitted, and all disasters come meanwhile."""
        # Where a reply is to be held there must be one, so some jobs are kept back for that.
        first = SIZE.jobs - 2 * REPLIES_HELD
        async with asyncio.timeout(PATIENCE_SECONDS), asyncio.TaskGroup() as tasks:
            tasks.create_task(self.stage.client.submit_all(range(first), SIZE.seconds))
            tasks.create_task(self.disasters(first))

    async def disasters(self, jobs: int) -> None:
        """Every kill and restart, in an order of the draws, spread over so many submissions."""
        todo: list[Callable[[], Awaitable[None]]] = [self.stage.service.kill] * (SIZE.kills - 1)
        todo += [self.kill_within_posts, self.restart, self.restart_within_posts]
        self.draws.shuffle(todo)
        for number, disaster in enumerate(todo):
            await self.submitted(jobs * (number + 0.5) / (len(todo) + 1))
            await asyncio.sleep(some_time(self.draws))
            await disaster()

    async def submitted(self, count: float) -> None:
        while len(self.stage.client.jobs) < count:
            self.stage.client.answered.clear()
            await self.stage.client.answered.wait()

    async def restart(self) -> None:
        """Postgres is shut down in order, and comes back."""
        await self.stage.postgres.stop(signal.SIGINT)
        await self.stage.postgres.start()

    async def kill_within_posts(self) -> None:
        """The service is killed while POSTs that were accepted wait for their replies."""
        scenes = range(SIZE.jobs - REPLIES_HELD, SIZE.jobs)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.stage.client.submit_all(scenes))
            async with self.stage.wire.holding(REPLIES_HELD):
                await self.stage.service.kill()

    async def restart_within_posts(self) -> None:
        """Postgres is killed while POSTs wait for their replies, which come before it is back."""
        scenes = range(SIZE.jobs - 2 * REPLIES_HELD, SIZE.jobs - REPLIES_HELD)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.stage.client.submit_all(scenes))
            async with self.stage.wire.holding(REPLIES_HELD):
                await self.stage.postgres.stop(signal.SIGKILL)
            await self.stage.postgres.start()


@pytest.mark.slow
async def test_no_job_is_lost_or_paid_twice_and_each_end_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = int(os.environ.get("CALLBOARD_CHAOS_SEED") or secrets.randbelow(10**6))
    with capsys.disabled():
        print(f"\nCALLBOARD_CHAOS_SEED={seed}", flush=True)
    began = time.monotonic()
    misbehaviour = f"{MISBEHAVIOUR} {os.environ.get('CALLBOARD_CHAOS_SANDBOX', '')}"
    words = f"--seed {seed} --render-seconds {RENDER_SECONDS} {misbehaviour}"
    async with staged(tmp_path, words.split(), name=f"chaos {seed}", seed=seed) as stage:
        await Run(stage, random.Random(seed)).happens()
        await stage.settled()
        replayed = [await stage.client.submit(prompt) for prompt in sorted(stage.client.jobs)[:5]]
        outcome = await stage.outcome()
        stopped = await stage.service.program.end(signal.SIGTERM)
    with capsys.disabled():
        print(f"{outcome.table()}\nin {time.monotonic() - began:.1f} s")
    faults = [*outcome.faults(), *stage.service.complaints()]
    assert not faults, "\n".join(faults)
    assert all(replayed)
    assert stopped == 0, stage.service.program.said.read_text()[-2000:]
    assert stage.wire.held, "no reply was in the way while Postgres was down"
    assert [len(stage.service.kills), stage.postgres.downs] == [SIZE.kills, 2]
