"""An operator gets stuck jobs moving again: real processes, the sandbox's fal, the command."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from chaos.client import Client
from chaos.harness import Program, free_port, service_settings, serving_both
from running import environment
from scene import rows_of

from service import ids, jsontext
from service.database import Database

PATIENCE = 30


@dataclass
class House:
    """A service and a sandbox that run, and the command beside them."""

    http: aiohttp.ClientSession
    sandbox: str
    app: Client
    env: dict[str, str]
    folder: Path

    async def command(self, *words: str) -> tuple[int, Any, str]:
        """Runs `callboard *words --json`: its exit code, what it printed, what it said."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "service", *words, "--json"),
            cwd=self.folder,
            env=environment(**self.env) | {"PYTHONPATH": os.getcwd()},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        assert b"Traceback" not in err, err.decode()
        return process.returncode or 0, jsontext.loads(out) if out else None, err.decode()

    async def control(self, **changes: float) -> None:
        async with self.http.put(f"{self.sandbox}/control", json=changes) as reply:
            assert reply.status == 200

    async def ledger(self) -> Any:
        async with self.http.get(f"{self.sandbox}/control") as reply:
            return await reply.json()

    async def submitted(self, prompt: str) -> str:
        await self.app.submit(prompt)
        return self.app.jobs[prompt]

    async def until(self, job: str, seen: Callable[[Any], bool]) -> Any:
        """The job, once it is as wanted; its timeline stands in it."""
        async with asyncio.timeout(PATIENCE):
            while True:
                _, shown, _ = await self.app.call("GET", f"/v1/jobs/{job}")
                _, happened, _ = await self.app.call("GET", f"/v1/jobs/{job}/timeline")
                shown["timeline"] = happened["data"]
                if seen(shown):
                    return shown
                await asyncio.sleep(0.05)


@pytest.fixture
async def house(db: Database, dsn: str, tmp_path: Path) -> AsyncIterator[House]:
    pretend, port = free_port(), free_port()
    sandbox = f"http://127.0.0.1:{pretend}"
    env = service_settings(dsn, port, sandbox) | {"CALLBOARD_UNCONFIRMED_SECONDS": "600"}
    played = Program(("sandbox", "--port", str(pretend)), tmp_path / "sandbox.log")
    served = Program(("serve",), tmp_path / "service.log", env)
    url = f"http://127.0.0.1:{port}"
    async with (
        aiohttp.ClientSession() as http,
        serving_both((played, f"{sandbox}/control"), (served, f"{url}/readyz"), http),
    ):
        house = House(http, sandbox, Client(http, url, "", "story"), env, tmp_path)
        scopes = ("--scope", "submit", "--scope", "read", "--scope", "operate")
        code, made, err = await house.command("keys", "create", "--app", "studio", *scopes)
        assert code == 0, err
        house.app.key = made["key"]
        yield house
        said = served.said.read_text()
        assert " ERROR " not in said, said
        assert "Traceback" not in said, said


def stands(state: str) -> Callable[[Any], bool]:
    return lambda job: bool(job["state"] == state)


def was_called_back_late(job: Any) -> bool:
    calls = [one["detail"] for one in job["timeline"] if one["kind"] == "callback"]
    return any(one["attempt"] == 1 and one["reason"] == "old_attempt" for one in calls)


@pytest.mark.slow
async def test_a_lost_reply_is_resolved_with_the_providers_id(house: House) -> None:
    await house.control(lose=1, drop_submit_reply=1, render_seconds=0.2)
    job = await house.submitted("a boat whose reply is lost")
    await house.until(job, stands("unconfirmed"))
    code, listed, _ = await house.command("jobs", "list", "--state", "unconfirmed")
    assert (code, [one["id"] for one in listed["data"]]) == (0, [job])
    code, _, err = await house.command("jobs", "rerun", job)
    assert (code, "may still be rendered" in err) == (5, True), err

    (entry,) = (await house.ledger())["jobs"]
    (request_id,) = entry["request_ids"]
    words = ("jobs", "resolve", job, "--as", "accepted", "--provider-id", request_id)
    code, _, err = await house.command(*words)
    assert code == 0, err
    done = await house.until(job, stands("completed"))
    assert (done["learnt_by"], done["provider_id"], done["attempt"]) == ("poll", request_id, 1)
    assert request_id in done["outputs"][0]["url"]
    assert (await house.ledger())["totals"]["accepted"] == 1


@pytest.mark.slow
async def test_a_rerun_by_force_whose_old_render_comes_back_is_settled_by_adopting_it(
    house: House, db: Database
) -> None:
    await house.control(ignore_cancel=1, render_seconds=6)
    job = await house.submitted("a boat that takes its time")
    await house.until(job, lambda job: job["provider_id"] is not None)
    status, problem, _ = await house.app.call("POST", f"/v1/jobs/{job}/rerun", json={"attempt": 1})
    assert (status, problem["code"]) == (409, "still_alive")

    await house.control(error=1, render_seconds=0.1)
    words = ("jobs", "rerun", job, "--force", "--reason", "the customer waits")
    code, again, err = await house.command(*words)
    assert (code, again["attempt"], "costs about" in err) == (0, 2, True), err
    await house.until(job, lambda job: job["state"] == "failed" and job["attempt"] == 2)
    await house.until(job, was_called_back_late)
    code, _, err = await house.command("jobs", "adopt", job, "--attempt", "1")
    assert code == 0, err
    done = await house.until(job, stands("completed"))
    assert (done["learnt_by"], done["attempt"], done["error"]) == ("operator", 1, None)
    assert done["provider_id"] in done["outputs"][0]["url"]
    acts = [one["detail"] for one in done["timeline"] if one["kind"] == "act"]
    assert [(one["act"], one["attempt"], one["reason"]) for one in acts] == [
        ("rerun", 1, "the customer waits"),
        ("adopt", 1, None),
    ]
    assert acts[0]["detail"]["cancel"] == "requested"
    found = ids.read("job", job)
    assert found is not None
    outcomes = [row["outcome"] for row in await rows_of(db, "attempts", found, "number")]
    assert outcomes == ["completed", "failed"]
    assert (await house.ledger())["totals"]["accepted"] == 2
