"""Asks a Callboard over HTTP, for commands on another machine (CALLBOARD_URL)."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from service import jsontext
from service.errors import (
    CallboardError,
    Conflict,
    Forbidden,
    InvalidRequest,
    NotFound,
    NotSent,
    ReplyLost,
    RequestFault,
    SettingInvalid,
    Unauthorized,
    Unavailable,
)
from service.pooled import Asker
from service.providers import Reply, Request
from service.settings import Settings

TOTAL_SECONDS = 60.0  # the service itself answers within 50, where it is asked to wait
SHOWN_CHARACTERS = 300
FAULTS: dict[int, type[RequestFault]] = {
    400: InvalidRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    422: InvalidRequest,
    429: Unavailable,
}


def key_to_service(settings: Settings) -> str:
    """The key to the service at CALLBOARD_URL. Raises SettingInvalid where there is none."""
    if settings.callboard_api_key is None:
        raise SettingInvalid("CALLBOARD_API_KEY", "must be set where CALLBOARD_URL is")
    return settings.callboard_api_key.get_secret_value()


async def ask_service(
    asker: Asker,
    url: str,
    key: str,
    path: str,
    *,
    method: str = "GET",
    query: Mapping[str, str] | None = None,
    body: Any = None,
) -> Any:
    """The JSON that the Callboard at `url` answers to `method path` under `key`; None where the
    answer has no body.

    Raises what its problem document says (Unauthorized, Forbidden, NotFound, Conflict,
    InvalidRequest), Unavailable where it does not answer, CallboardError where whatever answers
    is no Callboard.
    """
    asked = f"?{urlencode(query)}" if query else ""
    parts = urlsplit(url)
    request = Request(
        method=method,
        url=f"{url}{path}{asked}",
        content=None if body is None else jsontext.dumps(body).encode(),
        headers={} if body is None else {"content-type": "application/json"},
    )
    try:
        reply = await asker.ask(
            request,
            origin=f"{parts.scheme}://{parts.netloc}",
            credentials={"Authorization": f"Bearer {key}"},
            total=TOTAL_SECONDS,
        )
    except (NotSent, ReplyLost) as fault:
        raise Unavailable(f"{url} does not answer: {fault}", code="unavailable") from None
    return read_reply(url, reply)


def read_reply(url: str, reply: Reply) -> Any:
    """The JSON in a whole reply of the Callboard at `url`. Raises as `ask_service` does."""
    if reply.status == 204:
        return None
    value = _json(reply)
    if 200 <= reply.status < 300 and value is not None:
        return value
    code = value.get("code") if isinstance(value, dict) else None
    if reply.status >= 500:
        said = f": {value.get('detail', code)}"[:SHOWN_CHARACTERS] if isinstance(code, str) else ""
        raise Unavailable(f"{url} answered HTTP {reply.status}{said}", code="unavailable")
    if not isinstance(code, str) or reply.status not in FAULTS:
        raise CallboardError(f"{url} answered HTTP {reply.status}, but not as a Callboard does")
    detail = str(value.get("detail", code))[:SHOWN_CHARACTERS]
    raise FAULTS[reply.status](detail, code=code)


def _json(reply: Reply) -> Any:
    try:
        return reply.json()
    except ValueError:
        return None


class RemoteJobs:
    """A JobSource over HTTP: what the key sees."""

    def __init__(self, asker: Asker, url: str, key: str, *, pause: float = 1.0) -> None:
        self.pause = pause
        self._asker = asker
        self._url = url
        self._key = key

    async def page(self, query: Mapping[str, str]) -> dict[str, Any]:
        """Takes the filters of `GET /v1/jobs`."""
        return dict(await self._ask("/v1/jobs", query))

    async def job(self, job_id: str) -> dict[str, Any]:
        """Raises NotFound."""
        return dict(await self._ask(f"/v1/jobs/{quote(job_id, safe='')}"))

    async def timeline(self, job_id: str) -> list[Mapping[str, Any]]:
        """Raises NotFound."""
        told = await self._ask(f"/v1/jobs/{quote(job_id, safe='')}/timeline")
        return list(told["data"])

    async def _ask(self, path: str, query: Mapping[str, str] | None = None) -> Any:
        return await ask_service(self._asker, self._url, self._key, path, query=query)
