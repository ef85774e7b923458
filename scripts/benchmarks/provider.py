"""A pretend fal in a process of its own: it shows its signing keys, and says of every render that
it is at work on it. Told its keys by one line of JSON on stdin.
"""

import asyncio
import logging
import sys

import uvloop
from starlette.types import ASGIApp, Receive, Scope, Send

from benchmarks.endpoint import answering, serve
from service import logs

KEYS = "/jwks.json"


def pretend(keys: bytes) -> ASGIApp:
    """fal's key set at KEYS; everywhere else a status."""
    shown, at_work = answering(keys), answering(b'{"status": "IN_PROGRESS"}')

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        await (shown if scope["path"] == KEYS else at_work)(scope, receive, send)

    return answer


if __name__ == "__main__":
    logs.set_up(logging.WARNING)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve({"fal": pretend(sys.stdin.readline().encode())}))
