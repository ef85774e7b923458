"""service/probe.py: what answers at the public address, told apart over real connections."""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

import app_client
import pytest
from app_client import ECHO, fal_provider, relay_provider
from door_server import Passed, Spoils, in_small_letters, proxied, without_body, without_query
from raw_server import Talk, hangs, resets, says, serving, unused_port

from service.database import Database
from service.echo import Echo
from service.findings import Outcome
from service.probe import Probe
from service.providers import Provider
from service.web.callbacks import Door

FAL: Mapping[str, Provider] = {"fal": fal_provider()}
LOGIN = "https://login.example/sign-in?next=/callbacks/fal"


def head(status: str, *headers: str, body: str = "") -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body.encode()


def probe(
    url: str | None, providers: Mapping[str, Provider] = FAL, *, total: float = 5.0, **more: Any
) -> Probe:
    return Probe(url, providers, ECHO, total=total, **more)


@pytest.mark.parametrize(
    ("spoils", "outcome", "words"),
    [
        (lambda call: call, Outcome.REACHED, "came through"),
        (without_query, Outcome.TOKEN_LOST, "without its query"),
        (in_small_letters, Outcome.TOKEN_CHANGED, "another token"),
        (without_body, Outcome.BODY_CHANGED, "without its body"),
    ],
)
async def test_the_door_behind_a_proxy_says_what_arrived_and_keeps_nothing(
    db: Database, spoils: Spoils, outcome: Outcome, words: str
) -> None:
    providers = {"fal": fal_provider(), "relay": relay_provider()}
    async with proxied(Door(app_client.receiver(db, providers)), spoils) as server:
        finding = await probe(server.origin, providers).ask()
    assert finding.outcome is outcome
    assert words in finding.detail
    assert (finding.cure is None) is (outcome is Outcome.REACHED)
    assert await db.pool.fetchval("select count(*) from callbacks") == 0
    (request,) = server.requests
    assert request.startswith(b"POST /callbacks/fal?token=fal.")
    assert b"authorization" not in request.lower()
    assert b"id:secret" not in request


async def test_an_address_with_a_path_is_asked_below_it(db: Database) -> None:
    async with serving(says(head("200 OK"))) as server:
        await probe(f"{server.origin}/board").ask()
    assert server.requests[0].startswith(b"POST /board/callbacks/fal?token=fal.")


async def test_a_callboard_with_other_secrets_does_not_know_the_probe(db: Database) -> None:
    async with proxied(Door(app_client.receiver(db, FAL))) as server:
        stranger = Probe(server.origin, FAL, Echo(["a secret of somebody else"]))
        finding = await stranger.ask()
    assert finding.outcome is Outcome.UNRECOGNISED
    assert "CALLBOARD_SECRETS" in str(finding.cure)


@pytest.mark.parametrize(
    ("answer", "outcome", "words"),
    [
        (head("301 Moved", f"Location: {LOGIN}"), Outcome.REDIRECTED, "to https://login.example:"),
        (head("302 Found", "Location: /elsewhere?token=x"), Outcome.REDIRECTED, "127.0.0.1:"),
        (head("307 X", "Location: //[::1]:9/x"), Outcome.REDIRECTED, "http://[::1]:9:"),
        (head("308 X", "Location: https://me:pass@h:8/x"), Outcome.REDIRECTED, "https://h:8:"),
        (head("302 Found", "Location: http://[::"), Outcome.REDIRECTED, "nowhere"),
        (head("302 Found", "Location: javascript:x"), Outcome.REDIRECTED, "nowhere"),
        (head("304 Not Modified"), Outcome.REDIRECTED, "nowhere"),
        (head("401 X", "WWW-Authenticate: Basic"), Outcome.BARRED, "HTTP 401"),
        (head("403 Forbidden", body="<html>no</html>"), Outcome.BARRED, "HTTP 403"),
        (head("502 Bad Gateway", body="<html>"), Outcome.FAILED, "HTTP 502"),
        (head("404 Not Found", body="<html>"), Outcome.STRANGER, "HTTP 404"),
        (head("200 OK", body="<html>hello</html>"), Outcome.STRANGER, "HTTP 200"),
        (head("200 OK", body='{"status": "probe fal.x.y"}'), Outcome.STRANGER, "HTTP 200"),
        (head("200 OK", body='{"status": ["probe"]}'), Outcome.STRANGER, "HTTP 200"),
        (head("200 OK", body="[" * 5000), Outcome.STRANGER, "HTTP 200"),
        (b"SSH-2.0-OpenSSH_9.9\r\n", Outcome.UNREACHABLE, "not HTTP"),
    ],
)
async def test_whoever_else_answers_is_told_apart(
    answer: bytes, outcome: Outcome, words: str
) -> None:
    async with serving(says(answer)) as server:
        finding = await probe(server.origin).ask()
    assert finding.outcome is outcome
    assert words in finding.detail
    assert finding.cure
    for secret in ("token=", "sign-in", "pass", "elsewhere"):
        assert secret not in finding.detail
    assert len(server.requests) == 1


