"""Postgres's protocol, just well enough to stop between its statements (postgresql.org,
Frontend/Backend Protocol): one message is a frame, and a batch of them wants one answer."""

import asyncio
import struct

Frame = tuple[bytes, bytes]  # its kind; the rest of it, length first
Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]
CANCEL_CODE = 80877102
IN_TRANSACTION = ord("T")
ANSWERS_WANTED = {0: False, 12: False}  # of the authentication messages; any other wants one
BEGIN, COMMIT = (
    b"Q" + struct.pack(">I", 5 + len(text)) + text + b"\x00" for text in (b"begin", b"commit")
)
# What ends a batch of the client's, and the answer to it: Sync, Query; Flush, after a Describe.
ENDS = {b"S": b"Z", b"Q": b"Z", b"H": b"TnE"}


class Cut(Exception):
    """The connection ends here."""


async def read_frame(reader: asyncio.StreamReader) -> Frame:
    """One message."""
    kind, length = await reader.readexactly(1), await reader.readexactly(4)
    return kind, length + await reader.readexactly(struct.unpack(">I", length)[0] - 4)


async def read_batch(reader: asyncio.StreamReader) -> list[Frame]:
    """The client's messages up to the one that wants an answer. Raises Cut where it leaves."""
    batch = [await read_frame(reader)]
    while batch[-1][0] not in ENDS:
        if batch[-1][0] == b"X":
            raise Cut
        batch.append(await read_frame(reader))
    return batch


async def begin_session(client: Ends, server: Ends) -> int:
    """The start-up, up to the point where the server is ready; the backend's process id. Raises Cut
    where the client only wants something canceled."""
    head = await client[0].readexactly(8)
    length, code = struct.unpack(">II", head)
    server[1].write(head + await client[0].readexactly(length - 8))
    if code == CANCEL_CODE:
        raise Cut
    pid = 0
    while True:
        kind, body = await read_frame(server[0])
        client[1].write(kind + body)
        if kind == b"K":
            (pid,) = struct.unpack(">I", body[4:8])
        if kind == b"R" and ANSWERS_WANTED.get(struct.unpack(">I", body[4:8])[0], True):
            server[1].write(b"".join(await read_frame(client[0])))
        if kind == b"Z":
            return pid


def sqlstate(fields: bytes) -> str:
    """The code in an error's fields."""
    return next(one[1:].decode() for one in fields.split(b"\x00") if one.startswith(b"C"))
