"""A stream of server-sent events, read from a Callboard by a command on another machine."""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

import aiohttp

from service.errors import ReplyLost
from service.faults import describe
from service.http import tls
from service.providers import Reply

CONNECT_SECONDS = 10.0
QUIET_SECONDS = 40.0  # more than two pings
MOST_BYTES = 64 * 1024 * 1024
MEDIA_TYPE = "text/event-stream"


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One block of the stream: the id to resume after, and an event's data; either may be None."""

    id: str | None
    data: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """What was answered: a stream's `messages`, or a whole reply that is none."""

    reply: Reply
    messages: AsyncIterator[Message] | None


@asynccontextmanager
async def open_stream(url: str, headers: Mapping[str, str]) -> AsyncIterator[Opened]:
    """Asks for a stream. Raises ReplyLost where there is no answer; so do the messages, where the
    stream breaks, or is silent for longer than pings are apart."""
    timeout = aiohttp.ClientTimeout(
        total=None, sock_connect=CONNECT_SECONDS, sock_read=QUIET_SECONDS
    )
    asked = {"accept": MEDIA_TYPE, "user-agent": "Callboard", **headers}
    connector = aiohttp.TCPConnector(ssl=tls())
    async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
        with _told():
            answer = await session.get(url, headers=asked, allow_redirects=False)
            streams = answer.status == 200 and answer.content_type == MEDIA_TYPE
            content = b"" if streams else await answer.read()
        headers = {name.lower(): value for name, value in answer.headers.items()}
        reply = Reply(status=answer.status, content=content, headers=headers)
        async with answer:
            yield Opened(reply=reply, messages=_messages(answer.content) if streams else None)


async def _messages(stream: aiohttp.StreamReader) -> AsyncIterator[Message]:
    """Each block as it ends (HTML standard, §9.2.6; a Callboard writes LF only)."""
    waiting = b""
    with _told():
        async for part in stream.iter_any():
            *whole, waiting = (waiting + part).split(b"\n\n")
            if len(waiting) > MOST_BYTES:
                raise ReplyLost("an event is larger than any there can be")
            for block in whole:
                fields = dict(_field(line) for line in block.decode().split("\n"))
                yield Message(id=fields.get("id"), data=fields.get("data"))


@contextmanager
def _told() -> Iterator[None]:
    """Raises what went wrong on the way as ReplyLost."""
    try:
        yield
    except (aiohttp.ClientError, TimeoutError, OSError) as fault:
        raise ReplyLost(describe(fault)) from None


def _field(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name, value.removeprefix(" ")
