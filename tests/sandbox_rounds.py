"""One of our providers and its pretend counterpart, brought together over HTTP."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any
from uuid import UUID

import aiohttp
from sandbox_client import PATIENCE, Client

from service.job import ENDED
from service.providers import Accepted, Attempt, Provider, Refused, Reply, Report, Request, Unclear
from service.sandbox.options import Misbehaviour, Options
from service.sandbox.serve import running

QUIET = {**{str(name): 0 for name in Misbehaviour}, "render_seconds": 0.05}
QUIET["retention_seconds"] = 3600


@asynccontextmanager
async def serving(**options: Any) -> AsyncIterator[Client]:
    """A sandbox, and a client of its `/control` that sends no key of its own."""
    async with running(Options(**options)) as url, aiohttp.ClientSession() as http:
        yield Client(http, url)


class Round:
    """A provider's conversation with its sandbox."""

    def __init__(self, client: Client, provider: Provider) -> None:
        self.client = client
        self.provider = provider

    async def send(self, request: Request) -> Reply:
        headers = {**request.headers, **self.provider.credentials()}
        async with self.client.http.request(
            request.method, request.url, data=request.content, headers=headers
        ) as answer:
            named = {name.lower(): value for name, value in answer.headers.items()}
            return Reply(status=answer.status, content=await answer.read(), headers=named)

    async def submit(
        self, model: str, given: dict[str, Any], callback_url: str | None = None
    ) -> tuple[Attempt, Accepted | Refused | Unclear]:
        """What became of one POST, and the attempt as it is known then."""
        about = Attempt(job_id=UUID(int=1), number=1, model=model, input=given)
        answer = await self.send(self.provider.submission(about, callback_url))
        verdict = self.provider.read_submission(answer)
        if isinstance(verdict, Accepted):
            about = replace(about, provider_id=verdict.provider_id, urls=verdict.urls)
        return about, verdict

    async def ask(self, about: Attempt) -> Report:
        """One poll."""
        conversation = self.provider.poll(about)
        answer = await self.send(next(conversation))
        try:
            conversation.send(answer)
        except StopIteration as end:
            report: Report = end.value
            return report
        raise AssertionError("a second request")

    async def ended(self, about: Attempt) -> Report:
        """The end, polled for."""
        async with asyncio.timeout(PATIENCE):
            while True:
                report = await self.ask(about)
                if report.state in ENDED:
                    return report
                assert report.state is not None, report.note

    async def forgotten(self, about: Attempt) -> None:
        """Waits until the provider says that it does not know the job."""
        async with asyncio.timeout(PATIENCE):
            while not (await self.ask(about)).gone:
                pass

    async def entry(self, about: Attempt) -> Any:
        """The job as the sandbox's ledger has it."""
        return await self.client.job(str(about.provider_id))