async def test_an_echo_of_the_question_is_no_answer() -> None:
    async def parrot(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        token = server.requests[-1].split(b"token=")[1].split(b" ")[0].decode()
        writer.write(head("200 OK", body=f'{{"status": "probe {token}"}}'))
        await writer.drain()

    async with serving(parrot) as server:
        assert (await probe(server.origin).ask()).outcome is Outcome.STRANGER


@pytest.mark.parametrize(("talk", "words"), [(resets, ""), (hangs, "timed out")])
async def test_a_server_that_does_not_answer_is_not_reached(talk: Talk, words: str) -> None:
    async with serving(talk) as server:
        finding = await probe(server.origin, total=0.3).ask()
    assert finding.outcome is Outcome.UNREACHABLE
    assert words in finding.detail


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://127.0.0.1:{}", "Connection refused"),
        ("http://callboard.invalid", "the name does not resolve"),
    ],
)
async def test_an_address_without_a_server_is_not_reached(url: str, words: str) -> None:
    finding = await probe(url.format(unused_port())).ask()
    assert finding.outcome is Outcome.UNREACHABLE
    assert words in finding.detail


async def test_tls_that_fails_is_not_reached() -> None:
    async with serving(says(head("200 OK")), reads=False) as server:
        finding = await probe(server.origin.replace("http:", "https:")).ask()
    assert finding.outcome is Outcome.UNREACHABLE
    assert "TLS failed" in finding.detail


async def test_it_asks_until_a_call_comes_through_and_warns_once_all_is_up(
    db: Database, caplog: pytest.LogCaptureFixture
) -> None:
    oks: list[bool | None] = []

    def spoils(call: Passed) -> Passed:
        oks.append(one.check().ok)
        return without_query(call) if len(oks) < 6 else call

    caplog.set_level(logging.INFO, logger="service.probe")
    async with proxied(Door(app_client.receiver(db, FAL)), spoils) as server:
        one = probe(server.origin, start=(0.0, 0.0, 0.0), again=0.0)
        async with asyncio.timeout(10):
            await one.run(asyncio.Event())
    assert oks == [None] + 5 * [False]
    assert one.check().ok is True
    *warned, last = [record for record in caplog.records if record.name == "service.probe"]
    assert [record.levelname for record in warned] == ["WARNING"] * 3  # the third, fourth, fifth
    assert "To do: let the proxy in front pass the query" in warned[0].message
    assert last.message == "CALLBOARD_PUBLIC_URL: a call to it came through"
    assert "token=" not in caplog.text


async def test_it_ends_at_once_when_told_though_a_call_is_under_way() -> None:
    stop = asyncio.Event()
    async with serving(hangs) as server:
        one = probe(server.origin, total=600.0, start=(0.0,))
        running = asyncio.create_task(one.run(stop))
        async with asyncio.timeout(10):
            await server.arrived.wait()
            stop.set()
            await running
            await server.hung_up.wait()


async def test_without_an_address_or_a_provider_with_callbacks_nothing_is_asked() -> None:
    for one, words in ((probe(None), "not set"), (probe("http://a.example", {}), "no configured")):
        async with asyncio.timeout(10):
            await one.run(asyncio.Event())
        assert one.last is None
        assert one.check().ok is True
        assert words in one.check().detail
