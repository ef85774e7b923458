"""One run of one variant: jobs are made, callbacks sent, and what became of them is checked."""

from benchmarks.jobs import check, seed
from benchmarks.load import Result
from benchmarks.measured import Run
from benchmarks.polls import all_polled, polls_in, stagger
from benchmarks.stage import Stage

ACCEPTED = b'200{"status": "accepted"}'
NULL_REQUESTS = 5_000  # nobody looks at them, so that they may come round again


async def flood(stage: Stage, variant: str, in_flight: int, count: int) -> Run:
    """`count` callbacks, `in_flight` at any time. Raises RuntimeError where an answer or a row is
    not as it should be."""
    stores = variant != "null"
    requests = await seed(stage.db, count if stores else min(count, NULL_REQUESTS), stage.signing)
    before = await stage.server_seconds()
    result = await stage.load(variant, in_flight, count, requests)
    run = _run(variant, result, count, await stage.server_seconds() - before)
    if stores:
        await check(stage.db, count)
    return run


async def trickle(
    stage: Stage,
    variant: str,
    connections: int,
    count: int,
    *,
    per_second: float,
    polled: int,
    polls_per_second: float,
) -> Run:
    """`count` callbacks at moments of their own, `per_second` of them, over `connections`; beside
    them `polled` other jobs, which are asked after at `polls_per_second` (0: not at all). Raises
    RuntimeError where an answer or a row is not as it should be."""
    requests = await seed(stage.db, count + polled, stage.signing)
    before = await stage.server_seconds()
    if polls_per_second:
        await stagger(stage.db, polled, polls_per_second)
        await stage.sweep(on=True)
    result = await stage.load(variant, connections, count, requests[:count], per_second=per_second)
    polls = await polls_in(stage.db, result.lasted)
    run = _run(variant, result, count, await stage.server_seconds() - before, polls)
    if polls_per_second:
        await all_polled(stage.db, polled)
        await stage.sweep(on=False)
    await check(stage.db, count, others=polled)
    return run


def _run(variant: str, result: Result, count: int, used: float, polls: int = 0) -> Run:
    if result.answers != {ACCEPTED: count}:
        raise RuntimeError(f"{variant} answered {result.answers}, not {count} times accepted")
    return Run(
        per_second=result.measured / result.seconds,
        p50_ms=result.p50 * 1000,
        p99_ms=result.p99 * 1000,
        server_us=used / count * 1e6,
        polls_per_second=polls / result.lasted,
    )
