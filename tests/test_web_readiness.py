"""`/readyz?verbose`: what was looked at, and what to do; the status goes by the database alone."""

from typing import Any

import app_client
import pytest
from app_client import ECHO, fal_provider
from raw_server import says, serving

from service import providers
from service.database import Database
from service.probe import Probe

FAL = {"fal": fal_provider()}


async def verbose(
    db: Database, probe: Probe | None = None, query: str = "verbose"
) -> tuple[int, str, dict[str, Any]]:
    async with app_client.client(app_client.app(db, probe=probe), None) as web:
        plain, answer = await web.get("/readyz"), await web.get(f"/readyz?{query}")
    body = answer.json()
    assert plain.status_code == answer.status_code
    assert plain.json() == {"status": body["status"]}
    assert [set(check) for check in body["checks"]] == [{"check", "ok", "detail", "cure"}] * len(
        body["checks"]
    )
    checks = {check.pop("check"): check for check in body["checks"]}
    return answer.status_code, body["status"], checks


@pytest.mark.parametrize("query", ["verbose", "verbose=", "verbose=1", "a=b&verbose=no"])
async def test_it_shows_the_database_the_address_and_every_provider(
    db: Database, query: str
) -> None:
    status, word, checks = await verbose(db, query=query)
    assert (status, word) == (200, "ok")
    assert list(checks) == ["database", "public_url", *(f"provider {n}" for n in providers.names())]
    assert checks["database"] == {"ok": True, "detail": "it answers", "cure": None}
    assert checks["provider fal"] == {"ok": True, "detail": "configured", "cure": None}
    assert checks["provider prism"]["detail"] == "off, without a key"
    assert "CALLBOARD_PUBLIC_URL is not set" in checks["public_url"]["detail"]


async def test_what_the_self_check_found_is_shown_and_stops_nothing(db: Database) -> None:
    moved = b"HTTP/1.1 301 X\r\nLocation: https://there.example/x?y=z\r\nContent-Length: 0\r\n\r\n"
    async with serving(says(moved)) as server:
        probe = Probe(server.origin, FAL, ECHO)
        _, _, before = await verbose(db, probe)
        assert before["public_url"]["ok"] is None
        await probe.ask()
    status, word, checks = await verbose(db, probe)
    assert (status, word) == (200, "ok")
    found = checks["public_url"]
    assert found["ok"] is False
    assert found["detail"].startswith("redirected: a call to it is redirected to https://there.ex")
    assert "y=z" not in found["detail"]
    assert found["cure"].startswith("set CALLBOARD_PUBLIC_URL to the address behind")


async def test_a_database_that_is_away_is_503_and_named(dsn: str) -> None:
    away = await Database.connect(dsn, size=1)
    await away.close()
    status, word, checks = await verbose(away)
    assert (status, word) == (503, "the database is away")
    assert checks["database"]["ok"] is False
    assert "DATABASE_URL" in checks["database"]["cure"]
    assert checks["provider fal"]["ok"] is True
