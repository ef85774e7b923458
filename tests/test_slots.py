"""service/slots.py: places for each, who is woken, and how many may be begun a second."""

import asyncio

import pytest

from service.slots import Allowance, Shares, Slots


async def test_each_name_has_its_own_places() -> None:
    release, shares = asyncio.Event(), Shares(2, asyncio.Event())

    async def waits() -> None:
        await release.wait()

    for _ in range(2):
        shares.of("slow").start(waits())
    assert (shares.of("slow").free, shares.of("quick").free) == (0, 2)
    release.set()
    await shares.drain()
    assert shares.of("slow").free == 2


async def test_ending_ends_everything_under_way() -> None:
    shares = Shares(2, asyncio.Event())
    for name in ("a", "b"):
        shares.of(name).start(asyncio.Event().wait())  # type: ignore[arg-type]
    await shares.cancel()
    assert (shares.of("a").free, shares.of("b").free) == (2, 2)


@pytest.mark.parametrize("sated", [False, True])
async def test_a_place_that_becomes_free_wakes_whoever_may_have_left_something(
    sated: bool,
) -> None:
    wake = asyncio.Event()
    slots = Slots(2, wake)
    slots.sated = sated

    async def work() -> None: ...

    slots.start(work())
    await slots.drain()
    assert slots.free == 2
    assert wake.is_set() is not sated


def test_an_allowance_fills_up_to_a_seconds_worth() -> None:
    now = 0.0
    allowance = Allowance(lambda: now)
    assert allowance.left("fal", 4) == 4
    for _ in range(4):
        allowance.take("fal")
    assert allowance.left("fal", 4) == 0
    assert allowance.left("relay", 4) == 4
    now = 0.5
    assert allowance.left("fal", 4) == 2
    now = 60.0
    assert allowance.left("fal", 4) == 4


def test_a_slower_pace_holds_at_once_and_a_quicker_one_from_then_on() -> None:
    now = 0.0
    allowance = Allowance(lambda: now)
    assert allowance.left("fal", 100) == 100
    assert allowance.left("fal", 1) == 1
    allowance.take("fal")
    assert allowance.left("fal", 1) == 0
    now = 0.1
    assert allowance.left("fal", 1) == 0
    assert allowance.left("fal", 100) == 0
    now = 0.2
    assert allowance.left("fal", 100) == 10


def test_less_than_one_a_second_is_still_one_now_and_then() -> None:
    now = 0.0
    allowance = Allowance(lambda: now)
    assert allowance.left("fal", 0.1) == 1
    allowance.take("fal")
    now = 9.0
    assert allowance.left("fal", 0.1) == 0
    now = 10.5
    assert allowance.left("fal", 0.1) == 1
