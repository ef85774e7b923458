"""service/event_stream.py: a stream taken apart as it arrives, in any pieces, or told broken."""

from asyncio import StreamReader, StreamWriter

import pytest
from raw_server import Server, serving

from service.errors import ReplyLost
from service.event_stream import Message, open_stream

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nX-Place: here\r\n"
EVENT = 'id: evt_1\nevent: job.completed\ndata: {"é": "\u2028"}\n\n'.encode()
BLOCKS = b": hello\n\n" + EVENT + b": ping\nid: evt_2\n\nretry: 5\n\n"


async def read(server: Server) -> list[Message]:
    async with open_stream(f"{server.origin}/v1/events", {"last-event-id": "evt_0"}) as opened:
        assert opened.messages is not None
        return [message async for message in opened.messages]


async def answer(writer: StreamWriter, *parts: bytes) -> None:
    for part in parts:
        writer.write(part)
        await writer.drain()
    raise ConnectionError  # ends it


@pytest.mark.parametrize("size", [1, 7, 1000])
async def test_blocks_are_read_in_whatever_pieces_they_come(size: int) -> None:
    async def talk(_: StreamReader, writer: StreamWriter) -> None:
        pieces = [BLOCKS[at : at + size] for at in range(0, len(BLOCKS), size)]
        framed = [b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces]
        head = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
        await answer(writer, head, *framed, b"0\r\n\r\n")

    async with serving(talk) as server:
        assert await read(server) == [
            Message(id=None, data=None),
            Message(id="evt_1", data='{"é": "\u2028"}'),
            Message(id="evt_2", data=None),
            Message(id=None, data=None),
        ]
    (request,) = server.requests
    assert b"text/event-stream" in request
    assert b"evt_0" in request


async def test_a_stream_that_breaks_is_lost() -> None:
    async def talk(_: StreamReader, writer: StreamWriter) -> None:
        await answer(writer, HEAD + b"Transfer-Encoding: chunked\r\n\r\n9\r\n: hello\n\n")

    async with serving(talk) as server:
        with pytest.raises(ReplyLost, match="cut short"):
            await read(server)


@pytest.mark.parametrize(
    "status", [b"401 Unauthorized", b"302 Found", b"204 No Content", b"200 OK"]
)
async def test_what_is_no_stream_is_a_reply(status: bytes) -> None:
    content = b"" if status[:3] == b"204" else b'{"code": "x"}'

    async def talk(_: StreamReader, writer: StreamWriter) -> None:
        head = b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nX-Place: here\r\n" % status
        length = b"Content-Length: %d\r\n" % len(content) if content else b""
        await answer(writer, head, b"Location: http://127.0.0.1:1/\r\n", length, b"\r\n", content)

    async with serving(talk) as server, open_stream(server.origin, {}) as opened:
        assert opened.messages is None
        assert (opened.reply.status, opened.reply.content) == (int(status[:3]), content)
        assert opened.reply.headers["x-place"] == "here"


async def test_where_nobody_listens_there_is_no_answer() -> None:
    async with serving(lambda reader, writer: answer(writer)) as server:
        pass
    with pytest.raises(ReplyLost, match="refused"):
        await read(server)
