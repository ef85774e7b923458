"""The stage of all stories: two processes, a provider and a database, and nothing that moves by
itself."""

from collections import Counter
from collections.abc import Callable

from interleaving import tables
from interleaving.clockwork import Loop
from interleaving.fal import Fal
from interleaving.fal_door import listening
from interleaving.gate import Gate, Reply
from interleaving.line import Line, Turn
from interleaving.process import Clock, Process
from interleaving.quiet import Quiet
from interleaving.wire import Wire
from service.database import Database, load_queries

NAMES = ("p0", "p1")
# What is only counted, or read to know how much may be done: it stops nowhere.
ASIDE = {
    *("rooms", "fail_submit", "fail_ask", "pause_provider", "restore_provider", "restore_asks"),
    *("untry_provider", "announce_events"),
}


class Stage:
    """Set up once. `counts` what happened in all stories; `control` is a way to the database that
    is never cut."""

    def __init__(self, dsn: str, say: Callable[[str], None]) -> None:
        self.counts: Counter[str] = Counter()
        self.gate = Gate(say, counts=self.counts)
        self.fal = Fal(self.gate)
        self.clock = Clock()
        self.processes: dict[str, Process] = {}
        self._dsn = dsn
        turn = Turn()
        names = {text.encode(): name for name, text in load_queries().items() if name not in ASIDE}
        self.lines = {name: Line(name, self.gate, turn, names) for name in NAMES}
        self.loop = Loop(lambda: any(line.at_work for line in self.lines.values()), turn.give)
        self._quiet = Quiet(self.loop, self.gate, turn, self.lines)

    async def open(self) -> None:
        """Before the first story."""
        self.control = await Database.connect(self._dsn, size=2)
        self._passing = await tables.passing(self.control)
        self._listener = await listening(self.fal)
        origin = f"http://127.0.0.1:{self._listener.sockets[0].getsockname()[1]}"
        for name, line in self.lines.items():
            wire = Wire(line, self._dsn)
            await wire.up()
            self.processes[name] = Process(name, wire, origin)
            await self.processes[name].start()

    async def close(self) -> None:
        """After the last one."""
        for process in self.processes.values():
            await process.stop()
            process.wire.down()
        self._listener.close()
        await tables.empty(self.control)
        await self.control.close()

    async def clear(self) -> None:
        """Leaves nothing of a story behind."""
        for name in NAMES:
            if self.loop.is_at_work(name) or self.gate.of(name):
                await self.replace(name)
            self.processes[name].renew()
        self.release(*NAMES)  # fal's answers to those who are gone
        await self.run_free()
        self.fal.forget()
        for line in self.lines.values():
            line.refusals.clear()
        await tables.empty(self.control)

    async def replace(self, name: str) -> None:
        """A process is gone, with all that it was doing; a new one is there."""
        process = self.processes[name]
        process.wire.down()
        await self.loop.kill(name)
        await self.run_free()
        await process.stop()
        await process.wire.up()
        await process.start()

    async def pass_time(self, seconds: float) -> None:
        """For all, unless somebody holds a transaction open."""
        if not self._quiet.is_held():
            self.clock.now += seconds
            await self.control.pool.execute(self._passing, seconds)

    async def run_free(self, *names: str, reply: Reply = Reply.GOOD) -> None:
        """Lets these processes go on as they like, the others as far as they may."""
        await self._quiet.run_free(self.control, *names, reply=reply)

    def release(self, *names: str) -> None:
        """Everything that waits of these processes goes on."""
        self._quiet.release(*names)
