"""What the demo plays on: its own Postgres, sandbox, `callboard serve` and subscriber."""

import asyncio
import os
import shutil
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service import jsontext
from service.commands.config import classes
from service.commands.demo.service import serving, stop
from service.commands.demo.subscriber import Event, Subscriber, subscribing
from service.commands.remote import ask_service
from service.embedded import attached
from service.embedded.place import place_in
from service.errors import CallboardError
from service.pooled import Asker
from service.providers import Request
from service.sandbox.options import Options
from service.sandbox.serve import running

RENDER_SECONDS = 0.6
# Well after a render's end: a callback that is on its way must not lose against the first poll.
POLL_SECONDS = 4
KEY = "demo:sandbox-takes-this-key-only"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Where everything is, and how the demo, being an app, asks."""

    asker: Asker
    sandbox: str
    url: str
    key: str
    subscriber: Subscriber

    async def ask(self, path: str, *, method: str = "GET", body: Any = None) -> Any:
        """Asks the service. Raises as `ask_service` does."""
        return await ask_service(self.asker, self.url, self.key, path, method=method, body=body)

    async def control(self, changes: Mapping[str, float] | None = None) -> Any:
        """What the sandbox saw so far, or (with `changes`) its options after them."""
        request = Request(
            method="GET" if changes is None else "PUT",
            url=f"{self.sandbox}/control",
            content=None if changes is None else jsontext.dumps(dict(changes)).encode(),
        )
        reply = await self.asker.ask(request, origin=self.sandbox, credentials={}, total=10.0)
        if reply.status != 200:
            raise CallboardError(f"the sandbox answered HTTP {reply.status} to its /control")
        return reply.json()


@asynccontextmanager
async def staged(
    folder: Path,
    log: Path,
    tell: Callable[[str], None],
    heard: Callable[[Event], None],
    *,
    render_seconds: float = RENDER_SECONDS,
    poll_seconds: float = POLL_SECONDS,
) -> AsyncIterator[Stage]:
    """Starts everything, all of it in `folder`; ends it all with the context. A render takes
    `render_seconds`, and is first asked after in about `poll_seconds`.

    Raises CallboardError where something does not start."""
    async with AsyncExitStack() as stack:
        data_dir = (folder / "data").absolute()  # others run in the folder
        # Where the folder's path is too long for a socket, Postgres has that elsewhere.
        stack.callback(shutil.rmtree, place_in(data_dir).sockets, ignore_errors=True)
        # The data is thrown away at the end: there is nothing to save from a power cut.
        await stack.enter_async_context(attached(data_dir, fsync=False))
        tell("an embedded Postgres runs")
        options = Options(render_seconds=render_seconds, api_key=KEY)
        sandbox = await stack.enter_async_context(running(options))
        tell(f"a sandbox plays fal, Genviral, Prism and a relay at {sandbox}")
        subscriber = await stack.enter_async_context(subscribing(heard))
        environment = _environment(data_dir, sandbox, poll_seconds)
        url = await stack.enter_async_context(serving(folder, log, environment))
        tell(f"callboard serve answers at {url}")
        asker = Asker()
        stack.push_async_callback(asker.aclose)
        key = await _key(folder, environment)
        stage = Stage(asker=asker, sandbox=sandbox, url=url, key=key, subscriber=subscriber)
        made = await stage.ask("/v1/subscriptions", method="POST", body={"url": subscriber.url})
        subscriber.secret = made["secret"]
        tell(f"a subscriber listens at {subscriber.url}: {made['id']}")
        yield stage


def _environment(data_dir: Path, sandbox: str, poll_seconds: float) -> dict[str, str]:
    """This process's environment, with the demo's settings in the place of all others."""
    ours = {name for read in classes() for name in read.model_fields}
    ours |= {f"{name}_file" for name in ours}
    kept = {name: value for name, value in os.environ.items() if name.lower() not in ours}
    return kept | {
        "CALLBOARD_DATA_DIR": str(data_dir),
        "CALLBOARD_ALLOW_PRIVATE_WEBHOOKS": "127.0.0.0/8",
        "CALLBOARD_POLL_SECONDS": str(poll_seconds),
        "FAL_KEY": KEY,
        "GENVIRAL_KEY": KEY,
        "PRISM_KEY": KEY,
        "RELAY_KEY": KEY,
        "GENVIRAL_URL": f"{sandbox}/genviral",
        "PRISM_URL": f"{sandbox}/prism",
        "RELAY_URL": f"{sandbox}/relay",
        "FAL_QUEUE_URL": f"{sandbox}/fal",
        "FAL_JWKS_URL": f"{sandbox}/fal/.well-known/jwks.json",
    }


async def _key(folder: Path, environment: Mapping[str, str]) -> str:
    """A key for the demo's app, made by the command that everyone makes keys with."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "service", "keys", "create", "--json"),
        *("--app", "demo", "--scope", "submit", "--scope", "read"),
        cwd=folder,
        env=dict(environment),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, problem = await process.communicate()
    finally:
        await stop(process)
    if process.returncode != 0:
        raise CallboardError(f"no key could be made: {problem.decode(errors='replace').strip()}")
    return str(jsontext.loads(out)["key"])
