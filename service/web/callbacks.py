"""The providers' door, as a bare ASGI callable: this path is walked ten thousand times a second.

No query string is ever logged, and nothing here says more than the contract's §5.
"""

from urllib.parse import parse_qsl

from starlette.types import Receive, Scope, Send

from service.call import KEPT_HEADERS, Answer, Call
from service.receive import Receiver

BODY_BYTES = 1024 * 1024
PREFIX = "/callbacks/"
# A door that one provider's set-ups used before Callboard: the same as its own.
LEGACY = {"/api/fal/webhook": "fal"}
_JSON = (b"content-type", b"application/json")
_TAKEN = tuple(name.encode() for name in KEPT_HEADERS)


class TooLarge(Exception):
    """The body passes the limit."""


class Gone(Exception):
    """The caller went away before its body ended."""


def provider_of(path: str) -> str | None:
    """The provider whose door this path is; None where it is none."""
    if path.startswith(PREFIX):
        return path[len(PREFIX) :]
    return LEGACY.get(path)


class Door:
    """Answers `POST /callbacks/{provider}?token=` once the call is stored and applied."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        provider = provider_of(scope["path"])
        if scope["method"] != "POST" or provider is None:
            await _send(send, 405, b'{"error": "POST only"}', (b"allow", b"POST"))
            return
        try:
            call = _call(scope, provider, await _body(receive))
        except Gone:
            return
        except TooLarge:
            call = _call(scope, provider, b"")
            answer = await self._receiver.refuse(call, reason="too_large", status=413)
        else:
            answer = await self._receiver.receive(call)
        await _answer(send, answer)


def _call(scope: Scope, provider: str, body: bytes) -> Call:
    client = scope.get("client")
    return Call(
        provider=provider,
        token=_token(scope["query_string"]),
        headers={
            name.decode("latin-1"): value.decode("latin-1")
            for name, value in scope["headers"]
            if name.startswith(_TAKEN)
        },
        body=body,
        address=client[0] if client else "",
        shared=scope["path"] in LEGACY,
    )


def _token(query: bytes) -> str:
    """The `token` of a query string; of several the last, empty where there is none."""
    if query.startswith(b"token=") and b"&" not in query and b"%" not in query:
        return query[6:].decode("latin-1")
    pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    return next((value for name, value in reversed(pairs) if name == "token"), "")


async def _body(receive: Receive) -> bytes:
    """The whole body, counted while it streams. Raises TooLarge and Gone."""
    message = await receive()
    if message["type"] == "http.disconnect":
        raise Gone
    if not message.get("more_body"):
        body: bytes = message.get("body", b"")
        if len(body) > BODY_BYTES:
            raise TooLarge
        return body
    parts = bytearray(message.get("body", b""))
    while message.get("more_body"):
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Gone
        parts += message.get("body", b"")
        if len(parts) > BODY_BYTES:
            raise TooLarge
    return bytes(parts)


async def _answer(send: Send, answer: Answer) -> None:
    if answer.status == 200:
        await _send(send, 200, b'{"status": "%s"}' % answer.word.encode())
    elif answer.status == 503:
        await _send(send, 503, b'{"error": "try again"}', (b"retry-after", b"5"))
    else:
        await _send(send, answer.status, _WORDS[answer.status])


_WORDS = {
    400: b'{"error": "not a callback of this provider"}',
    401: b'{"error": "refused"}',
    413: b'{"error": "larger than 1 MiB"}',
    415: b'{"error": "application/json only"}',
}


async def _send(send: Send, status: int, body: bytes, *more: tuple[bytes, bytes]) -> None:
    headers = [_JSON, (b"content-length", b"%d" % len(body)), *more]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
