"""`callboard subscriptions|deliveries`: near and far, what they print and how they exit."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import app_client
import pytest
from app_client import KEY
from command_line import callboard, fails, stand_alone
from raw_server import says, serving
from scene import SECRETS
from standardwebhooks.webhooks import Webhook
from telling import LOOPBACK, Board, answering, board, parts

from service import ids
from service.commands.demo.subscriber import served
from service.database import Database
from service.encryption import AtRest
from service.guard import Guard
from service.pooled import Deliverer

OK = says(answering("200 OK"), then_closes=False)
DOWN = says(answering("500 Oops", "no room"), then_closes=False)
URL = "https://app.example/events"
SECRET = "whsec_" + "A" * 43 + "="


@pytest.fixture(autouse=True)
def here(dsn: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    stand_alone(monkeypatch, dsn, tmp_path)
    monkeypatch.setenv("CALLBOARD_ALLOW_PRIVATE_WEBHOOKS", ",".join(LOOPBACK))
    return tmp_path


@pytest.fixture
async def studio(db: Database) -> AsyncIterator[Board]:
    async with board(db) as made:
        yield made


@pytest.fixture(params=["near", "far"])
async def whose(
    request: pytest.FixtureRequest, studio: Board, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[str, ...]]:
    """Once over the database, where the app must be named, and once over HTTP."""
    if request.param == "near":
        yield ("--app", "studio")
        return
    making = app_client.creator(studio.db, allowed=LOOPBACK)
    sending = Deliverer(Guard(LOOPBACK))
    async with served(app_client.app(studio.db, making, sending=sending)) as url:
        monkeypatch.setenv("CALLBOARD_URL", url)
        monkeypatch.setenv("CALLBOARD_API_KEY", KEY)
        yield ()
    await sending.aclose()


async def created(whose: tuple[str, ...], url: str = URL, *more: str) -> dict[str, Any]:
    ran = await callboard("subscriptions", "create", url, *whose, *more, "--json")
    assert ran.code == 0, ran.err
    made: dict[str, Any] = ran.json()
    return made


async def test_an_endpoint_is_made_listed_changed_and_ended(
    whose: tuple[str, ...], here: Path
) -> None:
    (here / "secret").write_text(f"{SECRET}\n")
    made = await created(
        whose,
        URL,
        *("--event", "job.completed", "--event", "job.stuck", "--header", "X-Key: a: b"),
        *("--secret-file", str(here / "secret")),
    )
    assert made.pop("secret") == SECRET
    assert (made["events"], made["headers"]) == (["job.completed", "job.stuck"], {"X-Key": "***"})
    listed = await callboard("subscriptions", "list", *whose, "--json")
    assert listed.json() == {"data": [made], "next": None}
    shown = await callboard("subscriptions", "list")
    assert shown.lines[1].split()[:5] == [made["id"], URL, "completed", "stuck", "enabled"]
    changed = await callboard(
        *("subscriptions", "update", made["id"], "--disable", "--no-headers", "--json")
    )
    assert changed.json() == made | {
        "enabled": False,
        "disabled_reason": "paused",
        "headers": {},
    }
    assert "disabled: paused" in (await callboard("subscriptions", "list")).out
    changed = await callboard(
        *("subscriptions", "update", made["id"], "--enable", "--url", "https://b.example/"),
        *("--event", "job.failed", "--header", "X-B:c"),
    )
    assert changed.code == 0
    for words in ("https://b.example/", "job.failed", "enabled", "X-B"):
        assert words in changed.out
    ended = await callboard("subscriptions", "delete", made["id"])
    assert (ended.code, ended.out) == (0, "")
    assert fails(await callboard("subscriptions", "delete", made["id"]), 3, "no such subscription")
    assert "no endpoints" in (await callboard("subscriptions", "list")).err


async def test_lists_come_by_page(whose: tuple[str, ...]) -> None:
    made = [(await created(whose))["id"] for _ in range(3)]
    first = await callboard("subscriptions", "list", "--limit", "2")
    assert [line.split()[0] for line in first.lines[1:]] == made[:2]
    assert f"--after {made[1]}" in first.err
    rest = await callboard("subscriptions", "list", "--after", made[1])
    assert [line.split()[0] for line in rest.lines[1:]] == made[2:]


async def test_a_secret_is_replaced_and_both_sign(whose: tuple[str, ...], studio: Board) -> None:
    async with serving(OK) as server:
        made = await created(whose, server.origin)
        ran = await callboard("subscriptions", "rotate", made["id"], "--overlap-seconds", "60")
        assert ran.code == 0
        assert "signs too until" in ran.err
        await studio.ended()
        await studio.send()
    headers, body = parts(server.requests[0])
    for secret in (ran.out.strip(), made["secret"]):
        assert Webhook(secret).verify(body, headers)
    told = await callboard("subscriptions", "rotate", made["id"], "--json")
    assert set(told.json()) == {"secret", "previous_valid_until"}
    row = await studio.db.pool.fetchval("select secret from subscriptions")
    assert AtRest(SECRETS).decrypt(row) == told.json()["secret"]


async def test_a_test_says_how_it_went_and_exits_by_it(whose: tuple[str, ...]) -> None:
    async with serving(OK) as up, serving(DOWN) as down:
        good, bad = await created(whose, up.origin), await created(whose, down.origin)
        ran = await callboard("subscriptions", "test", good["id"])
        assert ran.code == 0
        assert "HTTP 200" in ran.out
        ran = await callboard("subscriptions", "test", bad["id"])
        assert ran.code == 1
        assert "HTTP 500" in ran.out
        assert "no room" in ran.out
        ran = await callboard("subscriptions", "test", bad["id"], "--json")
        assert (ran.code, ran.json()["delivered"]) == (1, False)


async def test_what_was_missed_is_counted_and_sent(whose: tuple[str, ...], studio: Board) -> None:
    await studio.ended(3)
    async with serving(OK) as server:
        made = await created(whose, server.origin)
        words = ("subscriptions", "recover", made["id"], "--since", "2024-01-01")
        dry = await callboard(*words, "--dry-run", "--json")
        assert (dry.code, dry.json()) == (0, {"count": 3})
        assert (await callboard(*words)).lines == ["3"]
        await studio.recover()
        await studio.send()
        assert len(server.requests) == 3
        assert (await callboard(*words)).lines == ["0"]
        assert (await callboard(*words, "--all", "--until", "2999-01-01")).lines == ["3"]


async def test_deliveries_are_listed_and_sent_again(whose: tuple[str, ...], studio: Board) -> None:
    async with serving(DOWN) as down:
        made = await created(whose, down.origin)
        jobs = [ids.show("job", job) for job in await studio.ended(2)]
        await studio.send()
        ran = await callboard("deliveries", "list", "--state", "pending")
        assert [line.split()[1:6] for line in ran.lines[1:]] == [
            ["pending", "job.completed", job, "1", "HTTP"] for job in jobs[::-1]
        ]
        assert "HTTP 500" in ran.lines[1]
        (one,) = (await callboard("deliveries", "list", "--job", jobs[0], "--json")).json()["data"]
        first = await callboard("deliveries", "list", "--limit", "1")
        assert f"--after {first.lines[1].split()[0]}" in first.err
        await callboard("subscriptions", "update", made["id"], "--disable")
        ran = await callboard("deliveries", "resend", one["id"])
        assert (ran.code, ran.out) == (0, "")
        assert f"{one['id']} is held" in ran.err
        ran = await callboard("deliveries", "resend", one["id"], "--json")
        assert ran.json()["state"] == "held"
        held = await callboard("deliveries", "list", "--state", "held", "--event", one["event"])
        assert [line.split()[0] for line in held.lines[1:]] == [one["id"]]
        await callboard("subscriptions", "delete", made["id"])
        assert fails(await callboard("deliveries", "resend", one["id"]), 5, "was deleted")
    assert "no such deliveries" in (await callboard("deliveries", "list", "--state", "failed")).err


async def test_one_may_begin_in_the_past(whose: tuple[str, ...], studio: Board) -> None:
    await studio.ended(2)
    await created(whose, URL, "--since", "2024-01-01T00:00:00Z")
    await studio.recover()
    assert len((await callboard("deliveries", "list", "--json")).json()["data"]) == 2


@pytest.mark.parametrize("command", ["update", "test", "rotate", "recover", "delete"])
async def test_an_id_that_names_nothing_exits_3(whose: tuple[str, ...], command: str) -> None:
    more = {"recover": ("--since", "2024-01-01"), "update": ("--disable",)}.get(command, ())
    for unknown in (ids.show("sub", ids.new_id()), "sub_7", "../x", ids.show("job", ids.new_id())):
        assert fails(await callboard("subscriptions", command, unknown, *more), 3, "no such")
        assert fails(await callboard("deliveries", "resend", unknown), 3, "no such")


async def test_a_slip_exits_2_and_says_what_is_wrong(whose: tuple[str, ...]) -> None:
    made = await created(whose)
    for words, said in (
        (("create", "http://10.0.0.1/", *whose), "url"),
        (("create", URL, *whose, "--event", "job.queued"), "events"),
        (("create", URL, *whose, "--header", "X"), "--header"),
        (("create", URL, *whose, "--header", "X: 1", "--header", "X: 2"), "--header"),
        (("create", URL, *whose, "--header", "webhook-id: 1"), "headers"),
        (("create", URL, *whose, "--since", "yesterday"), "since"),
        (("update", made["id"]), "body"),
        (("update", made["id"], "--no-headers", "--header", "X: 1"), "--no-headers"),
        (("rotate", made["id"], "--overlap-seconds", "9999999"), "overlap_seconds"),
        (("recover", made["id"], "--since", "2999-01-01"), "since"),
        (("list", "--after", "x"), "after"),
        (("recover", made["id"]), "since"),
    ):
        assert fails(await callboard("subscriptions", *words), 2, said), words
    assert fails(await callboard("deliveries", "list", "--job", "x"), 2, "job")
    assert fails(await callboard("deliveries", "list", "--state", "gone"), 2, "state")


async def test_an_app_is_named_near_and_never_far(
    studio: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fails(await callboard("subscriptions", "create", URL), 2, "--app")
    assert fails(await callboard("subscriptions", "create", URL, "--app", "nobody"), 3, "nobody")
    assert fails(await callboard("subscriptions", "list", "--app", "nobody"), 3, "nobody")
    async with served(app_client.app(studio.db)) as url:
        monkeypatch.setenv("CALLBOARD_URL", url)
        monkeypatch.setenv("CALLBOARD_API_KEY", KEY)
        assert fails(await callboard("subscriptions", "list", "--app", "studio"), 2, "--app")
        monkeypatch.setenv("CALLBOARD_API_KEY", "cb_" + "x" * 43)
        assert fails(await callboard("subscriptions", "list"), 4, "unknown")
    assert fails(await callboard("deliveries", "list"), 6, "does not answer")
