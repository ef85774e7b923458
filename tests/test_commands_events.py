"""`callboard events tail|show`: what they print, where they read it, and what they hand on."""

import asyncio
import base64
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from app_client import KEY, app, make_key
from command_line import Ran, callboard, fails, stand_alone
from embedded_programs import until
from following import BEGINNING, place
from running import environment, running
from scene import SECRETS, WEBHOOK_SECRET, S, make_app, make_job, move
from standardwebhooks.webhooks import Webhook
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service import ids, jsontext
from service.commands import forward
from service.commands.demo.subscriber import served
from service.database import Database
from service.encryption import AtRest
from service.job import State
from service.tail import Tail

OTHERS_SECRET = "whsec_" + base64.b64encode(bytes(range(32, 64))).decode()
UNKNOWN_EVENT, UNKNOWN_JOB = (f"{kind}_0192a0b1c2d37000800000000000ab07" for kind in ("evt", "job"))


@pytest.fixture(autouse=True)
def here(dsn: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    stand_alone(monkeypatch, dsn, tmp_path)
    return tmp_path


@pytest.fixture
async def studio(db: Database) -> UUID:
    return await make_app(db, key=KEY)


@asynccontextmanager
async def far(db: Database, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Tail]:
    """The service over HTTP; its Tail."""
    tail = Tail(db)
    async with served(app(db, tail=tail)) as url:
        monkeypatch.setenv("CALLBOARD_URL", url)
        monkeypatch.setenv("CALLBOARD_API_KEY", KEY)
        try:
            yield tail
        finally:
            await tail.aclose()


@pytest.fixture(params=["near", "far"])
async def anywhere(
    request: pytest.FixtureRequest, db: Database, studio: UUID, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[None]:
    """Once over the database and once over HTTP."""
    if request.param == "near":
        yield
        return
    async with far(db, monkeypatch):
        yield


async def in_order(db: Database) -> list[str]:
    rows = await db.pool.fetch("select event_id from feed order by place")
    return [ids.show("evt", row["event_id"]) for row in rows]


async def with_more_events(db: Database, app_id: UUID, following: asyncio.Task[Ran]) -> Ran:
    """What was printed, once that is enough."""
    async with asyncio.timeout(20):
        while not (await asyncio.wait({following}, timeout=0.2))[0]:
            await make_job(db, app_id, S.SUBMITTED)
            await place(db)
    return await following


def ids_in(ran: Ran) -> list[str]:
    """The events that `tail --json` printed."""
    return [jsontext.loads(line)["id"] for line in ran.lines]


@pytest.mark.usefixtures("anywhere")
async def test_events_are_printed_from_a_cursor_on(db: Database, studio: UUID) -> None:
    done = await make_job(db, studio, S.COMPLETED)
    await make_job(db, studio, S.FAILED)
    await place(db)
    everything = await in_order(db)
    ran = await callboard("events", "tail", "--after", BEGINNING, "--count", "4")
    assert (ran.code, ran.err) == (0, "")
    assert [line.split()[-1] for line in ran.lines] == everything
    words = ran.lines[1].split()
    assert words[2:] == ["job.completed", ids.show("job", done), everything[1]]
    ran = await callboard("events", "tail", "--after", everything[1], "--count", "2", "--json")
    assert ids_in(ran) == everything[2:]
    ran = await callboard(
        *("events", "tail", "--after", BEGINNING, "--type", "job.failed,job.expired"),
        *("--type", "job.completed", "--count", "2", "--json"),
    )
    assert ids_in(ran) == [everything[1], everything[3]]


@pytest.mark.usefixtures("anywhere")
async def test_a_jobs_events_end_with_the_job(db: Database, studio: UUID) -> None:
    job = await make_job(db, studio, S.RUNNING)
    await make_job(db, studio, S.COMPLETED)
    following = asyncio.create_task(callboard("events", "tail", "--job", ids.show("job", job)))
    await move(db, job, now=State.COMPLETED)
    await place(db)
    ran = await following
    assert ran.code == 0
    assert [line.split()[2] for line in ran.lines] == [
        *("job.submitted", "job.running", "job.completed")
    ]


@pytest.mark.usefixtures("anywhere")
async def test_without_a_cursor_it_begins_now(db: Database, studio: UUID) -> None:
    await make_job(db, studio, S.COMPLETED)
    await place(db)
    before = await in_order(db)
    following = asyncio.create_task(callboard("events", "tail", "--count", "1", "--json"))
    (first,) = ids_in(await with_more_events(db, studio, following))
    assert first in await in_order(db)
    assert first not in before


@pytest.mark.usefixtures("anywhere")
async def test_an_event_is_shown(db: Database, studio: UUID) -> None:
    job = await make_job(db, studio, S.COMPLETED, reference="order 1017")
    await place(db)
    event = (await in_order(db))[1]
    ran = await callboard("events", "show", event)
    for words in (event, "job.completed", ids.show("job", job), "order 1017"):
        assert words in ran.out
    told = (await callboard("events", "show", event, "--json")).json()
    assert (told["id"], told["data"]["job"]["state"]) == (event, "completed")
    for nothing in (UNKNOWN_EVENT, "x"):
        assert fails(await callboard("events", "show", nothing), 3, "there is no")


@pytest.mark.usefixtures("anywhere")
async def test_what_is_not_there_is_said(studio: UUID) -> None:
    assert fails(await callboard("events", "tail", "--after", UNKNOWN_EVENT), 2, "no event")
    assert fails(await callboard("events", "tail", "--type", "job.gone"), 2, "job.completed")
    assert fails(
        await callboard("events", "tail", "--job", UNKNOWN_JOB), 3, "no such job" if 0 else "job"
    )
    bad = await callboard("events", "tail", "--forward-to", "ftp://here/")
    assert fails(bad, 2, "--forward-to")


async def test_a_service_that_is_away_or_refuses_is_said(
    db: Database, studio: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with far(db, monkeypatch):
        monkeypatch.setenv("CALLBOARD_API_KEY", "cb_" + "x" * 43)
        assert fails(await callboard("events", "tail"), 4, "unknown or revoked")
        await make_key(db, "cb_" + "s" * 43, "submit")
        monkeypatch.setenv("CALLBOARD_API_KEY", "cb_" + "s" * 43)
        assert fails(await callboard("events", "tail"), 4, "read or operate")
    assert fails(await callboard("events", "tail"), 6, "does not answer")
    monkeypatch.delenv("CALLBOARD_API_KEY")
    assert fails(await callboard("events", "tail"), 2, "CALLBOARD_API_KEY")


@pytest.mark.slow
async def test_a_stream_that_ends_is_resumed_where_it_was(
    db: Database, studio: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with far(db, monkeypatch) as tail:
        following = asyncio.create_task(callboard("events", "tail", "--count", "3", "--json"))
        for _ in range(3):  # the first time before it has had any event
            await until(lambda: tail.readers)
            for reader in tail.readers:
                reader.end()
            await make_job(db, studio, S.SUBMITTED)
            await place(db)
            await until(lambda: not tail.readers)
        ran = await with_more_events(db, studio, following)
        assert ids_in(ran) == (await in_order(db))[:3]


class Endpoint:
    """A developer's server; it refuses as often as it is told, and remembers what it took."""

    def __init__(self, *, refuses: int = 0, secret: str = WEBHOOK_SECRET) -> None:
        self.left = refuses
        self.secret = secret
        self.bodies: dict[str, Any] = {}
        self.asked = 0

    async def hook(self, request: Request) -> Response:
        self.asked += 1
        if self.left:
            self.left -= 1
            return Response(status_code=500)
        body = await request.body()
        headers: Mapping[str, str] = request.headers
        self.bodies[headers["webhook-id"]] = Webhook(self.secret).verify(body, dict(headers))
        return Response(status_code=204)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        routes = [Route("/hook", self.hook, methods=["POST"])]
        async with served(Starlette(routes=routes)) as url:
            yield f"{url.replace('127.0.0.1', 'localhost')}/hook"


@pytest.mark.usefixtures("anywhere")
async def test_events_are_handed_on_signed_as_a_subscriber_would_get_them(
    db: Database, studio: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forward, "PAUSES", (0.01, 0.01, 0.01))
    await make_job(db, studio, S.COMPLETED)
    await place(db)
    endpoint = Endpoint(refuses=2)
    async with endpoint.serving() as url:
        ran = await callboard(
            *("events", "tail", "--after", BEGINNING, "--count", "2", "--json"),
            *("--forward-to", url),
        )
    assert ran.code == 0
    printed = [jsontext.loads(line) for line in ran.lines]
    assert [event["id"] for event in printed] == await in_order(db)
    assert endpoint.bodies == {event.pop("id"): event for event in printed}
    assert endpoint.asked == 4
    said = ran.err.splitlines()
    assert [line.split(" → ")[1].split(" in ")[0] for line in said] == [
        *("HTTP 500", "HTTP 500", "HTTP 204", "HTTP 204")
    ]


async def test_what_is_refused_four_times_is_given_up_out_loud(
    db: Database, studio: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forward, "PAUSES", (0.01, 0.01, 0.01))
    await make_job(db, studio, S.COMPLETED)
    await place(db)
    endpoint = Endpoint(refuses=4)
    async with endpoint.serving() as url:
        ran = await callboard(
            *("events", "tail", "--after", BEGINNING, "--count", "2", "--forward-to", url)
        )
    assert (ran.code, len(ran.lines)) == (0, 2)
    assert list(endpoint.bodies) == (await in_order(db))[1:]
    assert "HTTP 500" in ran.err.splitlines()[3]
    assert ran.err.splitlines()[3].endswith("; given up")


async def test_an_event_is_signed_with_its_own_apps_secret(db: Database, studio: UUID) -> None:
    other = await make_app(db, name="other", key="cb_" + "o" * 43)
    encrypted = AtRest(SECRETS).encrypt(OTHERS_SECRET)
    await db.pool.execute("update apps set default_secret = $1 where id = $2", encrypted, other)
    await make_job(db, other, S.SUBMITTED)
    await place(db)
    endpoint = Endpoint(secret=OTHERS_SECRET)
    async with endpoint.serving() as url:
        ran = await callboard(
            *("events", "tail", "--after", BEGINNING, "--count", "1", "--forward-to", url)
        )
    assert ran.code == 0
    assert list(endpoint.bodies) == await in_order(db)


@pytest.mark.slow
async def test_ctrl_c_ends_it_and_says_how_to_go_on(
    db: Database, dsn: str, studio: UUID, here: Path
) -> None:
    await make_job(db, studio, S.COMPLETED)
    await place(db)
    env = environment(DATABASE_URL=dsn, CALLBOARD_SECRETS=",".join(SECRETS))
    endpoint = Endpoint()
    async with endpoint.serving() as url:
        words = ("events", "tail", "--after", BEGINNING, "--forward-to", url)
        async with running(*words, env=env, cwd=str(here)) as tail:
            await until(lambda: len(endpoint.bodies) == 2)
            await tail.said(r"HTTP 204[^\n]*\n[^\n]*HTTP 204")
            tail.send(signal.SIGINT)
            assert await tail.ended() == 130
    assert f"go on with --after {(await in_order(db))[1]}" in tail.output
    assert "Traceback" not in tail.output
