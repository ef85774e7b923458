"""The pretend fal on loopback: HTTP in, plain arguments to `fal`. A caller's key says who it is."""

import asyncio
import json
import re
from urllib.parse import parse_qs, urlsplit

from raw_server import read_request

from interleaving.fal import Answer, Fal


async def listening(fal: Fal) -> asyncio.Server:
    """Takes connections on 127.0.0.1, and answers one request after the other on each."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                status, body = await _answer(fal, (await read_request(reader)).decode())
                content = json.dumps(body)
                head = f"HTTP/1.1 {status} Said\r\nContent-Length: {len(content)}\r\n\r\n"
                writer.write((head + content).encode())
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.transport.abort()

    return await asyncio.start_server(talk, "127.0.0.1", 0)


async def _answer(fal: Fal, request: str) -> Answer:
    method, target, _ = request.split("\r\n")[0].split(" ")
    who = re.findall(r"authorization: key (\w+):", request, re.IGNORECASE)[0]
    url = urlsplit(target)
    if method == "POST":
        (callback,) = parse_qs(url.query)["fal_webhook"]
        return await fal.take(who, urlsplit(callback).query.removeprefix("token="))
    number, word = re.findall(r"/requests/([^/]+)/?(\w*)", url.path)[0]
    return await fal.tell(who, method, number, word)
