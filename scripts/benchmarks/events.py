"""Events that wait to be delivered, as `advance` leaves them: so many apps, an endpoint each."""

from collections.abc import Sequence
from uuid import UUID, uuid4

import asyncpg

from benchmarks.jobs import JOBS_SEED, TABLES
from service import ids, jsontext
from service.database import Database
from service.encryption import AtRest
from service.job import State
from service.store import access, subscriptions
from service.store.advance import Move, Outcome, advance, new_event_id

SECRET = "whsec_" + "QmVuY2htYXJrcyBoYXZlIHNlY3JldHMgdG9vLCBubz8="
AT_ONCE = 250  # moves in one statement
RENDER = {"prompt": "a ferry leaves the harbour at dawn", "duration": "8s"}


async def submitted(
    db: Database, connection: asyncpg.Connection, at_rest: AtRest, urls: Sequence[str], count: int
) -> list[UUID]:
    """Empties the tables and makes `count` submitted jobs, spread over as many apps as there are
    `urls`, each of which is one's endpoint."""
    await connection.execute(f"truncate {', '.join(TABLES)} cascade")
    apps = [await _app(db, at_rest, number, url) for number, url in enumerate(urls)]
    made = []
    for number, app in enumerate(apps):
        job_ids = [ids.new_id() for _ in range(count // len(apps) + (number < count % len(apps)))]
        names = [str(uuid4()) for _ in job_ids]
        await connection.execute(
            JOBS_SEED, job_ids, names, app, jsontext.dumps(RENDER), "", timeout=300
        )
        made.append(job_ids)
    await connection.execute("vacuum analyze")
    # One of each in turn, as they would come.
    return [one[at] for at in range(len(made[0])) for one in made if at < len(one)]


async def complete(db: Database, job_ids: Sequence[UUID]) -> list[Outcome]:
    """The jobs are done, and their events staged."""
    done = []
    for at in range(0, len(job_ids), AT_ONCE):
        done += await advance(db, [_completion(one) for one in job_ids[at : at + AT_ONCE]])
    return done


async def make_due(connection: asyncpg.Connection) -> None:
    """All of them are to be sent once more, as if for the first time."""
    await connection.execute("truncate delivery_tries, failing_endpoints")
    await connection.execute("update deliveries set state = 'pending', tries = 0, next_at = now()")
    await connection.execute("vacuum analyze deliveries")
    await connection.execute("checkpoint")


async def _app(db: Database, at_rest: AtRest, number: int, url: str) -> UUID:
    app = await access.create_key(
        db,
        app=f"bench-{number}",
        app_id=ids.new_id(),
        app_secret=at_rest.encrypt(SECRET),
        key_id=ids.new_id(),
        key=f"cb_{uuid4()}",
        scopes=["submit"],
        all_apps=False,
    )
    await subscriptions.create(
        db,
        subscription_id=ids.new_id(),
        app_id=app,
        url=url,
        events=["job.completed"],
        secret=at_rest.encrypt(SECRET),
        headers=at_rest.encrypt("{}"),
    )
    return app


def _completion(job_id: UUID) -> Move:
    video = {"url": f"https://v3.fal.media/files/bench/{job_id}.mp4", "content_type": "video/mp4"}
    return Move(
        job_id=job_id,
        attempt=1,
        source="callback",
        event_id=new_event_id(job_id),
        now=State.COMPLETED,
        output={"video": video, "seed": 1234567},
        outputs=[video | {"expires_at": None}],
    )
