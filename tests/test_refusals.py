"""What each refusal of a submission does, line by line of the table in tests/refusals.py: through
the submitter, over a real connection, to the job as the app sees it, and to the provider."""

from typing import Any
from uuid import UUID

import pytest
from posting import agenda_of, answering, one_round, provider_at, submitter
from raw_server import serving
from refusals import TABLE, Line, Sent
from scene import job_row, make_app, make_job

from service import document
from service.database import Database
from service.store import health

MODELS = {
    "fal": "fal-ai/veo3/fast",
    "genviral": "openai/sora-2",
    "prism": "veo-3.1",
    "relay": "sora-2",
}
ACCEPTED: dict[str, dict[str, Any]] = {
    "fal": {"request_id": "an-id"},
    "genviral": {"ok": True, "data": {"video_id": "an-id"}},
    "prism": {"data": {"generations": [{"id": "an-id"}]}},
    "relay": {"task_id": "an-id"},
}
LATE_SECONDS = 20.0  # a slow machine looks later than it was answered
CASES = [
    pytest.param(line, sent, id=f"{line.code}-{sent}") for line in TABLE for sent in line.replies
]


async def posts(db: Database, sent: Sent) -> int:
    """How often the submitter sends what is due, in two rounds, to a provider that says this."""
    reply = answering(f"{sent.status} So", sent.body, *sent.headers)
    async with serving(reply) as server:
        submits = submitter(db, provider_at(sent.provider, server.origin))
        for _ in range(2):
            await one_round(submits)
    return len(server.requests)


async def shown(db: Database, job: UUID) -> dict[str, Any]:
    return document.of_job(await job_row(db, job))


@pytest.mark.parametrize(("line", "sent"), CASES)
async def test_a_refusal_does_what_its_line_says(db: Database, line: Line, sent: Sent) -> None:
    model = MODELS[sent.provider]
    job_id = await make_job(db, await make_app(db), provider=sent.provider, model=model)
    assert await posts(db, sent) == 1
    job = await shown(db, job_id)
    error = job["error"]
    told = (error["code"], error["retryable"], error["charged"], job["state"])
    assert told == (line.code, line.retryable, line.charged, line.job)
    assert error["message"]
    said = sent.body.decode() if isinstance(sent.body, bytes) else sent.body
    assert error["provider"] == (said or None)
    await becomes_of_the_provider(db, line, sent.provider)
    if line.again_in is not None:
        task, left = await agenda_of(db, job_id)
        assert task == "submit"
        assert line.again_in[0] - LATE_SECONDS <= left <= line.again_in[1]
        await goes_when_its_time_has_come(db, job_id, sent.provider)


async def becomes_of_the_provider(db: Database, line: Line, provider: str) -> None:
    """Whether it is paused as the line says, for the reason that the job has, or has failed."""
    rooms = await health.rooms(db, {provider: 9})
    room = rooms[provider]
    assert (room.paused, room.failures) == (line.paused is not None, int(line.fails))
    assert room.code == (line.code if room.paused else None)
    if line.paused is not None:
        assert room.paused_at is not None
        assert room.paused_until is not None
        seconds = (room.paused_until - room.paused_at).total_seconds()
        assert line.paused[0] <= seconds <= line.paused[1]


async def goes_when_its_time_has_come(db: Database, job_id: UUID, provider: str) -> None:
    """What waited is the same attempt still; once it is accepted its error and the provider's
    pause are gone."""
    await health.try_all(db)
    await db.pool.execute("update agenda set due_at = now()")
    assert await posts(db, Sent(provider=provider, status=200, body=ACCEPTED[provider])) == 1
    job = await shown(db, job_id)
    assert (job["state"], job["attempt"], job["error"]) == ("submitted", 1, None)
    assert (await health.rooms(db, {}))[provider].pauses == 0
