"""Nothing that Callboard prints holds a token, a key or a secret: some are planted, all is read."""

import asyncio
import base64
import json
import re
import secrets
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import aiohttp
import asyncpg
import pytest
from aiohttp import web
from chaos.client import MODEL
from chaos.harness import Program, free_port, service_settings, serving
from embedded_programs import until

from service.embedded import attached
from service.embedded.place import place_in

SEEN = 20  # characters of a value that give it away: a message may cut it
SUBMITTED = {"status": "IN_QUEUE", "request_id": "req-1"}
COMPLETED = {"status": "COMPLETED", "request_id": "req-1", "video": {"url": "https://a.example/v"}}


def planted(what: str) -> str:
    return f"planted-{what.replace(' ', '-')}-{secrets.token_hex(12)}"


@dataclass
class Scene:
    """A running service, the fal it knows, and every value that must stay unsaid."""

    folder: Path
    env: dict[str, str] = field(default_factory=dict)
    values: dict[str, str] = field(default_factory=dict)
    http: aiohttp.ClientSession | None = None
    url: str = ""
    fal_url: str = ""
    calls: list[str] = field(default_factory=list)
    told: int = 0
    close_fal: Callable[[], Awaitable[None]] | None = None
    runs: int = 0

    def plant(self, what: str, value: str | None = None) -> str:
        self.values[what] = value or planted(what)
        return self.values[what]

    async def fal(self, request: web.Request) -> web.Response:
        """A fal that takes all, keeps the callback's address, and answers polls with an end."""
        if request.method == "POST":
            self.calls.append(request.query["fal_webhook"])
            token = parse_qs(urlsplit(self.calls[-1]).query)["token"][0]
            self.plant(f"token {len(self.calls)}", token)
            self.plant(f"signature {len(self.calls)}", token.rpartition(".")[2])
        return web.json_response(SUBMITTED if request.method == "POST" else COMPLETED)

    async def hear(self, request: web.Request) -> web.Response:
        self.told += 1
        return web.Response(status=500 if self.told % 2 else 200, text=str(request.headers))

    async def call(
        self, method: str, path: str, *, key: str | None = None, **more: Any
    ) -> tuple[int, Any]:
        assert self.http is not None
        headers = {"Authorization": f"Bearer {key or self.values['API key']}"}
        async with self.http.request(method, f"{self.url}{path}", headers=headers, **more) as reply:
            text = await reply.text()
            return reply.status, json.loads(text) if text.startswith("{") else text

    async def job(self, **more: Any) -> tuple[int, Any]:
        body = {"model": MODEL, "input": {"prompt": "a paper boat"}, **more}
        return await self.call("POST", "/v1/jobs", json=body)

    async def command(self, *words: str, **env: str) -> tuple[int, str]:
        """Runs a command; its exit status and what it printed, which is kept to be looked at."""
        self.runs += 1
        program = Program(words, self.folder / f"{self.runs}.said", self.env | env)
        await program.start()
        return await program.waited(), program.said.read_text()

    def outputs(self) -> Mapping[str, str]:
        """All that any process has printed so far, and Postgres's own log."""
        said = {path.name: path.read_text() for path in self.folder.glob("*.said")}
        return said | {"Postgres": place_in(self.folder / "data").log.read_text()}

    def leaks(self) -> list[str]:
        return [
            f"{what} in {name}: {text[max(0, at - 100) : at + 100]!r}"
            for name, text in self.outputs().items()
            for what, value in self.values.items()
            for spelled in (value[:SEEN], quote(value, safe="")[:SEEN])
            if (at := text.find(spelled)) >= 0
        ]


