"""The self-check of a real process: it calls its own address, says what came of it, and is no
obstacle to starting or stopping."""

import asyncio
import signal
from pathlib import Path
from typing import Any

import httpx
from raw_server import hangs, says, serving, unused_port
from running import environment, running

MOVED = b"HTTP/1.1 308 X\r\nLocation: https://there.example/\r\nContent-Length: 0\r\n\r\n"
SECRET = "a-secret-of-the-tests-long-enough"
REACHED = "CALLBOARD_PUBLIC_URL: a call to it came through"


def settings(dsn: str, public_url: str, port: int = 0) -> dict[str, str]:
    return environment(
        DATABASE_URL=dsn,
        CALLBOARD_SECRETS=SECRET,
        CALLBOARD_PORT=str(port),
        CALLBOARD_PUBLIC_URL=public_url,
        FAL_KEY="id:secret",
    )


async def public_url_check(url: str) -> dict[str, Any]:
    """What `/readyz?verbose` says of it, once it has been tried."""
    async with httpx.AsyncClient(trust_env=False) as client, asyncio.timeout(30):
        while True:
            answer = await client.get(f"{url}/readyz?verbose")
            assert answer.status_code == 200
            found: dict[str, Any] = answer.json()["checks"][1]
            if found["ok"] is not None:
                return found
            await asyncio.sleep(0.02)


async def test_a_process_reaches_itself_and_another_process_of_its_database_too(
    dsn: str, tmp_path: Path
) -> None:
    port = unused_port()
    env = settings(dsn, f"http://127.0.0.1:{port}", port)
    async with (
        running("serve", "--role", "api", env=env, cwd=str(tmp_path)) as api,
        running("serve", "--role", "worker", env=env, cwd=str(tmp_path)) as worker,
    ):
        for process in (api, worker):
            await process.said(REACHED)
        found = await public_url_check(await api.said(r"listening on (http://\S+)"))
        assert (found["check"], found["ok"], found["cure"]) == ("public_url", True, None)
        for process in (api, worker):
            process.send(signal.SIGTERM)
            assert await process.ended() == 0
            assert "Traceback" not in process.output
            assert "token=" not in process.output


async def test_an_address_that_redirects_is_shown_and_the_service_runs(
    dsn: str, tmp_path: Path
) -> None:
    async with serving(says(MOVED)) as elsewhere:
        env = settings(dsn, elsewhere.origin)
        async with running("serve", env=env, cwd=str(tmp_path)) as service:
            found = await public_url_check(await service.said(r"listening on (http://\S+)"))
            service.send(signal.SIGTERM)
            assert await service.ended() == 0
    assert found["ok"] is False
    assert "https://there.example:" in found["detail"]
    assert "id:secret" not in repr(elsewhere.requests)


async def test_it_ends_in_order_while_its_own_address_keeps_it_waiting(
    dsn: str, tmp_path: Path
) -> None:
    async with serving(hangs) as elsewhere:
        env = settings(dsn, elsewhere.origin)
        async with running("serve", env=env, cwd=str(tmp_path)) as service:
            await service.said("listening on")
            async with asyncio.timeout(30):
                await elsewhere.arrived.wait()
            service.send(signal.SIGTERM)
            assert await service.ended() == 0
    assert "Traceback" not in service.output
    assert "never retrieved" not in service.output
