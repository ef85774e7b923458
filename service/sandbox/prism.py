"""The pretend Prism, at /prism: submit and poll (docs.prismvideos.com
api-reference/{create-generation,get-generation}, and errors)."""

import time
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from service.sandbox.exchange import is_keyed, json, object_in, or_cut
from service.sandbox.renders import Phase, Render, Renders
from service.sandbox.state import Sandbox

CREDITS = 120
SIGNED_SECONDS = 3600
_RATIOS = ("auto", "21:9", "16:9", "4:3", "1:1", "3:4", "9:16")
_MOST = 4
_WORDS = {
    Phase.QUEUED: "generating",  # `queued` is the word of the reply to a submission only
    Phase.RUNNING: "generating",
    Phase.SUCCEEDED: "completed",
    Phase.FAILED: "failed",
}


def routes(sandbox: Sandbox) -> list[Route]:
    """What /prism serves."""
    prism = _Prism(sandbox)
    return [
        Route("/prism/generations", prism.submit, methods=["POST"]),
        Route("/prism/generations/{generation_id}", prism.status),
    ]


class _Prism:
    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._renders = Renders(sandbox)

    async def submit(self, request: Request) -> ASGIApp:
        if not self._may(request):
            return _refusal(401, "unauthorized", "The API key is missing or invalid.")
        body = await request.body()
        given = object_in(body)
        if given is None:
            return _refusal(400, "validation_error", "The body must be a JSON object.")
        wrong = _wrong(given)
        if wrong is not None:
            return _refusal(400, "validation_error", wrong)
        ids = [f"gen_{uuid4().hex}" for _ in range(given.get("count", 1))]
        render = await self._renders.accept(ids=ids, model=given["modelName"], body=body)
        return or_cut(json(200, _created(render)), render.fate)

    async def status(self, request: Request) -> Response:
        if not self._may(request):
            return _refusal(401, "unauthorized", "The API key is missing or invalid.")
        generation_id = request.path_params["generation_id"]
        render = self._renders.ask(generation_id)
        if render is None:
            return _refusal(404, "not_found", "There is no such generation.")
        return json(200, _generation(render, generation_id))

    def _may(self, request: Request) -> bool:
        return is_keyed(request, "Bearer", self._sandbox.options.api_key)


def _wrong(given: dict[str, Any]) -> str | None:
    for name in ("prompt", "modelName"):
        if not isinstance(given.get(name), str) or not given[name].strip():
            return f"{name} is required."
    if given.get("aspectRatio", "auto") not in _RATIOS:
        return f"aspectRatio must be one of {', '.join(_RATIOS)}."
    count = given.get("count", 1)
    if type(count) is not int or not 1 <= count <= _MOST:
        return f"count must be from 1 to {_MOST}."
    return None


def _created(render: Render) -> dict[str, Any]:
    generations = [
        {"id": one, "asset_id": f"asset_{one[4:]}", "request_id": None, "status": "queued"}
        for one in render.ids
    ]
    metadata = {
        "model_name": render.model,
        "selected_model_name": render.model,
        "credits_charged": CREDITS * len(generations),
        "num_generations": len(generations),
    }
    return {
        "data": {
            "generations": generations,
            "endpoint_id": None,
            "variant": "text-to-video",
            "metadata": metadata,
        }
    }


def _generation(render: Render, generation_id: str) -> dict[str, Any]:
    done = render.phase is Phase.SUCCEEDED
    return {
        "id": generation_id,
        "status": _WORDS[render.phase],
        "template_id": None,
        "video_url": _signed(generation_id) if done else None,
        "share_url": f"https://prism.example/s/{generation_id}" if done else None,
        "created_at": _moment(render.created_at),
        "completed_at": _moment(render.ended_at),
        "error": render.fault if render.phase is Phase.FAILED else None,
    }


def _signed(generation_id: str) -> str:
    """The video's address, presigned anew."""
    at = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    query = f"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Date={at}&X-Amz-Expires={SIGNED_SECONDS}"
    signature = uuid4().hex * 2
    return f"https://media.prism.example/{generation_id}.mp4?{query}&X-Amz-Signature={signature}"


def _moment(at: float | None) -> str | None:
    if at is None:
        return None
    return datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")


def _refusal(code: int, error: str, message: str) -> Response:
    return json(code, {"error": error, "message": message})
