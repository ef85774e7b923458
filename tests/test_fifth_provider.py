"""A further provider is one file, one catalog file and its cassettes: tests/fifth has those of a
pretend one, and here they are put into a copy of the checkout, which is then used as it is."""

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from raw_server import Server, Talk, serving
from running import environment, running

from service import jsontext
from service.database import Database
from service.providers import names

ROOT = Path(__file__).parent.parent
FIFTH = ROOT / "tests" / "fifth"
CASSETTES = "tests/cassettes/fifth"
COPIED = ("service", "sql", "scripts", "tests", "pyproject.toml", ".env.example", "README.md")
# The tests that look at every provider, model or file there is, and need no database.
OF_ALL = ("providers", "env_example", "catalog", "schema", "params", "price", "layers")
KEY = "the-fifth-providers-key"
MODEL = "fifth/lantern-1"
INPUT = {"prompt": "A paper lantern climbs over a frozen lake."}
FILM = "https://media.fifth.example/r-7.mp4"
PATIENCE_SECONDS = 30.0
pytestmark = pytest.mark.slow


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of what there is, with the fifth provider's files in it. The tests stand in it, so
    that the service of their processes is the copy's."""
    folder = tmp_path / "checkout"
    for name in COPIED:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name)  # what is compiled too: it is as good there
        else:
            shutil.copy(ROOT / name, folder / name)
    for path in added():
        assert not (folder / path).exists(), f"{path} is no new file"
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(FIFTH / path, folder / path)
    monkeypatch.chdir(folder)
    return folder


def added() -> list[str]:
    """The fifth provider's files, from the checkout's root."""
    found = (path for path in FIFTH.rglob("*") if path.is_file() and path.suffix != ".pyc")
    return sorted(path.relative_to(FIFTH).as_posix() for path in found)


def python(*words: str, **settings: str) -> str:
    """What a Python there prints; it must end well."""
    env = environment(PYTHONPATH=os.getcwd(), PYTHONDONTWRITEBYTECODE="1", **settings)
    done = subprocess.run(
        (sys.executable, *words), env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    return done.stdout


def callboard(*words: str, **settings: str) -> Any:
    return jsontext.loads(python("-m", "service", *words, "--json", **settings))


def answering(server: list[Server]) -> Talk:
    """Takes a render, which is under way at the first look and done at the second."""

    async def talk(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        (seen,) = server
        replies = [
            (201, {"render": "r-7"}),
            (200, {"state": "working"}),
            (200, {"state": "done", "film": FILM, "cost": "0.20"}),
        ]
        status, body = replies[min(len(seen.requests), len(replies)) - 1]
        content = jsontext.dumps(body).encode()
        writer.write(b"HTTP/1.1 %d OK\r\nContent-Length: %d\r\n\r\n" % (status, len(content)))
        writer.write(content)
        await writer.drain()

    return talk


async def ended(client: httpx.AsyncClient, job_id: str) -> dict[str, Any]:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            job: dict[str, Any] = (await client.get(f"/v1/jobs/{job_id}")).json()
            if job["finished_at"] is not None:
                return job
            await asyncio.sleep(0.05)


def test_a_fifth_provider_is_one_file_one_catalog_file_and_cassettes() -> None:
    files = [path for path in added() if not path.startswith(f"{CASSETTES}/")]
    assert files == ["service/catalog/fifth.toml", "service/providers/fifth.py"]
    assert len(added()) > len(files)


def test_every_test_of_all_providers_takes_it_as_it_is(checkout: Path) -> None:
    options = ("-v", "-p", "no:cacheprovider", "--color=no")
    which = [f"tests/test_{name}.py" for name in OF_ALL]
    lines = python("-m", "pytest", *options, *which).splitlines()
    passed = [line.split()[0].rpartition("::")[2] for line in lines if " PASSED" in line]
    for path in (checkout / CASSETTES).iterdir():
        assert f"test_a_cassette_is_built_and_read_as_it_says[fifth-{path.stem}]" in passed
    assert "test_a_provider_without_a_key_is_off[fifth]" in passed
    assert f"test_every_row_of_the_catalog_prices_what_it_is_about[{MODEL}]" in passed
    assert f"test_whatever_a_model_says_it_can_do_it_takes[{MODEL}]" in passed


def test_its_model_is_listed_and_its_settings_are_read(checkout: Path) -> None:
    for key in ("", KEY):
        models = {one["id"]: one for one in callboard("models", "list", FIFTH_KEY=key)}
        assert {one["provider"] for one in models.values()} == {*names(), "fifth"}
        assert models[MODEL]["provider"] == "fifth"
        assert models[MODEL]["configured"] == bool(key)
        assert models[MODEL]["params"]["duration_seconds"]["values"] == [4, 8]
    shown = {one["name"]: one for one in callboard("config", "show", FIFTH_KEY=KEY)}
    assert shown["FIFTH_KEY"] == {
        "name": "FIFTH_KEY",
        "value": "***",
        "source": "environment",
        "secret": True,
    }
    assert shown["FIFTH_URL"]["value"] == "https://fifth.example/v1"


async def test_its_job_is_priced_sent_once_and_asked_after(
    checkout: Path, db: Database, dsn: str
) -> None:
    seen: list[Server] = []
    async with serving(answering(seen)) as server:
        seen.append(server)
        settings = {
            "DATABASE_URL": dsn,
            "CALLBOARD_SECRETS": "a-secret-of-the-tests-long-enough",
            "CALLBOARD_PORT": "0",
            "CALLBOARD_POLL_SECONDS": "0.1",
            "FIFTH_KEY": KEY,
            "FIFTH_URL": f"{server.origin}/v1",
        }
        words = ("keys", "create", "--app", "fifth", "--scope", "submit", "--scope", "read")
        made = await asyncio.to_thread(callboard, *words, **settings)
        env = environment(**settings)
        async with running("serve", env=env, cwd=str(checkout)) as service:
            url = await service.said(r"listening on (http://\S+)")
            headers = {"Authorization": f"Bearer {made['key']}"}
            async with httpx.AsyncClient(base_url=url, headers=headers, trust_env=False) as client:
                asked = {"model": MODEL, "input": INPUT, "params": {"duration_seconds": 8}}
                reply = await client.post("/v1/jobs", json=asked)
                assert reply.status_code == 202, reply.text
                job = await ended(client, reply.json()["id"])
    assert (job["provider"], job["state"], job["learnt_by"]) == ("fifth", "completed", "poll")
    assert [one["url"] for one in job["outputs"]] == [FILM]
    assert job["cost"]["estimate"] == job["cost"]["actual"] == "0.20"
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /v1/renders HTTP/1.1\r\n")
    assert f"x-fifth-key: {KEY}" in head.decode().lower()
    assert jsontext.loads(body) == {"engine": MODEL, "input": {**INPUT, "length": "8s"}}
    assert [one.split()[0] for one in server.requests] == [b"POST", b"GET", b"GET"]
