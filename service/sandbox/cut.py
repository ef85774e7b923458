"""Cuts a connection instead of answering on it, so that the client cannot know what happened."""

from asyncio import BaseTransport, Transport
from typing import cast

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_STATE = "connection"


class CuttableProtocol(HttpToolsProtocol):
    """uvicorn's protocol, which also shows each request the connection that it came on: ASGI has
    no word for cutting one, and an app that merely breaks off is answered for with a 500."""

    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(cast(Transport, transport))
        self.app_state = {**self.app_state, _STATE: transport}


def cut(reply: Response, *, midway: bool) -> ASGIApp:
    """Writes nothing of `reply`, or `midway` its headers and half of its body, and hangs up."""

    async def hang_up(scope: Scope, receive: Receive, send: Send) -> None:
        connection: Transport = scope["state"][_STATE]
        if midway:
            start = {"status": reply.status_code, "headers": reply.raw_headers}
            await send({"type": "http.response.start", **start})
            half = bytes(reply.body[: len(reply.body) // 2])
            await send({"type": "http.response.body", "body": half, "more_body": True})
        connection.close()
        while (await receive())["type"] != "http.disconnect":
            pass

    return hang_up
