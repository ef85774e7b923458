"""The pretend Genviral, at /genviral: submit and poll, in its envelope (docs.genviral.io
api-reference/{response,generate-studio-video})."""

from typing import Any
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from service import jsontext
from service.sandbox.exchange import is_keyed, json, object_in, or_cut
from service.sandbox.renders import Phase, Render, Renders
from service.sandbox.state import Sandbox

CREDITS = 16
_SPEAKING = ("veed/fabric-1.0", "creatify/lipsync")
_MODELS = ("openai/sora-2", "google/veo-3", "bytedance/seedance-2.0", *_SPEAKING)
_MOST_REFERENCES = {
    "reference_image_urls": 9,
    "reference_video_urls": 3,
    "reference_audio_urls": 3,
}
_WORDS = {
    Phase.QUEUED: "processing",
    Phase.RUNNING: "processing",
    Phase.SUCCEEDED: "succeeded",
    Phase.FAILED: "failed",
}


def routes(sandbox: Sandbox) -> list[Route]:
    """What /genviral serves."""
    genviral = _Genviral(sandbox)
    videos = "/genviral/studio/videos"
    return [
        Route(f"{videos}/generate", genviral.submit, methods=["POST"]),
        Route(f"{videos}/{{video_id}}", genviral.status),
    ]


class _Genviral:
    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._renders = Renders(sandbox)

    async def submit(self, request: Request) -> ASGIApp:
        if not self._may(request):
            return _refusal(401, "unauthorized", "The token is missing, invalid or revoked.")
        body = await request.body()
        given = object_in(body)
        if given is None:
            return _not_an_object(body)
        wrong = _wrong(given)
        if wrong is not None:
            return _refusal(422, *wrong)
        render = await self._renders.accept(ids=[str(uuid4())], model=given["model_id"], body=body)
        reply = _envelope(202, "Video generation started", _data(render, Phase.QUEUED))
        return or_cut(reply, render.fate)

    async def status(self, request: Request) -> Response:
        if not self._may(request):
            return _refusal(401, "unauthorized", "The token is missing, invalid or revoked.")
        render = self._renders.ask(request.path_params["video_id"])
        if render is None:
            return _refusal(404, "video_not_found", "There is no such video.")
        return _envelope(200, "Video retrieved", _data(render, render.phase) | _end(render))

    def _may(self, request: Request) -> bool:
        return is_keyed(request, "Bearer", self._sandbox.options.api_key)


def _wrong(given: dict[str, Any]) -> tuple[str, str] | None:
    """The code and message of what is wrong with a submission."""
    model = given.get("model_id")
    if model not in _MODELS:
        return "invalid_payload", "Unsupported model_id."
    if model not in _SPEAKING and ({"speech_text", "voice_id"} & given.keys()):
        return "model_input_not_supported", "Only talking-head models take speech_text."
    for name, most in _MOST_REFERENCES.items():
        listed = given.get(name, [])
        if not isinstance(listed, list) or len(listed) > most:
            return "invalid_payload", f"{name} must be a list of at most {most}."
    return None


def _not_an_object(body: bytes) -> Response:
    try:
        jsontext.loads(body)
    except ValueError:
        return _refusal(400, "invalid_json", "The body is not JSON.")
    return _refusal(422, "invalid_payload", "The body must be an object.")


def _data(render: Render, phase: Phase) -> dict[str, Any]:
    return {
        "video_id": render.ids[0],
        "prediction_id": f"pred_{render.ids[0][:8]}",
        "provider": "fal",
        "model_id": render.model,
        "status": _WORDS[phase],
        "output_url": None,
        "credits_used": CREDITS,
    }


def _end(render: Render) -> dict[str, Any]:
    if render.phase is Phase.SUCCEEDED:
        return {"output_url": f"https://media.genviral.example/{render.ids[0]}.mp4", "error": None}
    return {"error": render.fault if render.phase is Phase.FAILED else None}


def _envelope(code: int, message: str, data: dict[str, Any]) -> Response:
    return json(code, {"ok": True, "code": code, "message": message, "data": data})


def _refusal(code: int, error_code: str, message: str) -> Response:
    return json(code, {"ok": False, "code": code, "error_code": error_code, "message": message})
