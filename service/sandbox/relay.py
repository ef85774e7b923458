"""The pretend relay, at /relay: submit and query (docs.yutoai.net, /v2/videos/generations)."""

from typing import Any
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from service.sandbox.callbacks import is_callable_url
from service.sandbox.exchange import is_keyed, json, object_in, or_cut
from service.sandbox.options import Misbehaviour
from service.sandbox.relay_hook import Hooks, task
from service.sandbox.renders import Phase, Renders
from service.sandbox.state import Sandbox

_RATIOS = ("16:9", "9:16")
_DURATIONS = {"sora-2": ("10", "15"), "sora-2-pro": ("10", "15", "25")}


def routes(sandbox: Sandbox) -> list[Route]:
    """What /relay serves."""
    relay = _Relay(sandbox)
    generations = "/relay/v2/videos/generations"
    return [
        Route(generations, relay.submit, methods=["POST"]),
        Route(f"{generations}/{{task_id}}", relay.query),
    ]


class _Relay:
    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._renders = Renders(sandbox, Hooks(sandbox).tell)

    async def submit(self, request: Request) -> ASGIApp:
        if not self._may(request):
            return _refusal(401, "Invalid token", "invalid_api_key")
        body = await request.body()
        given = object_in(body)
        if given is None:
            return _refusal(400, "The body must be a JSON object.", "invalid_request")
        wrong = _wrong(given)
        if wrong is not None:
            return _refusal(400, wrong, "invalid_request")
        render = await self._renders.accept(
            ids=[str(uuid4())],
            model=given["model"],
            body=body,
            callback_url=given.get("notify_hook"),
        )
        return or_cut(json(200, {"task_id": render.ids[0]}), render.fate)

    async def query(self, request: Request) -> Response:
        if not self._may(request):
            return _refusal(401, "Invalid token", "invalid_api_key")
        render = self._renders.ask(request.path_params["task_id"])
        if render is None:
            return _refusal(404, "task_not_exist", "task_not_exist")
        shown = task(render, render.phase)
        late = Misbehaviour.NULL_PAYLOAD in render.fate and render.looks_at_end == 1
        if late and render.phase is Phase.SUCCEEDED:
            shown["data"] = {}  # SUCCESS before there is an address: relays are known for it
        return json(200, shown)

    def _may(self, request: Request) -> bool:
        return is_keyed(request, "Bearer", self._sandbox.options.api_key)


def _wrong(given: dict[str, Any]) -> str | None:
    prompt, model, hook = given.get("prompt"), given.get("model"), given.get("notify_hook")
    if not isinstance(prompt, str) or not prompt.strip():
        return "prompt is required"
    if not isinstance(model, str) or model not in _DURATIONS:
        return "unknown model"
    if given.get("duration", "10") not in _DURATIONS[model]:
        return f"duration must be one of {', '.join(_DURATIONS[model])}"
    if given.get("aspect_ratio", "16:9") not in _RATIOS:
        return "aspect_ratio must be 16:9 or 9:16"
    if hook is not None and not (isinstance(hook, str) and is_callable_url(hook)):
        return "notify_hook is not an address"
    return None


def _refusal(status: int, message: str, code: str) -> Response:
    kind = "invalid_request_error"
    return json(status, {"error": {"message": message, "type": kind, "param": None, "code": code}})
