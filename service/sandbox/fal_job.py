"""One pretend fal job: where it stands, and what its model will have answered in the end."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from hashlib import sha256
from typing import Any

from service.sandbox.fates import Fate
from service.sandbox.ledger import Entry, Outcome
from service.sandbox.options import Misbehaviour

_DOCS = "https://docs.fal.ai/errors"


class Phase(StrEnum):
    """fal's status words; there is none for a failure (fal's queue page)."""

    IN_QUEUE = "IN_QUEUE"
    IN_PROGRESS = "IN_PROGRESS"
    COMPLETED = "COMPLETED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What the result's URL answers: an HTTP status and a body.

    `error_type` is set where fal itself, not the model, failed the job: then the status reply
    of the completed job carries it too (fal's request errors page).
    """

    status: int
    body: Mapping[str, Any]
    error_type: str | None = None

    @property
    def headers(self) -> dict[str, str]:
        if self.error_type is None:
            return {"x-fal-billable-units": "1"} if self.status == 200 else {}
        retryable = "true" if self.status >= 500 else "false"
        return {"X-Fal-Error-Type": self.error_type, "X-Fal-Retryable": retryable}


CANCELED = Result(
    status=499,
    body={"detail": "The request was cancelled.", "error_type": "client_cancelled"},
    error_type="client_cancelled",
)


@dataclass(slots=True, kw_only=True, eq=False)
class Job:
    """One accepted submission; `changed` is set, and replaced, whenever `phase` moves."""

    request_id: str
    gateway_request_id: str
    endpoint: str
    app: str
    webhook: str | None
    fate: Fate
    entry: Entry
    result: Result
    phase: Phase = Phase.IN_QUEUE
    inference_seconds: float | None = None
    kept_until: float | None = None
    life: asyncio.Task[None] | None = None
    logs: list[dict[str, str]] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def move(self, phase: Phase, note: str) -> None:
        """Moves to `phase`, logs `note` as the runner would, and wakes who follows."""
        now = datetime.now(UTC).isoformat()
        self.logs.append({"message": note, "timestamp": now, "level": "INFO", "source": "USER"})
        self.phase = phase
        waiting, self.changed = self.changed, asyncio.Event()
        waiting.set()

    @property
    def outcome(self) -> Outcome:
        if self.result is CANCELED:
            return Outcome.CANCELED
        return Outcome.COMPLETED if self.result.status == 200 else Outcome.FAILED


def result_of(request_id: str, endpoint: str, given: Mapping[str, Any], fate: Fate) -> Result:
    """How a render with the input `given` will end."""
    prompt = given.get("prompt", "something")
    if Misbehaviour.ERROR in fate:
        if fate.second_kind(Misbehaviour.ERROR):
            return _refused(prompt, "content_policy_violation", "The prompt was refused.")
        body = {"detail": "The runner did not finish in time.", "error_type": "request_timeout"}
        return Result(status=504, body=body, error_type="request_timeout")
    if not isinstance(prompt, str):
        return _refused(prompt, "string_type", "The prompt must be text.")
    if not prompt.strip():
        return _refused(prompt, "sequence_too_short", "The prompt is empty.", min_length=1)
    return Result(status=200, body=_output(request_id, endpoint))


def detail(loc: list[str], kind: str, message: str, **more: Any) -> dict[str, Any]:
    """fal's list-shaped error body with one entry (fal's errors page)."""
    entry = {"loc": loc, "msg": message, "type": kind, "url": f"{_DOCS}#{kind}", **more}
    return {"detail": [entry]}


def _refused(prompt: Any, kind: str, message: str, **context: Any) -> Result:
    body = detail(["body", "prompt"], kind, message, ctx=context, input=prompt)
    return Result(status=422, body=body)


def _output(request_id: str, endpoint: str) -> dict[str, Any]:
    size = 1_000_000 + int.from_bytes(sha256(request_id.encode()).digest()[:3])
    video = {
        "url": f"https://media.fal.example/files/sandbox/{request_id}/output.mp4",
        "content_type": "video/mp4",
        "file_name": "output.mp4",
        "file_size": size,
    }
    if endpoint.startswith("fal-ai/sora-2/"):
        return {"video": video, "video_id": f"video_{request_id.replace('-', '')}"}
    return {"video": video}
