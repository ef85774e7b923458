"""Runs the `callboard` command in this process, as a shell would."""

import asyncio
import contextlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from scene import SECRETS

from service import jsontext
from service.__main__ import main
from service.commands import config


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What a command printed and how it exited."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    def json(self) -> Any:
        return jsontext.loads(self.out)


async def callboard(*words: str, out: io.StringIO | None = None) -> Ran:
    """Runs it in a thread, since each command has an event loop of its own."""
    stdout, stderr = out or io.StringIO(), io.StringIO()

    def run() -> int:
        try:
            main(words)
        except SystemExit as ended:
            return int(ended.code or 0)
        return 0

    with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
        code = await asyncio.to_thread(run)
    return Ran(code=code, out=stdout.getvalue(), err=stderr.getvalue())


def stand_alone(monkeypatch: pytest.MonkeyPatch, dsn: str, folder: Path) -> None:
    """Stands in `folder`, with the run's database and its secrets as the only settings."""
    for name in (name.upper() for read in config.classes() for name in read.model_fields):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(f"{name}_FILE", raising=False)
    monkeypatch.setenv("DATABASE_URL", dsn)
    monkeypatch.setenv("CALLBOARD_SECRETS", ",".join(SECRETS))
    monkeypatch.chdir(folder)


def fails(ran: Ran, code: int, words: str) -> bool:
    """Whether it ended with that code, one clear line on stderr and nothing on stdout."""
    return (ran.code, ran.out) == (code, "") and words in ran.err and "Traceback" not in ran.err
