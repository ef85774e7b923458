"""Bare clients that send what our deliveries send, and the time that work takes."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

import aiohttp
import httpx

from benchmarks.measured import Run

IN_FLIGHT = 64
BODY = b'{"type":"job.completed","data":{"job":"' + b"x" * 1000 + b'"}}'
HEADERS = {"content-type": "application/json", "webhook-timestamp": "1", "webhook-signature": "v1,"}
Post = Callable[[str, str], Awaitable[None]]


async def timed(count: int, work: Callable[[int], Awaitable[None]]) -> Run:
    began, used = time.perf_counter(), time.process_time()
    await work(count)
    seconds = time.perf_counter() - began
    each = (time.process_time() - used) / count * 1e6
    return Run(per_second=count / seconds, p50_ms=0.0, p99_ms=0.0, server_us=each)


def many(post: Post, urls: Sequence[str]) -> Callable[[int], Awaitable[None]]:
    """Posts so many, IN_FLIGHT at once."""

    async def work(count: int) -> None:
        numbers = iter(range(count))

        async def one_after_another() -> None:
            for number in numbers:
                await post(urls[number % len(urls)], f"bare-{number}")

        await asyncio.gather(*(one_after_another() for _ in range(IN_FLIGHT)))

    return work


def by_httpx(client: httpx.AsyncClient) -> Post:
    async def post(url: str, name: str) -> None:
        reply = await client.post(url, content=BODY, headers=HEADERS | {"webhook-id": name})
        assert reply.status_code == 200

    return post


def by_aiohttp(session: aiohttp.ClientSession) -> Post:
    async def post(url: str, name: str) -> None:
        async with session.post(url, data=BODY, headers=HEADERS | {"webhook-id": name}) as reply:
            assert reply.status == 200
            await reply.read()

    return post
