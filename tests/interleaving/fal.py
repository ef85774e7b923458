"""A pretend fal that counts what it took, and answers as the story says. Its renders move when the
story moves them; what it calls back the story sends."""

import time
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from scene import SECRETS

from interleaving.gate import Gate, Reply
from service.tokens import CallbackToken, Tokens

TOKENS = Tokens(SECRETS)
OPEN = ("queued", "running")
Answer = tuple[int, Any]


@dataclass(eq=False)
class Post:
    """One submission that arrived, by its token. `settled`: whoever sent it knows that it was not
    taken, and may send it again; `answered`: that it was, and as what."""

    who: str
    token: str
    about: CallbackToken
    settled: bool = False
    answered: bool = False

    @property
    def key(self) -> tuple[str, int]:
        """Its job's id and attempt."""
        return str(self.about.job_id), self.about.attempt


@dataclass(eq=False)
class Render:
    """One submission that was taken. `told`: the verdicts that were answered when somebody asked;
    `called`: one was said in a call, whether or not it arrived."""

    id: str
    token: str
    about: CallbackToken
    state: str = "queued"
    known: bool = True
    told: list[str] = field(default_factory=list)
    called: bool = False

    def body(self) -> dict[str, Any]:
        """The result, and the payload of a callback."""
        return {"video": {"url": f"https://media.example/{self.id}.mp4"}}

    def fault(self) -> dict[str, str]:
        """Why it came to nothing."""
        kind = "client_cancelled" if self.state == "canceled" else "internal_error"
        return {"error": f"it {self.state}", "error_type": kind}


@dataclass(eq=False)
class Fal:
    """The provider. `posts` and `renders` are in order of arrival; `names` is what the story calls
    the jobs."""

    gate: Gate
    posts: list[Post] = field(default_factory=list)
    renders: list[Render] = field(default_factory=list)
    names: dict[UUID, str] = field(default_factory=dict)

    def forget(self) -> None:
        """Everything that was."""
        self.posts, self.renders, self.names = [], [], {}

    def find(self, render_id: str | None) -> Render | None:
        return next((one for one in self.renders if one.id == render_id), None)

    def of(self, job_id: str, attempt: int) -> Render | None:
        """The render of an attempt."""
        wanted = (UUID(job_id), attempt)
        found = (one for one in self.renders if (one.about.job_id, one.about.attempt) == wanted)
        return next(found, None)

    def finish(self) -> None:
        """Every render comes to its end."""
        for render in self.renders:
            if render.state in OPEN:
                render.state = "succeeded"

    async def take(self, who: str, token: str) -> Answer:
        """A submission. Raises ConnectionError where the caller gets no answer."""
        about = TOKENS.read(token, provider="fal", now=time.time())
        post = Post(who, token, about)
        self.posts.append(post)
        what = f"POST of {self.names.get(about.job_id, '?')}#{about.attempt}"
        how = await self.gate.request(who, what)
        post.settled = how in (Reply.REFUSED, Reply.FULL)
        match how:
            case Reply.CUT:
                raise ConnectionError
            case Reply.REFUSED:
                return 422, {"detail": [{"type": "missing", "msg": "no"}]}
            case Reply.FULL:
                return 429, {"detail": "slow down"}
        render = Render(f"r{len(self.renders) + 1}", token, about)
        self.renders.append(render)
        told = {"request_id": render.id, "status": "IN_QUEUE", "queue_position": 0}
        status, said = await self._said(who, what, how, (200, told))
        post.answered = status == 200
        return status, said

    async def tell(self, who: str, method: str, number: str, word: str) -> Answer:
        """A question about a render (`word`: its status, else its result), or a PUT: its cancel.
        Raises ConnectionError where the caller gets no answer."""
        what = f"{'cancel' if method == 'PUT' else word or 'result'} of {number}"
        how = await self.gate.request(who, what)
        if how is Reply.CUT:
            raise ConnectionError
        if how is Reply.FULL:
            return 429, {"detail": "slow down"}
        render = self.find(number)
        if render is None or not render.known:
            return 404, {"status": "NOT_FOUND"}
        answer = self._cancel(render, how) if method == "PUT" else self._state(render, word, how)
        return await self._said(who, what, how, answer)

    async def _said(self, who: str, what: str, how: Reply, answer: Answer) -> Answer:
        if how is Reply.LATE:
            how = await self.gate.request(who, what, done=True)
        if how in (Reply.LOST, Reply.CUT):
            raise ConnectionError
        return (500, {"detail": "oops"}) if how is Reply.BROKEN else answer

    def _state(self, render: Render, word: str, how: Reply) -> Answer:
        """How a render stands."""
        if how is Reply.REFUSED:
            return 404, {"detail": "not found"}
        if word == "status" and render.state in OPEN:
            return 202, {"status": "IN_QUEUE" if render.state == "queued" else "IN_PROGRESS"}
        if word == "status" and render.state == "succeeded":
            return 200, {"status": "COMPLETED"}
        if how not in (Reply.LOST, Reply.BROKEN):
            render.told.append(render.state)
        if word == "status":
            return 200, {"status": "COMPLETED", **render.fault()}
        return 200, render.body()

    def _cancel(self, render: Render, how: Reply) -> Answer:
        """Ends a render that has not ended; forgets it where it was still queued and the reply is
        not just what it should be. One that is told REFUSED goes on nevertheless."""
        if render.state not in OPEN:
            return 400, {"status": "ALREADY_COMPLETED"}
        if how is not Reply.REFUSED:
            render.known = how is Reply.GOOD or render.state != "queued"
            render.state = "canceled"
        return 202, {"status": "CANCELLATION_REQUESTED"}
