"""The pretend fal's queue: takes jobs in, renders them by the clock, ends and forgets them."""

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from service import ids
from service.sandbox.fal_job import CANCELED, Job, Phase, result_of
from service.sandbox.fal_webhook import Webhooks
from service.sandbox.options import Misbehaviour
from service.sandbox.state import Sandbox

QUEUE_SHARE = 0.2
SLOWDOWN = 10
NAMESPACES = ("workflows", "comfy")


def app_of(endpoint: str) -> str | None:
    """The part of an endpoint id under which its requests are found: owner and app, and one
    segment more in fal's namespaces. None where the id is too short or malformed."""
    segments = endpoint.split("/")
    kept = 3 if segments[0] in NAMESPACES else 2
    if len(segments) < kept or not all(segments) or "requests" in segments:
        return None
    return "/".join(segments[:kept])


class Queue:
    """Every job that fal still knows, by request id."""

    def __init__(self, sandbox: Sandbox, webhooks: Webhooks) -> None:
        self._sandbox = sandbox
        self._webhooks = webhooks
        self._jobs: dict[str, Job] = {}
        self._waiting: dict[str, Job] = {}

    def __len__(self) -> int:
        """How many jobs wait for a runner."""
        return len(self._waiting)

    async def accept(
        self, *, endpoint: str, app: str, body: bytes, given: Mapping[str, Any], webhook: str | None
    ) -> Job:
        """Takes a submission: counted at once, and rendered from now on. Where the job's fate is
        to be early, it is over and its callback answered when this returns."""
        job = self._new(endpoint, app, body, given, webhook)
        self._jobs[job.request_id] = self._waiting[job.request_id] = job
        if Misbehaviour.EARLY in job.fate:
            self._finish(job)
            answered = asyncio.Event()
            self._sandbox.start(self._webhooks.tell(job, answered))
            await answered.wait()
        else:
            job.life = self._sandbox.start(self._render(job))
        return job

    def find(self, app: str, request_id: str) -> Job | None:
        """The job, where it was submitted under `app` and is still kept."""
        job = self._jobs.get(request_id)
        if job is None or job.app != app:
            return None
        if job.kept_until is not None and time.monotonic() >= job.kept_until:
            del self._jobs[request_id]
            return None
        return job

    def position(self, job: Job) -> int:
        """How many wait before it: 0 for the next one, and once it has left the queue."""
        waiting = list(self._waiting)
        return waiting.index(job.request_id) if job.request_id in self._waiting else 0

    def cancel(self, job: Job) -> bool:
        """Ends a job that has not ended: fal then has no callback for it. False where it had.

        fal only signals the runner, which may go on; and there is no status for what was removed
        from the queue: it completes with an error, or is not known any more.
        """
        if job.phase is Phase.COMPLETED:
            return False
        if Misbehaviour.IGNORE_CANCEL in job.fate:
            return True
        if Misbehaviour.FORGET_CANCELED in job.fate and job.phase is Phase.IN_QUEUE:
            del self._jobs[job.request_id]
        if job.life is not None:
            job.life.cancel()
        job.result = CANCELED
        self._finish(job)
        return True

    def _new(
        self, endpoint: str, app: str, body: bytes, given: Mapping[str, Any], webhook: str | None
    ) -> Job:
        sandbox = self._sandbox
        fate = sandbox.fates.draw(sandbox.options, has_callback=webhook is not None)
        request_id = str(ids.new_id())
        entry = sandbox.ledger.accept(
            request_id=request_id, model=endpoint, body=body, callback_url=webhook, fate=fate
        )
        result = result_of(request_id, endpoint, given, fate)
        # fal retries a broken runner under a new gateway id; callers must go by the request id.
        gateway_id = request_id if result.error_type is None else str(ids.new_id())
        return Job(
            request_id=request_id,
            gateway_request_id=gateway_id,
            endpoint=endpoint,
            app=app,
            webhook=webhook,
            fate=fate,
            entry=entry,
            result=result,
        )

    async def _render(self, job: Job) -> None:
        seconds = self._sandbox.options.render_seconds
        seconds *= SLOWDOWN if Misbehaviour.SLOW in job.fate else 1
        await asyncio.sleep(seconds * QUEUE_SHARE)
        self._waiting.pop(job.request_id, None)
        job.move(Phase.IN_PROGRESS, "The render has begun.")
        started = time.monotonic()
        await asyncio.sleep(seconds * (1 - QUEUE_SHARE))
        job.inference_seconds = round(time.monotonic() - started, 3)
        self._finish(job)
        await self._webhooks.tell(job, asyncio.Event())

    def _finish(self, job: Job) -> None:
        self._waiting.pop(job.request_id, None)
        job.kept_until = time.monotonic() + self._sandbox.options.retention_seconds
        job.entry.outcome = job.outcome
        job.move(Phase.COMPLETED, "The render has ended.")
