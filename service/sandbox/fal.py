"""The pretend fal's queue API, at /fal: routes, and replies in fal's shapes (its queue pages)."""

from collections.abc import AsyncIterator, Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from service import jsontext
from service.sandbox.callbacks import is_callable_url
from service.sandbox.exchange import is_keyed, json, object_in, or_cut
from service.sandbox.fal_job import Job, Phase, detail
from service.sandbox.fal_queue import Queue, app_of
from service.sandbox.fal_replies import status, submitted, unauthorized, unknown
from service.sandbox.fal_webhook import Webhooks
from service.sandbox.state import Sandbox

_REQUEST = "/fal/{app:path}/requests/{request_id}"
Endpoint = Callable[[Request], Awaitable[ASGIApp]]
OnJob = Callable[[Request, Job], ASGIApp]


def routes(sandbox: Sandbox) -> list[Route]:
    """What /fal serves."""
    webhooks = Webhooks(sandbox)
    fal = _Fal(sandbox, Queue(sandbox, webhooks))

    async def keys(_: Request) -> Response:
        return json(200, webhooks.keys.jwks())

    return [
        Route("/fal/.well-known/jwks.json", keys),
        Route(f"{_REQUEST}/status", fal.on_job(fal.status)),
        Route(f"{_REQUEST}/status/stream", fal.on_job(fal.stream)),
        Route(f"{_REQUEST}/cancel", fal.on_job(fal.cancel), methods=["PUT"]),
        Route(f"{_REQUEST}/response", fal.on_job(fal.result)),
        Route(_REQUEST, fal.on_job(fal.result)),
        Route("/fal/{endpoint:path}", fal.submit, methods=["POST"]),
    ]


class _Fal:
    def __init__(self, sandbox: Sandbox, queue: Queue) -> None:
        self._sandbox = sandbox
        self._queue = queue

    async def submit(self, request: Request) -> ASGIApp:
        if not self._may(request):
            return unauthorized()
        endpoint = request.path_params["endpoint"]
        app = app_of(endpoint)
        if app is None:
            return json(404, {"detail": "There is no such application."})
        webhook = request.query_params.get("fal_webhook")
        body = await request.body()
        given = object_in(body)
        if given is None:
            return json(422, detail(["body"], "dict_type", "The body must be a JSON object."))
        if webhook is not None and not is_callable_url(webhook):
            return json(422, detail(["query", "fal_webhook"], "url_parsing", "Not an address."))
        if self._is_full(request):
            return json(429, {"detail": "The queue is longer than fal_max_queue_length."})
        job = await self._queue.accept(
            endpoint=endpoint, app=app, body=body, given=given, webhook=webhook
        )
        reply = submitted(request, job, self._queue.position(job))
        return or_cut(reply, job.fate)

    def on_job(self, answer: OnJob) -> Endpoint:
        """A route about one job: asks for the key and finds the job, then answers."""

        async def answered(request: Request) -> ASGIApp:
            if not self._may(request):
                return unauthorized()
            job = self._queue.find(request.path_params["app"], request.path_params["request_id"])
            if job is not None:
                return answer(request, job)
            return unknown(request)

        return answered

    def status(self, request: Request, job: Job) -> Response:
        job.entry.polls += 1
        code = 200 if job.phase is Phase.COMPLETED else 202
        return json(code, status(request, job, self._queue.position(job)))

    def stream(self, request: Request, job: Job) -> Response:
        job.entry.polls += 1

        async def states() -> AsyncIterator[str]:
            while True:
                changed = job.changed
                now = status(request, job, self._queue.position(job))
                yield f"data: {jsontext.dumps(now)}\n\n"
                if now["status"] is Phase.COMPLETED:
                    return
                await changed.wait()

        return StreamingResponse(states(), media_type="text/event-stream")

    def result(self, _: Request, job: Job) -> Response:
        if job.phase is not Phase.COMPLETED:
            return json(400, {"detail": "Request is still in progress"})
        headers = {"x-fal-request-id": job.request_id, **job.result.headers}
        return json(job.result.status, job.result.body, headers)

    def cancel(self, _: Request, job: Job) -> Response:
        if self._queue.cancel(job):
            return json(202, {"status": "CANCELLATION_REQUESTED"})
        return json(400, {"status": "ALREADY_COMPLETED"})

    def _may(self, request: Request) -> bool:
        return is_keyed(request, "Key", self._sandbox.options.api_key)

    def _is_full(self, request: Request) -> bool:
        most = request.query_params.get("fal_max_queue_length", "")
        return most.isdecimal() and len(self._queue) > int(most)
