"""The README is true: its diagram, its commands, its code and the files that it names."""

import asyncio
import os
import re
import shutil
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
from running import environment
from scene import WEBHOOK_SECRET
from standardwebhooks.webhooks import WebhookVerificationError

from service import jsontext
from service.__main__ import app
from service.deliver import SCHEDULE
from service.job import MOVES
from service.webhook import signed_headers

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
ELSEWHERE = {"scripts/demo": "tests/test_demo.py", "scripts/serve": "tests/test_readme.py"}
MINE = {".env", ".callboard", ".git", ".venv.lock"}  # what a fresh clone does not have
SECONDS = 120


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def inline() -> list[str]:
    prose = re.sub(r"^```.*?^```$", "", README, flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"`([^`]+)`", prose)


def test_the_diagram_has_every_move_and_no_other() -> None:
    (diagram,) = blocks("mermaid")
    drawn = re.findall(r"^ +(\S+) --> (\w+)(?:: .+)?$", diagram, re.MULTILINE)
    assert len(drawn) == len(diagram.splitlines()) - 1
    moves = [(was, now) for was, nows in MOVES.items() for now in nows]
    assert sorted(drawn) == sorted([("[*]", "queued"), *moves])


def test_every_file_that_is_named_exists() -> None:
    shape = re.compile(r"[\w.-]+/[\w./-]*|[\w.-]*\.(?:example|lock|md|py|toml)")
    words = [word for code in inline() for word in code.split()]
    named = {word for word in words if shape.fullmatch(word)}
    assert {"service/job.py", ".env.example", "requirements.lock", "sql/queries/"} <= named
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_every_command_that_is_named_exists() -> None:
    commands: Any = typer.main.get_command(app)
    named = [code.split()[1:] for code in inline() if re.match(r"callboard \w", code)]
    assert len(named) > 8
    for words in named:
        found = commands
        for word in words:
            assert word in found.commands, words
            found = found.commands[word]
    assert set(commands.commands) == {words[0] for words in named}


def test_the_retries_are_those_of_the_schedule() -> None:
    told = re.search(r"tried again: after (.*?) and (\d+ h)\.", README, re.DOTALL)
    assert told
    units = {"s": 1, "min": 60, "h": 3600}
    words = [part.split() for part in f"{told[1]}, {told[2]}".replace("\n", " ").split(", ")]
    assert tuple(int(number) * units[unit] for number, unit in words) == SCHEDULE


def test_the_code_that_verifies_an_event_does() -> None:
    (code,) = blocks("python")
    body = jsontext.dumps({"type": "job.completed", "data": {"job": {"state": "completed"}}})
    headers = signed_headers([WEBHOOK_SECRET], "evt_1", body)
    named: dict[str, Any] = {"SECRET": WEBHOOK_SECRET}
    exec(code, named)
    seen: set[str] = set()
    handled: list[Any] = []
    for _ in range(2):
        named["receive"](body.encode(), headers, seen, handled.append)
    assert (seen, handled) == ({"evt_1"}, [jsontext.loads(body)])
    with pytest.raises(WebhookVerificationError):
        named["receive"](body.encode() + b" ", headers, seen, handled.append)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """The checkout as somebody else has just cloned it, but prepared."""
    for path in ROOT.iterdir():
        if path.name not in MINE:
            (tmp_path / path.name).symlink_to(path)
    return tmp_path


@pytest.fixture
def free_ports() -> Iterator[dict[str, str]]:
    """What the README's two ports are replaced with."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("", 0)) as two:
        ports = {"8080": str(one.getsockname()[1]), "8090": str(two.getsockname()[1])}
    return ports


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is missing")
async def test_the_commands_work_one_after_another(clone: Path, free_ports: dict[str, str]) -> None:
    run = [block for block in blocks("bash") if block.strip() not in ELSEWHERE]
    assert all((ROOT / path).exists() for path in ELSEWHERE.values())
    assert any("scripts/serve &" in block for block in run)
    script = "trap 'kill $(jobs -p); wait' EXIT\n" + "\necho; echo ==\n".join(run)
    script = re.sub("80[89]0", lambda port: free_ports[port[0]], script)
    process = await asyncio.create_subprocess_exec(
        *("bash", "-euo", "pipefail", "-c", script),
        cwd=clone,
        env=environment(HOME=str(clone)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(SECONDS):
            out, err = (text.decode() for text in await process.communicate())
    except TimeoutError:
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        raise
    assert out.count("\n==\n") == len(run) - 1, err
    parts = [part.strip() for part in out.split("\n==\n")]
    ready, submitted, subscribed, recovered, page, stream, *rest = parts
    checked, called, listed, told, acted = rest
    assert jsontext.loads(ready) == {"status": "ok"}, err
    job = jsontext.loads(submitted)
    assert (job["state"], job["learnt_by"]) == ("completed", "callback"), err
    assert jsontext.loads(subscribed)["secret"].startswith("whsec_")
    assert recovered.splitlines()[-1] == "1", err
    (event,) = jsontext.loads(page)["data"]
    assert (event["type"], event["data"]["job"]["id"]) == ("job.completed", job["id"])
    assert re.findall(r"^event: (.*)$", stream, re.MULTILINE)[-1] == "job.completed", stream
    assert stream.endswith(": the job has ended, and all of its events were sent")
    checks = {one["check"]: one["ok"] for one in jsontext.loads(checked)["checks"]}
    assert (checks["database"], checks["public_url"]) in ((True, True), (True, None)), err
    assert job["id"] in called
    assert f"would be duplicate\n{job['id']} stays completed" in called
    assert f"id             {job['id']}" in listed
    assert listed.endswith(job["outputs"][0]["url"])
    assert told.splitlines()[1].split()[:4] == ["fal", "fal-ai/veo3/fast", "1", "1"]
    for counted in (
        'submits_total{outcome="accepted",provider="fal"} 1.0',
        'callbacks_total{provider="fal",reason="",verdict="accepted"} 1.0',
        'moves_total{source="callback",state="completed"} 1.0',
        'request_duration_seconds_count{method="POST",route="/v1/jobs",status="202"} 1.0',
        "database_up 1.0",
    ):
        assert f"callboard_{counted}" in told, told
    assert acted.count(f"id       {job['id']}") >= 2
    assert "attempt  2" in acted
    assert (clone / ".callboard").exists()
    assert "Traceback" not in err
