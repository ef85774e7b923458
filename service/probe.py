"""Asks our own public address as a provider would: do callbacks get through to this Callboard?

At the start, and every few minutes while they do not. It stops nothing; it says what to do.
"""

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from itertools import chain, repeat
from urllib.parse import urlsplit

from service import http
from service.checks import Check
from service.document import moment
from service.echo import Echo
from service.errors import NotSent, ReplyLost
from service.findings import Finding, Outcome, echo_in, judged, unreachable
from service.loop import jittered
from service.providers import Provider, Request, Trust

log = logging.getLogger(__name__)

START_PAUSES = (0.5, 1.0, 2.0, 4.0)  # the server, and what stands in front of it, is coming up
AGAIN_SECONDS = 300.0
CONNECT_SECONDS, TOTAL_SECONDS = 5.0, 10.0


class Probe:
    """Calls `url` (CALLBOARD_PUBLIC_URL; None: there is none) at the door of a provider that has
    callbacks, `total` seconds at most, and keeps what the last call found. It asks after each of
    the pauses of `start`, and then every `again` seconds, until a call has come through."""

    def __init__(
        self,
        url: str | None,
        providers: Mapping[str, Provider],
        echo: Echo,
        *,
        total: float = TOTAL_SECONDS,
        start: Sequence[float] = START_PAUSES,
        again: float = AGAIN_SECONDS,
    ) -> None:
        called = sorted(one.name for one in providers.values() if one.callbacks is not Trust.NONE)
        self._url = url
        self._provider = called[0] if called else None
        self._echo = echo
        self._total = total
        self._start = tuple(start)
        self._again = again
        self.last: Finding | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Asks until a call has come through, or until `stop`, which ends a call under way."""
        if self._url is None or self._provider is None:
            return
        tasks = [asyncio.create_task(self._look()), asyncio.create_task(stop.wait())]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def ask(self) -> Finding:
        """One call, and what it found, whatever comes back. There must be an address, and a
        provider that has callbacks. It carries no credentials, and no redirect is followed."""
        assert self._url is not None
        assert self._provider is not None
        question = self._echo.question(self._provider, now=time.time())
        parts = urlsplit(self._url)
        request = Request(
            method="POST",
            url=f"{self._url}/callbacks/{self._provider}?token={question.token}",
            content=question.body,
            headers={"Content-Type": "application/json"},
        )
        try:
            reply = await http.post_once(
                request,
                origin=f"{parts.scheme}://{parts.netloc}",
                credentials={},
                connect=CONNECT_SECONDS,
                total=self._total,
            )
        except (NotSent, ReplyLost) as fault:
            self.last = unreachable(str(fault))
        else:
            seen = self._echo.read(question, echo_in(reply), now=time.time())
            self.last = judged(reply, seen, asked=self._url)
        return self.last

    def check(self) -> Check:
        """What is known now."""
        name, last = "public_url", self.last
        if self._url is None:
            none = "CALLBOARD_PUBLIC_URL is not set: no callback is registered, all is polled"
            cure = "set it to where providers reach this Callboard"
            return Check(check=name, ok=True, detail=none, cure=cure)
        if self._provider is None:
            return Check(check=name, ok=True, detail="no configured provider has callbacks")
        if last is None:
            return Check(check=name, ok=None, detail="not tried yet: it is, soon after the start")
        detail = f"{last.outcome}: {last.detail} ({moment(last.at)})"
        well = last.outcome is Outcome.REACHED
        return Check(check=name, ok=well, detail=detail, cure=last.cure)

    async def _look(self) -> None:
        for tries, pause in enumerate(chain(self._start, repeat(self._again)), start=1):
            await asyncio.sleep(jittered(pause))
            try:
                finding = await self.ask()
            except Exception:
                log.exception("the public address could not be tried")
                continue
            if finding.outcome is Outcome.REACHED:
                log.info("CALLBOARD_PUBLIC_URL: %s", finding.detail)
                return
            if tries >= len(self._start):
                log.warning("CALLBOARD_PUBLIC_URL: %s. To do: %s", finding.detail, finding.cure)
