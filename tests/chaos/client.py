"""An app that submits jobs under Idempotency-Keys, and tries again until it has its answer."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import aiohttp

MODEL = "fal-ai/veo3/fast"
PAUSE_SECONDS = 0.15
PATIENCE_SECONDS = 90.0


@dataclass
class Client:
    """Submits over the API. `jobs`: the id of each prompt's job; `tries`: how the POSTs went."""

    http: aiohttp.ClientSession
    url: str
    key: str
    name: str
    jobs: dict[str, str] = field(default_factory=dict)
    tries: Counter[str] = field(default_factory=Counter)
    answered: asyncio.Event = field(default_factory=asyncio.Event)

    async def call(self, method: str, path: str, **more: Any) -> tuple[int, Any, Any]:
        headers = {"Authorization": f"Bearer {self.key}", **more.pop("headers", {})}
        async with self.http.request(method, f"{self.url}{path}", headers=headers, **more) as reply:
            return reply.status, await reply.json(), reply.headers

    async def subscribe(self, url: str, events: list[str]) -> str:
        """The new subscription's secret."""
        body = {"url": url, "events": events}
        status, made, _ = await self.call("POST", "/v1/subscriptions", json=body)
        assert status == 201, made
        return str(made["secret"])

    async def submit_all(self, scenes: range, seconds: float = 0, model: str = MODEL) -> None:
        """Submits a job for each scene, spread over `seconds`, and has all their answers."""
        async with asyncio.TaskGroup() as tasks:
            for number in scenes:
                tasks.create_task(self.submit(f"{self.name}, scene {number}", model))
                await asyncio.sleep(seconds / len(scenes))

    async def submit(self, prompt: str, model: str = MODEL) -> bool:
        """Tries until there is a 202; whether it says that the job was there before."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                status, job, headers = await self._try(prompt, model)
                self.tries[str(status)] += 1
                if status == 202:
                    break
                assert status in (0, 503), (status, job)
                await asyncio.sleep(PAUSE_SECONDS)
        known = self.jobs.setdefault(prompt, job["id"])
        self.answered.set()
        assert known == job["id"], f"one key, two jobs: {known} and {job['id']}"
        return headers.get("idempotency-replayed") == "true"

    async def _try(self, prompt: str, model: str) -> tuple[int, Any, Any]:
        """The answer; status 0 where none came."""
        body = {"model": model, "input": {"prompt": prompt}}
        headers = {"Idempotency-Key": prompt.replace(",", "").replace(" ", "-")}
        try:
            return await self.call("POST", "/v1/jobs", json=body, headers=headers)
        except (aiohttp.ClientError, OSError, TimeoutError):
            return 0, None, {}
