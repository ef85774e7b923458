"""Two processes, a provider and an operator, stopped and cut off at every statement and request: no
attempt is paid for twice, every render comes back, every end is told once.

The same stories each time, so that a change is what makes them go otherwise; CALLBOARD_TEST_FULL=1
tells many more, and others each time; CALLBOARD_FUZZ_SEED repeats those of a run.
"""

import logging
import os
from collections.abc import Iterator

import pytest
from fuzzing import drawing
from hypothesis import HealthCheck, seed, settings
from hypothesis.stateful import run_state_machine_as_test
from interleaving.story import Story
from interleaving.world import World

from service import health

FULL = bool(os.environ.get("CALLBOARD_TEST_FULL"))
USUAL = 20261121
STORIES = settings(
    max_examples=300 if FULL else 10,
    stateful_step_count=50,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture
def world(dsn: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """The stage, on a loop of its own: the stories are told by code that is not async."""
    told = World(dsn)
    stage = told.stage
    monkeypatch.setattr("service.submit.time", stage.clock)
    monkeypatch.setattr(health, "LOOK_SECONDS", 0.0)
    loggers = [logging.getLogger(name) for name in ("service", "asyncio")]
    for logger in loggers:
        logger.addHandler(told.complaints)
    stage.loop.run(stage.open())
    yield told
    stage.loop.run(stage.close())
    stage.loop.loop.close()
    for logger in loggers:
        logger.removeHandler(told.complaints)


@pytest.mark.slow
def test_whatever_is_cut_off_all_comes_to_its_end_and_is_paid_once(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    with drawing() as draws:
        anew = FULL or "CALLBOARD_FUZZ_SEED" in os.environ

        @seed(draws.randrange(10**6) if anew else USUAL)
        class Told(Story):
            pass

        Told.world = world
        run_state_machine_as_test(Told, settings=STORIES)
    if FULL:
        with capsys.disabled():
            print("\n" + ", ".join(f"{count} {what}" for what, count in world.stage.counts.items()))
    assert world.stage.counts["kills"]
    assert world.stage.counts["statement cut"]
    assert world.stage.counts["statement lost"]
