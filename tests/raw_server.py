"""A server of raw bytes on loopback, for what no well-behaved server would do."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Fal-Request-Id: r1\r\n\r\n{}"
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Server:
    """What a server saw: `arrived` is set with the first request, `hung_up` once a client has
    closed its connection."""

    port: int = 0
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    hung_up: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"


async def read_request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return head + await reader.readexactly(int(length[0].split(b":")[1]) if length else 0)


@asynccontextmanager
async def serving(talk: Talk, *, reads: bool = True) -> AsyncIterator[Server]:
    """Serves on 127.0.0.1: reads a request (if it `reads`), lets `talk` answer, and again, until
    either side ends the connection; `talk` does so by raising ConnectionError."""
    server = Server()
    tasks: list[asyncio.Task[None]] = []

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.connections += 1
        if (task := asyncio.current_task()) is not None:
            tasks.append(task)
        try:
            while True:
                if reads:
                    server.requests.append(await read_request(reader))
                    server.arrived.set()
                await talk(reader, writer)
        except asyncio.CancelledError:
            pass  # asyncio's streams would report it as an error
        except (asyncio.IncompleteReadError, ConnectionError):
            server.hung_up.set()
        finally:
            writer.close()
            with suppress(ConnectionError, asyncio.CancelledError):
                await writer.wait_closed()

    listener = await asyncio.start_server(connected, "127.0.0.1", 0)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks)


def says(answer: bytes, *, then_closes: bool = True) -> Talk:
    async def talk(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()
        if then_closes:
            raise ConnectionError

    return talk


async def hangs(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Says nothing until the client goes away."""
    while await reader.read(65536):
        pass
    raise ConnectionError


async def half_closes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write_eof()
    await hangs(reader, writer)


async def resets(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    linger_zero = b"\x01\x00\x00\x00\x00\x00\x00\x00"
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_zero)
    raise ConnectionError


async def floods(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A good answer's head, and then a body without end."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
    while True:
        writer.write(b"x" * 65536)
        await writer.drain()


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