@asynccontextmanager
async def standing(folder: Path) -> AsyncIterator[Scene]:
    """The service with planted settings, before a fal of ours."""
    scene = Scene(folder)
    async with AsyncExitStack() as stack:
        connector = aiohttp.TCPConnector(force_close=True)  # after a 500 it is closed anyway
        scene.http = await stack.enter_async_context(aiohttp.ClientSession(connector=connector))
        embedded = await stack.enter_async_context(attached(folder / "data", fsync=False))
        app = web.Application()
        app.router.add_post("/hear/{tail:.*}", scene.hear)
        app.router.add_route("*", "/fal/{tail:.*}", scene.fal)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        scene.close_fal = runner.cleanup
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        scene.fal_url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        port = free_port()
        scene.url = f"http://127.0.0.1:{port}"
        dsn = embedded.dsn.replace("postgres@", f"postgres:{scene.plant('password')}@")
        scene.env = service_settings(dsn, port, scene.fal_url) | {
            "CALLBOARD_SECRETS": f"{scene.plant('secret')},{scene.plant('older secret')}",
            "FAL_KEY": f"{scene.plant('FAL_KEY id')}:{scene.plant('FAL_KEY secret')}",
            "FAL_WEBHOOK_TOKEN": scene.plant("shared token"),
            "FAL_TRUST": "token",
        }
        program = Program(("serve",), folder / "serve.said", scene.env)
        await stack.enter_async_context(serving(program, f"{scene.url}/readyz", scene.http))
        yield scene
        assert await program.end(signal.SIGTERM) == 0


async def ordinary(scene: Scene) -> None:
    """A key, a subscription with a header, a job with a hook of its own, and how they go on."""
    status, said = await scene.command(
        "keys", "create", "--app", "a", "--scope", "submit", "--scope", "read"
    )
    key, *rest = said.split()
    assert status == 0
    assert key.startswith("cb_")
    (scene.folder / f"{scene.runs}.said").write_text(" ".join(rest))  # the key is the answer
    scene.plant("API key", key)
    secret = "whsec_" + base64.b64encode(scene.plant("signing secret").encode()).decode()
    body = {
        "url": f"{scene.fal_url}/hear/all?code={scene.plant('query of a subscription')}",
        "secret": scene.plant("secret of a subscription", secret),
        "headers": {"X-Code": scene.plant("header of a subscription")},
    }
    status, _ = await scene.call("POST", "/v1/subscriptions", json=body)
    assert status == 201
    hook = f"{scene.fal_url}/hear/one?code={scene.plant('query of a hook')}"
    _, job = await scene.job(notify_hook=hook)
    shown, _ = await scene.call("GET", f"{job['links']['self']}?wait=20")
    assert shown == 200
    await until(lambda: scene.told >= 2)
    await scene.call("GET", f"/v1/jobs?reference={scene.plant('query of a list')}")
    assert (await scene.command("keys", "list"))[0] == 0
    assert (await scene.command("keys", "list", "--json"))[0] == 0


async def refused(scene: Scene) -> None:
    """Keys and tokens that are not taken."""
    status, _ = await scene.call("GET", "/v1/jobs", key="cb_" + scene.plant("wrong key"))
    assert status == 401
    token = scene.values["token 1"]
    for number, bad in enumerate((token[:-4], f"{token[:-1]}!", scene.plant("bad token"))):
        scene.plant(f"bad token {number}", bad)
        for door in ("/callbacks/fal", "/api/fal/webhook", "/callbacks/none", "/elsewhere"):
            status, _ = await scene.call("POST", f"{door}?token={bad}", json={"request_id": "r"})
            assert status in (401, 404)
    status, _ = await scene.call("POST", f"/callbacks/fal?token={token}", data=b"{")
    assert status == 400


