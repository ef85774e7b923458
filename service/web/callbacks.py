"""The providers' door, as a bare ASGI callable: this path is walked ten thousand times a second.

No query string is ever logged, and nothing here says more than the contract's §5.
"""

from functools import lru_cache
from urllib.parse import parse_qsl

from starlette.types import Message, Receive, Scope, Send

from service.call import KEPT_HEADERS, Answer, Call
from service.receive import Receiver

BODY_BYTES = 1024 * 1024
PREFIX = "/callbacks/"
# A door that one provider's set-ups used before Callboard: the same as its own.
LEGACY = {"/api/fal/webhook": "fal"}
_JSON = (b"content-type", b"application/json")
_KEPT = {name.encode(): name for name in KEPT_HEADERS}


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
            await _answer(send, Answer(status=405))
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
            _KEPT[name]: value.decode("latin-1")
            for name, value in scope["headers"]
            if name in _KEPT
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


_WORDS = {
    400: b'{"error": "not a callback of this provider"}',
    401: b'{"error": "refused"}',
    405: b'{"error": "POST only"}',
    413: b'{"error": "larger than 1 MiB"}',
    415: b'{"error": "application/json only"}',
    503: b'{"error": "try again"}',
}
_MORE_HEADERS = {405: [(b"allow", b"POST")], 503: [(b"retry-after", b"5")]}


@lru_cache(maxsize=64)
def _messages(answer: Answer) -> tuple[Message, Message]:
    """What is sent: there are a handful of answers, and most calls get the same."""
    status = answer.status
    body = b'{"status": "%s"}' % answer.word.encode() if status == 200 else _WORDS[status]
    length = (b"content-length", b"%d" % len(body))
    headers = [_JSON, length, *_MORE_HEADERS.get(status, [])]
    return (
        {"type": "http.response.start", "status": status, "headers": headers},
        {"type": "http.response.body", "body": body},
    )


async def _answer(send: Send, answer: Answer) -> None:
    start, body = _messages(answer)
    await send(start)
    await send(body)
