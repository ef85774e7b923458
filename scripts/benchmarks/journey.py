"""What a job costs from its submission to its delivered event: statements and commits, counted by
Postgres, through the real service, a pretend fal that calls back, and one subscriber.
"""

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import asyncpg
from rich.console import Console
from rich.table import Table

from benchmarks.counting import Counted, logged
from benchmarks.measured import Measured, Wanted
from service import jsontext
from service.commands.demo.cases import CASES
from service.commands.demo.stage import Stage, staged
from service.commands.demo.subscriber import Event
from service.embedded.place import place_in
from service.guard import Guard
from service.pooled import Deliverer

AT_ONCE = (1, 200)
FEWEST = 10  # jobs in a run, however short
RENDER_SECONDS, POLL_SECONDS = 0.02, 600.0
# For how long the service is seen to wait: some looks come every few seconds. Less for a brief try.
IDLE_SECONDS, LEAST_IDLE_SECONDS, IDLE_TO_RUN = 8.0, 2.0, 3.0
LEAD_SECONDS, LOOK_SECONDS = 3.0, 0.01
SETTLE_SECONDS = 0.3  # until every connection was told to read its settings again
LONGEST_SECONDS = 300.0
JOB = jsontext.dumps({"model": CASES[0].model, "input": CASES[0].input})
DATABASE = "callboard"
COLUMNS = (
    *("in flight", "per second", "slowest to fastest", "p50 ms", "p99 ms"),
    *("statements", "commits"),
)
LEAST_SHOWN = 0.005
OF = "statements of "  # before a statement's name, among the figures
_LEFT = """
select (select count(*) from deliveries where state = 'pending') + (select count(*) from agenda)
    + (select count(*) from unplaced)
"""
_WAITING = "select count(*) from jobs where state = 'submitted'"


class Ends:
    """Which jobs' ends the subscriber has heard of."""

    def __init__(self) -> None:
        self._events: dict[str, asyncio.Event] = {}

    def heard(self, event: Event) -> None:
        """An event has come, maybe before the reply to the submission."""
        if event.type == "job.completed":
            self.of(event.job["id"]).set()

    def of(self, job_id: str) -> asyncio.Event:
        """Set when the subscriber has heard."""
        return self._events.setdefault(job_id, asyncio.Event())


