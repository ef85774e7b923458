"""All connections of one process to Postgres, by way of a port of its own."""

import asyncio
from contextlib import suppress

from lossy import Server

from interleaving.frames import Cut
from interleaving.line import Line
from interleaving.talk import Talk


class Wire:
    """Takes connections, until they are all cut."""

    def __init__(self, line: Line, dsn: str) -> None:
        self.line = line
        self._server = Server(dsn)
        self._listener: asyncio.Server | None = None
        self._talks: list[Talk] = []
        self._port = 0

    @property
    def dsn(self) -> str:
        """Where this process finds the database."""
        return f"{self._server.by(self._port)}?sslmode=disable"

    async def up(self) -> None:
        """Takes connections."""
        self._listener = await asyncio.start_server(self._connected, "127.0.0.1", self._port)
        self._port = self._listener.sockets[0].getsockname()[1]

    def down(self) -> None:
        """Cuts all connections, at once, and takes no more. What Postgres is working on it goes on
        with, as it would."""
        assert self._listener is not None
        self._listener.close()
        for talk in list(self._talks):
            talk.hang_up()
        self.line.gate.drop(self.line.owner)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self.line.turn.take()
        self.line.beginning += 1
        try:
            there = await self._server.connection()
        finally:
            self.line.beginning -= 1
        talk = Talk(self.line, (reader, writer), there)
        self._talks.append(talk)
        try:
            await talk.run()
        except (Cut, ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self._talks.remove(talk)
            for end in (writer, there[1]):
                end.transport.abort()
                with suppress(ConnectionError):
                    await end.wait_closed()
