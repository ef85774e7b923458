"""The pretend fal's replies: their fields and shapes (fal's queue pages)."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from service.sandbox.exchange import json
from service.sandbox.fal_job import Job, Phase


def unauthorized() -> Response:
    """The reply to a call without a key that is taken."""
    return json(401, {"detail": "A key is needed: Authorization: Key <id>:<secret>."})


def unknown(request: Request) -> Response:
    """The reply about a request that is not known, or no longer."""
    is_cancel = request.method == "PUT"
    return json(404, {"status": "NOT_FOUND"} if is_cancel else {"detail": "No such request."})


def submitted(request: Request, job: Job, position: int) -> Response:
    """The reply to a submission: always as it stood when it was taken in."""
    reply = {
        "status": Phase.IN_QUEUE,
        **_names(request, job),
        "gateway_request_id": job.request_id,
        "queue_position": position,
    }
    return json(200, reply, {"x-fal-request-id": job.request_id})


def status(request: Request, job: Job, position: int) -> dict[str, Any]:
    """A status, with the logs where the query asks for them; `position` counts from 0."""
    reply: dict[str, Any] = {"status": job.phase, **_names(request, job)}
    if job.phase is Phase.IN_QUEUE:
        return {**reply, "queue_position": position}
    reply["logs"] = job.logs if request.query_params.get("logs") in ("1", "true") else None
    if job.phase is Phase.COMPLETED:
        reply["metrics"] = {"inference_time": job.inference_seconds or 0.0}
        if job.result.error_type is not None:
            reply["error"] = job.result.body["detail"]
            reply["error_type"] = job.result.error_type
    return reply


def _names(request: Request, job: Job) -> dict[str, str]:
    base = f"{request.base_url}fal/{job.app}/requests/{job.request_id}"
    return {
        "request_id": job.request_id,
        "response_url": f"{base}/response",
        "status_url": f"{base}/status",
        "cancel_url": f"{base}/cancel",
    }