@dataclass(frozen=True, slots=True, kw_only=True)
class Journeys:
    """A running service, and jobs sent through it."""

    stage: Stage
    ends: Ends
    client: Deliverer
    db: asyncpg.Connection
    idle_seconds: float
    tell: Callable[[str], None]

    async def idle(self, log_path: Path) -> Counted:
        """What the service runs in `idle_seconds` while it waits for one job's callback, and has
        nothing else to do. It looks for what is overdue only while a job is open."""
        await self.stage.control({"render_seconds": self.idle_seconds + LEAD_SECONDS})
        waiting = asyncio.create_task(self._many(1, 1))
        await self._submitted()
        async with logged(self.db, log_path) as log:
            await asyncio.sleep(SETTLE_SECONDS)
            log.more()
            await asyncio.sleep(self.idle_seconds)
            idle = log.more()
        await self.stage.control({"render_seconds": RENDER_SECONDS})
        await waiting
        await self._settled()
        return idle

    async def line(self, at_once: int, wanted: Wanted, log_path: Path, idle: Counted) -> Measured:
        """What jobs come to with `at_once` of them under way: first timed, then counted."""
        least = max(FEWEST, at_once)
        await self._many(at_once, at_once)
        rates, latencies = [], []
        for number in range(1, wanted.rounds + 1):
            began = time.perf_counter()
            took = sorted(await self._many(at_once, least, until=began + wanted.seconds))
            rates.append(len(took) / (time.perf_counter() - began))
            latencies.append(took)
            self.tell(f"{at_once} at once, round {number} of {wanted.rounds}: {rates[-1]:.1f}/s")
        return Measured(
            benchmark="job",
            name="job",
            in_flight=at_once,
            per_second=median(rates),
            p50_ms=median(took[len(took) // 2] for took in latencies) * 1000,
            p99_ms=median(took[len(took) * 99 // 100] for took in latencies) * 1000,
            lowest=min(rates),
            highest=max(rates),
            rounds=wanted.rounds,
            figures=await self._counted(at_once, wanted.seconds, log_path, idle),
        )

    async def _counted(
        self, at_once: int, seconds: float, log_path: Path, idle: Counted
    ) -> dict[str, float]:
        """Statements and commits for each job, less what a service that waits runs in that time."""
        async with logged(self.db, log_path) as log:
            await asyncio.sleep(SETTLE_SECONDS)
            log.more()
            began = time.perf_counter()
            least = max(FEWEST, at_once)
            count = len(await self._many(at_once, least, until=began + seconds))
            await self._settled()
            share = (time.perf_counter() - began) / self.idle_seconds
            seen = log.more()
        self.tell(f"{at_once} at once, {count} jobs counted: {seen.total} statements")
        figures = {
            "statements": (seen.total - idle.total * share) / count,
            "commits": (seen.commits - idle.commits * share) / count,
            "idle_per_second": idle.total / self.idle_seconds,
        }
        for name in sorted(seen.statements):
            own = seen.statements[name] - idle.statements.get(name, 0) * share
            figures[f"{OF}{name}"] = own / count
        return figures

    async def _submitted(self) -> None:
        """Returns when a job waits for its provider."""
        async with asyncio.timeout(LONGEST_SECONDS):
            while not await self.db.fetchval(_WAITING):  # noqa: ASYNC110 - in another process
                await asyncio.sleep(LOOK_SECONDS)

    async def _settled(self) -> None:
        """Returns when nothing is left to do."""
        async with asyncio.timeout(LONGEST_SECONDS):
            while await self.db.fetchval(_LEFT):  # noqa: ASYNC110 - in another process
                await asyncio.sleep(LOOK_SECONDS)

    async def _many(self, at_once: int, least: int, *, until: float = 0.0) -> list[float]:
        """Sends jobs, `at_once` under way at any time, `least` and on `until` that time; the
        seconds that each took."""
        took: list[float] = []
        begun = 0

        async def work() -> None:
            nonlocal begun
            while begun < least or time.perf_counter() < until:
                begun += 1
                took.append(await self._one())

        await asyncio.gather(*(work() for _ in range(at_once)))
        return took

    async def _one(self) -> float:
        began = time.perf_counter()
        answer = await self.client.post(
            f"{self.stage.url}/v1/jobs",
            content=JOB.encode(),
            headers={
                "authorization": f"Bearer {self.stage.key}",
                "content-type": "application/json",
            },
            total=LONGEST_SECONDS,
        )
        if answer.status != 202:
            raise RuntimeError(f"a job was answered {answer.status}, {answer.error}")
        async with asyncio.timeout(LONGEST_SECONDS):
            await self.ends.of(jsontext.loads(answer.body)["id"]).wait()
        return time.perf_counter() - began


async def run(wanted: Wanted) -> list[Measured]:
    """Measures one job at a time and many at once, and prints the table."""
    talk = Console(stderr=True, highlight=False)

    def tell(what: str) -> None:
        talk.print(f"job: {what}")

    data_dir = Path(os.environ.get("CALLBOARD_DATA_DIR", ".callboard"))
    await asyncio.to_thread(data_dir.mkdir, parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="bench-", dir=data_dir) as made:
        folder, ends = Path(made), Ends()
        async with staged(
            *(folder, folder / "serve.log", tell, ends.heard),
            render_seconds=RENDER_SECONDS,
            poll_seconds=POLL_SECONDS,
        ) as stage:
            place = place_in(folder / "data")
            db = await asyncpg.connect(place.dsn(DATABASE))
            client = Deliverer(Guard(["127.0.0.0/8"]))
            try:
                idle_seconds = max(LEAST_IDLE_SECONDS, IDLE_TO_RUN * wanted.seconds)
                journeys = Journeys(
                    stage=stage,
                    ends=ends,
                    client=client,
                    db=db,
                    idle_seconds=min(IDLE_SECONDS, idle_seconds),
                    tell=tell,
                )
                idle = await journeys.idle(place.log)
                measured = [
                    await journeys.line(number, wanted, place.log, idle) for number in AT_ONCE
                ]
            finally:
                await client.aclose()
                await db.close()
    show(measured)
    return measured


def show(measured: Sequence[Measured]) -> None:
    """Prints the rates and the counts, and which statements they are of."""
    table = Table(
        title="Jobs at fal, from the submission to the event that the subscriber got",
        title_justify="left",
        caption_justify="left",
    )
    idle = max(one.figures["idle_per_second"] for one in measured)
    table.caption = (
        f"medians of {measured[0].rounds} rounds; statements and commits (transactions that wrote) "
        "of one job, counted in Postgres' log,\n"
        f"less the looks of a service that only waits, in that time: {idle:.1f} statements a second"
    )
    for name in COLUMNS:
        table.add_column(name, justify="right")
    table.add_column("of which")
    for one in measured:
        table.add_row(
            str(one.in_flight),
            f"{one.per_second:,.1f}",
            f"{one.lowest:,.1f} – {one.highest:,.1f}",
            *(f"{number:.0f}" for number in (one.p50_ms, one.p99_ms)),
            *(f"{one.figures[name]:.2f}" for name in ("statements", "commits")),
            "\n".join(
                f"{number:5.2f} {name.removeprefix(OF)}"
                for name, number in sorted(one.figures.items(), key=lambda item: -item[1])
                if name.startswith(OF) and number >= LEAST_SHOWN
            ),
        )
        table.add_section()
    Console(width=max(Console().width, 120)).print(table)
