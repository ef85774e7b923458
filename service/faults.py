"""What went wrong on the network, told in words of our own: no address, query or secret in them."""

import os
import ssl
from collections.abc import Iterator
from socket import gaierror

import aiohttp
import httpx

from service.errors import CallboardError

_WORDS: tuple[tuple[type[BaseException], str], ...] = (
    (aiohttp.ServerDisconnectedError, "the connection was closed without an answer"),
    (aiohttp.ClientPayloadError, "the answer was cut short"),
    (aiohttp.ClientResponseError, "the answer is not HTTP"),
    (httpx.RemoteProtocolError, "the answer was cut short, or is not HTTP"),
    (httpx.LocalProtocolError, "a header cannot be written"),
    (ssl.SSLError, "TLS failed"),
    (gaierror, "the name does not resolve"),
    (TimeoutError, "timed out"),
    (ValueError, "the URL or a header cannot be written"),  # aiohttp.InvalidURL among them
)


def describe(fault: BaseException) -> str:
    """What went wrong in `fault`, or in what caused it."""
    for cause in _causes(fault):
        if isinstance(cause, CallboardError):
            return str(cause)
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"the TLS certificate is refused: {cause.verify_message}"
        for kind, words in _WORDS:
            if isinstance(cause, kind):
                return words
        if isinstance(cause, OSError) and cause.errno is not None:
            return os.strerror(cause.errno)
    return f"the connection failed ({type(cause).__name__})"


def _causes(fault: BaseException | None) -> Iterator[BaseException]:
    """`fault`, what caused it, and so on; of a group the first, and not aiohttp's wrappings."""
    while fault is not None:
        if not isinstance(fault, aiohttp.ClientConnectorError):
            yield fault
        if isinstance(fault, BaseExceptionGroup):
            fault = fault.exceptions[0]
        elif fault.__cause__ is None and type(fault).__module__.startswith("httpcore"):
            fault = fault.__context__  # httpcore's pool strips the cause, which was the same
        else:
            fault = fault.__cause__
