"""A way to Postgres that can lose an answer: the statement takes effect, and nobody is told."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import parse_qs, urlsplit


class Server:
    """Where a Postgres listens, from its address."""

    def __init__(self, dsn: str) -> None:
        parts = urlsplit(dsn)
        query = parse_qs(parts.query)
        folder = query.get("host", [""])[0]
        self._port = parts.port or int(query.get("port", ["5432"])[0])
        self._host = parts.hostname
        self._socket = f"{folder}/.s.PGSQL.{self._port}" if folder.startswith("/") else None
        self._database = parts.path
        self._user = f"{parts.netloc.rpartition('@')[0]}@" if "@" in parts.netloc else ""

    def by(self, port: int) -> str:
        """The address of the same database by way of a port on this machine."""
        return f"postgresql://{self._user}127.0.0.1:{port}{self._database}"

    async def connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection on which nothing has been said."""
        if self._socket is not None:
            return await asyncio.open_unix_connection(self._socket)
        return await asyncio.open_connection(self._host, self._port)


class Way:
    """A proxy in front of Postgres. `lose(text)`: the next statement that holds `text` is carried
    out, its answer is thrown away and the connection is cut. `lost` counts how often."""

    def __init__(self, dsn: str) -> None:
        self._server = Server(dsn)
        self._wanted: bytes | None = None
        self.port = 0
        self.lost = 0

    @property
    def dsn(self) -> str:
        return self._server.by(self.port)

    def lose(self, text: str) -> None:
        self._wanted = text.encode()

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await self._server.connection()
        losing = asyncio.Event()
        ways = [
            asyncio.create_task(self._forth(reader, there[1], losing)),
            asyncio.create_task(self._back(there[0], writer, losing)),
        ]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
        for end in (writer, there[1]):
            end.close()
        await asyncio.gather(*ways, return_exceptions=True)

    async def _forth(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, losing: asyncio.Event
    ) -> None:
        """asyncpg parses a statement in one message and binds it in the next: the text is seen in
        the first, and from the second on the answers are lost."""
        seen = False
        while data := await reader.read(65536):
            if self._wanted is not None and self._wanted in data:
                self._wanted = None
                if data.startswith(b"Q"):  # a simple query, as COMMIT is: one message for both
                    losing.set()
                else:
                    seen = True
            elif seen and b"E\x00\x00\x00" in data:  # Execute
                seen = False
                losing.set()
            writer.write(data)
            await writer.drain()

    async def _back(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, losing: asyncio.Event
    ) -> None:
        while data := await reader.read(65536):
            if losing.is_set():
                self.lost += 1
                return
            writer.write(data)
            await writer.drain()


@asynccontextmanager
async def lossy(dsn: str) -> AsyncIterator[Way]:
    """Runs a Way to the database at `dsn`. A statement's text is only on the wire when a
    connection first prepares it: use a fresh pool for each loss."""
    way = Way(dsn)
    tasks: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        with suppress(ConnectionError, asyncio.CancelledError):
            await way.connected(reader, writer)
        tasks.discard(task)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    way.port = server.sockets[0].getsockname()[1]
    try:
        yield way
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
