"""service/serve.py: a real process, started well or badly, and stopped in order."""

import signal
import socket
from pathlib import Path

import httpx
import pytest
from running import environment, running

SECRET = "a-secret-of-the-tests-long-enough"


def settings(dsn: str, **more: str) -> dict[str, str]:
    return environment(DATABASE_URL=dsn, CALLBOARD_SECRETS=SECRET, CALLBOARD_PORT="0", **more)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_answers_and_ends_in_order_when_told(
    dsn: str, tmp_path: Path, number: signal.Signals
) -> None:
    async with running("serve", env=settings(dsn), cwd=str(tmp_path)) as service:
        url = await service.said(r"listening on (http://\S+)")
        async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
            assert (await client.get("/healthz")).json() == {"status": "ok"}
            assert (await client.get("/readyz")).json() == {"status": "ok"}
            assert (await client.get("/v1/jobs")).status_code == 401
        service.send(number)
        assert await service.ended() == 0
    assert "Traceback" not in service.output
    assert "CALLBOARD_PUBLIC_URL is not set" in service.output
    assert "off, without a key: fal" in service.output


@pytest.mark.parametrize("role", ["api", "worker"])
async def test_each_role_runs_and_ends(dsn: str, tmp_path: Path, role: str) -> None:
    env = settings(dsn)
    async with running("serve", "--role", role, env=env, cwd=str(tmp_path)) as service:
        await service.said("listening on" if role == "api" else "working")
        service.send(signal.SIGTERM)
        assert await service.ended() == 0


async def test_a_bad_setting_stops_the_start_with_its_name(dsn: str, tmp_path: Path) -> None:
    env = settings(dsn, CALLBOARD_LEASE_SECONDS="soon")
    async with running("serve", env=env, cwd=str(tmp_path)) as service:
        assert await service.ended() == 2
    assert service.output.startswith("callboard: CALLBOARD_LEASE_SECONDS: ")
    assert "soon" not in service.output


async def test_a_bad_setting_of_a_provider_stops_the_start_too(dsn: str, tmp_path: Path) -> None:
    env = settings(dsn, FAL_TRUST="blind")
    async with running("serve", env=env, cwd=str(tmp_path)) as service:
        assert await service.ended() == 2
    assert service.output.startswith("callboard: FAL_TRUST: ")


@pytest.mark.parametrize("role", ["api", "worker"])
async def test_without_certificates_it_does_not_start(dsn: str, tmp_path: Path, role: str) -> None:
    empty = tmp_path / "roots.pem"
    empty.touch()
    for path in (str(empty), str(tmp_path / "none.pem")):
        env = settings(dsn, SSL_CERT_FILE=path)
        async with running("serve", "--role", role, env=env, cwd=str(tmp_path)) as service:
            assert await service.ended() == 2
        assert service.output.startswith("callboard: SSL_CERT_FILE: must name a PEM file")
        assert "Traceback" not in service.output


async def test_a_port_that_is_taken_is_named(dsn: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        env = settings(dsn) | {"CALLBOARD_PORT": port}
        async with running("serve", env=env, cwd=str(tmp_path)) as service:
            assert await service.ended() == 1
    assert f"cannot listen on 127.0.0.1:{port}" in service.output
