"""service/gather.py: one by one in, many at a time through, and each gets its own answer."""

import asyncio
from collections.abc import Callable, Hashable, Sequence

import pytest

from service.errors import DatabaseAway
from service.gather import Full, Gather


class Work:
    """Answers each item with its double, batch by batch, once `go` is set; a batch that holds
    one of `bad` fails with `fault`."""

    def __init__(self, *, bad: Sequence[int] = (), fault: Exception | None = None) -> None:
        self.batches: list[list[int]] = []
        self.began = asyncio.Event()
        self.go = asyncio.Event()
        self._bad = set(bad)
        self._fault = fault or ValueError("a bad item")

    async def __call__(self, items: Sequence[int]) -> Sequence[int]:
        self.batches.append(list(items))
        self.began.set()
        await self.go.wait()
        if self._bad & set(items):
            raise self._fault
        return [2 * item for item in items]


def gather(
    work: Work, *, key: Callable[[int], Hashable | None] = lambda item: None, **bounds: int
) -> Gather[int, int]:
    return Gather(work, key=key, **bounds)


async def started(gathering: Gather[int, int], work: Work, *items: int) -> list[asyncio.Task[int]]:
    """Puts the items in, the first alone: when this returns its batch is under way."""
    tasks = [asyncio.ensure_future(gathering.put(items[0]))]
    await work.began.wait()
    tasks += [asyncio.ensure_future(gathering.put(item)) for item in items[1:]]
    await asyncio.sleep(0)
    return tasks


async def test_what_comes_while_a_batch_is_under_way_goes_together_next() -> None:
    work = Work()
    tasks = await started(gather(work), work, 1, 2, 3, 4)
    assert work.batches == [[1]]
    work.go.set()
    assert await asyncio.gather(*tasks) == [2, 4, 6, 8]
    assert work.batches == [[1], [2, 3, 4]]


async def test_a_large_crowd_goes_by_halves_so_that_neither_side_idles() -> None:
    work = Work()
    tasks = await started(gather(work), work, *range(101))
    work.go.set()
    await asyncio.gather(*tasks)
    assert [len(batch) for batch in work.batches] == [1, 50, 50]


async def test_no_answer_for_an_item_is_a_fault_that_its_caller_hears() -> None:
    async def forgetful(items: Sequence[int]) -> Sequence[int]:
        return []

    with pytest.raises(RuntimeError, match="0 answers to 1 items"):
        await Gather(forgetful, key=lambda item: None).put(1)


async def test_nothing_waits_when_nothing_is_under_way() -> None:
    work = Work()
    work.go.set()
    gathering = gather(work)
    assert [await gathering.put(item) for item in (1, 2)] == [2, 4]
    assert work.batches == [[1], [2]]


async def test_a_batch_has_a_most_and_keeps_the_order() -> None:
    work = Work()
    tasks = await started(gather(work, most=2), work, 1, 2, 3, 4, 5, 6)
    work.go.set()
    assert await asyncio.gather(*tasks) == [2, 4, 6, 8, 10, 12]
    assert work.batches == [[1], [2, 3], [4, 5], [6]]


async def test_of_one_key_one_goes_in_a_batch_and_its_own_order_is_kept() -> None:
    work = Work()
    odd_or_even = gather(work, key=lambda item: item % 2)
    tasks = await started(odd_or_even, work, 1, 3, 5, 2, 7, 4)
    work.go.set()
    assert await asyncio.gather(*tasks) == [2, 6, 10, 4, 14, 8]
    assert work.batches == [[1], [3, 2], [5, 4], [7]]


async def test_what_must_wait_for_its_key_stays_first_in_line() -> None:
    work = Work()
    tasks = await started(gather(work, key=lambda item: item % 2, most=2), work, 1, 3, 5, 2, 7)
    work.go.set()
    await asyncio.gather(*tasks)
    assert work.batches == [[1], [3, 2], [5], [7]]


async def test_items_without_a_key_are_not_bound() -> None:
    work = Work()
    some = gather(work, key=lambda item: None if item > 10 else "one")
    tasks = await started(some, work, 1, 11, 2, 12, 3, 13)
    work.go.set()
    await asyncio.gather(*tasks)
    assert work.batches == [[1], [11, 2, 12, 13], [3]]


async def test_a_bad_item_hurts_only_itself() -> None:
    work = Work(bad=[3])
    tasks = await started(gather(work), work, 1, 2, 3, 4)
    work.go.set()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert answers[:2] + answers[3:] == [2, 4, 8]
    assert isinstance(answers[2], ValueError)
    assert work.batches == [[1], [2, 3, 4], [2], [3], [4]]


async def test_a_database_that_is_away_is_everyones_and_is_not_asked_again() -> None:
    work = Work(bad=[3], fault=DatabaseAway())
    tasks = await started(gather(work), work, 1, 2, 3)
    work.go.set()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert answers[0] == 2
    assert [type(answer) for answer in answers[1:]] == [DatabaseAway, DatabaseAway]
    assert work.batches == [[1], [2, 3]]


async def test_more_than_may_wait_are_turned_away_at_once_and_later_ones_are_taken() -> None:
    work = Work()
    gathering = gather(work, waiting=2)
    tasks = await started(gathering, work, 1, 2, 3)
    with pytest.raises(Full):
        await gathering.put(4)
    work.go.set()
    assert await asyncio.gather(*tasks) == [2, 4, 6]
    assert await gathering.put(5) == 10


async def test_a_caller_who_stops_waiting_hurts_nobody() -> None:
    work = Work()
    gathering = gather(work)
    tasks = await started(gathering, work, 1, 2, 3)
    tasks[0].cancel()
    tasks[1].cancel()
    work.go.set()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(answer) for answer in answers] == [
        asyncio.CancelledError,
        asyncio.CancelledError,
        int,
    ]
    assert await gathering.put(4) == 8


async def test_a_failed_batch_is_followed_by_the_next() -> None:
    work = Work(bad=[1])
    tasks = await started(gather(work), work, 1, 2)
    work.go.set()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(answers[0], ValueError)
    assert answers[1] == 4


async def test_drained_it_has_done_what_was_put_though_nobody_waits_for_it_any_more() -> None:
    work = Work()
    gathering = gather(work)
    tasks = await started(gathering, work, 1, 2)
    for task in tasks:
        task.cancel()
    drained = asyncio.create_task(gathering.drain())
    await asyncio.sleep(0)
    assert not drained.done()
    work.go.set()
    await drained
    assert work.batches == [[1], [2]]
    await gathering.drain()


async def test_who_must_not_be_turned_away_waits_beyond_the_bound() -> None:
    work = Work()
    gathering = gather(work, waiting=1)
    tasks = await started(gathering, work, 1, 2)
    with pytest.raises(Full):
        gathering.put(3)
    tasks.append(asyncio.ensure_future(gathering.put(4, anyway=True)))
    work.go.set()
    assert await asyncio.gather(*tasks) == [2, 4, 8]