async def mistaken(scene: Scene) -> None:
    """Commands that are given a secret where none belongs, and settings that are wrong."""
    key, password = scene.values["API key"], scene.values["password"]
    tries: list[tuple[tuple[str, ...], dict[str, str]]] = [
        (("keys", "revoke", key), {}),
        (("keys", "create", "--app", "a", "--scope", key), {}),
        (("serve",), {"FAL_KEY": f"{scene.values['FAL_KEY id']} {scene.values['FAL_KEY secret']}"}),
        (("serve",), {"CALLBOARD_SECRETS": scene.plant("short secret", secrets.token_hex(5))}),
        (("serve",), {"CALLBOARD_SECRETS": scene.plant("secret that opens nothing")}),
        (("serve",), {"FAL_QUEUE_URL": f"https://a:{scene.plant('url password')}@b.example/fal"}),
        (("serve",), {"FAL_QUEUE_URL": f"https://b.example/fal?key={scene.plant('url query')}"}),
        (("serve",), {"DATABASE_URL": f"mysql://a:{password}@127.0.0.1/a"}),
        (("migrate",), {"DATABASE_URL": f"postgresql://a:{password}@127.0.0.1:1/a"}),
        (("migrate",), {"DATABASE_URL": scene.env["DATABASE_URL"].replace("/callboard", "/none")}),
        (("migrate",), {"DATABASE_URL": scene.env["DATABASE_URL"] + "&sslmode=sometimes"}),
    ]
    ends = await asyncio.gather(*(scene.command(*words, **env) for words, env in tries))
    for (words, env), (status, said) in zip(tries, ends, strict=True):
        assert status != 0, (words, env)
        assert said.splitlines()[-1].startswith("callboard: "), said
    sandbox = scene.plant("sandbox key")
    program = Program(("sandbox", "--port", "0", "--api-key", sandbox), scene.folder / "box.said")
    await program.start()
    await until(lambda: "listens on" in program.said.read_text())
    url = program.said.read_text().split()[-1]
    callback = f"{scene.url}/callbacks/fal?token={scene.values['bad token']}"
    assert scene.http is not None
    for given in (sandbox, scene.plant("wrong sandbox key")):
        async with scene.http.post(
            f"{url}/fal/fal-ai/x?fal_webhook={quote(callback, safe='')}",
            headers={"Authorization": f"Key {given}"},
            json={"prompt": "x"},
        ) as reply:
            assert reply.status in (200, 401)
    assert await program.end(signal.SIGTERM) == 0


async def broken(scene: Scene) -> None:
    """A provider that is away, and faults of ours that end in tracebacks."""
    assert scene.close_fal is not None
    hook = f"http://127.0.0.1:1/?code={scene.plant('query of an unheard hook')}"
    _, job = await scene.job(notify_hook=hook)
    await until(lambda: len(scene.calls) >= 2)
    await scene.close_fal()
    _, job = await scene.job()
    async with asyncio.timeout(20):
        while not job["error"]:
            _, job = await scene.call("GET", job["links"]["self"])
    assert job["error"]["code"] == "provider_unavailable"
    db = await asyncpg.connect(scene.env["DATABASE_URL"])
    try:
        # Postgres quotes the whole row that it refuses.
        await db.execute("alter table jobs add constraint a check (reference is null) not valid")
        await db.execute("alter table callbacks add constraint b check (body is null) not valid")
    finally:
        await db.close()
    status, _ = await scene.job(notify_hook=hook, reference="a")
    assert status == 500
    token, call = scene.values["token 2"], {"request_id": "req-2", "status": "OK"}
    status, _ = await scene.call("POST", f"/callbacks/fal?token={token}", json=call)
    assert status == 503
    said = scene.outputs()["serve.said"]
    assert len(re.findall("^Traceback", said, re.MULTILINE)) >= 2
    assert said.count("StatementRefused") >= 2
    assert "Failing row" not in said


@pytest.mark.slow
async def test_no_output_of_any_process_holds_a_token_a_key_or_a_secret(tmp_path: Path) -> None:
    async with standing(tmp_path) as scene:
        for life in (ordinary, refused, mistaken, broken):
            await life(scene)
    assert not scene.leaks(), "\n".join(scene.leaks())
    said = scene.outputs()
    assert len(scene.values) > 20
    assert all(said.values()), [name for name, text in said.items() if not text]
    assert "POST /v1/jobs 202" in said["serve.said"]
    assert "token=" not in said["serve.said"].replace("token=***", "")
