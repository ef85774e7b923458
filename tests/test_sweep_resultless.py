"""service/sweep.py and a provider that says that a render has succeeded, and shows no result."""

import json
from typing import Any
from uuid import UUID

import pytest
import sweeping
from in_step import follow
from posting import answering, provider_at
from raw_server import serving
from scene import job_row, make_app, make_job, rows_of

from service.database import Database
from service.job import State

FILM = "https://cdn.example/v.mp4"
MODELS = {"genviral": "openai/sora-2", "prism": "veo-3.1", "relay": "sora-2"}
DEADLINE = 7200.0


def done(provider: str, url: str | None) -> dict[str, Any]:
    """What the provider says of a render that has succeeded."""
    if provider == "genviral":
        return {"ok": True, "data": {"status": "succeeded", "output_url": url}}
    if provider == "prism":
        return {"status": "completed", "video_url": url}
    return {"task_id": "req-1", "status": "SUCCESS", "data": {"output": url}}


async def look(db: Database, provider: str, said: Any) -> None:
    """One poll, at once, which is answered with this."""
    async with serving(answering("200 OK", said)) as server:
        await sweeping.look(db, provider_at(provider, server.origin))
    assert len(server.requests) == 1


async def posted(db: Database, job: UUID, seconds_ago: float) -> None:
    await db.pool.execute(
        "update jobs set posted_at = now() - make_interval(secs => $2) where id = $1",
        job,
        seconds_ago,
    )
    await follow(db)


@pytest.mark.parametrize("provider", MODELS)
async def test_it_goes_on_until_its_deadline_and_a_late_result_completes_it(
    db: Database, provider: str
) -> None:
    app = await make_app(db)
    job = await make_job(db, app, State.SUBMITTED, provider=provider, model=MODELS[provider])
    await posted(db, job, DEADLINE - 60)
    for _ in range(3):
        await look(db, provider, done(provider, None))
        row = await job_row(db, job)
        assert (row["state"], row["error"]) == ("running", None)
    await posted(db, job, DEADLINE + 60)
    await look(db, provider, done(provider, None))
    row = await job_row(db, job)
    error = json.loads(row["error"])
    assert (row["state"], error["code"]) == ("expired", "result_unavailable")
    assert (error["retryable"], error["charged"]) == (True, "unknown")
    assert "without its URL yet" in error["message"]
    await look(db, provider, done(provider, None))
    assert (await job_row(db, job))["state"] == "expired"
    await look(db, provider, done(provider, FILM))
    row = await job_row(db, job)
    assert (row["state"], row["late"], row["error"]) == ("completed", True, None)
    assert await rows_of(db, "agenda", job) == []
