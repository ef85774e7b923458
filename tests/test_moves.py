"""service/moves.py: what callbacks and polls bring is written together."""

import asyncio
from collections.abc import Sequence
from uuid import UUID

import pytest
from scene import make_app, make_job, move_of

from service import moves
from service.database import Database
from service.job import State
from service.moves import Moves
from service.store.advance import Move, Outcome, advance


async def test_what_waits_goes_in_one_statement_and_all_who_listen_hear(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = await make_app(db)
    jobs = [await make_job(db, app, State.RUNNING, provider_id=f"req-{n}") for n in range(4)]
    batches: list[int] = []
    heard: list[Outcome] = []

    async def counted(db: Database, batch: Sequence[Move]) -> list[Outcome]:
        batches.append(len(batch))
        return await advance(db, batch)

    monkeypatch.setattr(moves, "advance", counted)
    written = Moves(db, heard.extend, most_waiting=1)
    outcomes = await asyncio.gather(
        *(written.put(move_of(job, now=State.COMPLETED), anyway=True) for job in jobs)
    )
    assert batches == [4]
    assert [outcome.move.job_id for outcome in outcomes if outcome.move] == jobs
    assert heard == outcomes
    await written.drain()
    assert written.waiting == 0


async def test_the_next_are_on_their_way_before_anyone_hears_of_the_last(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = await make_app(db)
    first, second = [
        await make_job(db, app, State.RUNNING, provider_id=f"req-{n}") for n in range(2)
    ]
    order: list[str] = []
    begun = asyncio.Event()

    async def written(db: Database, batch: Sequence[Move]) -> list[Outcome]:
        order.append("written")
        begun.set()
        return await advance(db, batch)

    async def put(job: UUID) -> None:
        await writing.put(move_of(job, now=State.COMPLETED))
        order.append("told")

    monkeypatch.setattr(moves, "advance", written)
    writing = Moves(db, lambda outcomes: order.append("heard"))
    one = asyncio.create_task(put(first))
    await begun.wait()
    await asyncio.gather(one, put(second))
    assert order == ["written", "written", "heard", "told", "heard", "told"]
