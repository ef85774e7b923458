"""The self-check's question at the providers' door, and the echo that answers it.

Both are tokens under purposes of their own: nobody without our secrets can ask or answer, and
neither is good for a job.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from uuid import UUID

from service.errors import TokenRefused
from service.ids import new_id
from service.tokens import CallbackToken, Tokens

LASTS_SECONDS = 60.0
_BEFORE, _AFTER = b'{"callboard_probe": "', b'"}'


class Seen(IntEnum):
    """What of a question arrived at the door."""

    ALL = 1
    NO_TOKEN = 2  # the body did, and there was no token in the query
    OTHER_TOKEN = 3
    OTHER_BODY = 4  # the token did, and the body is not as it was sent


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """`token` goes where a callback's would, `body` is JSON and has it too."""

    provider: str
    id: UUID
    token: str
    body: bytes


class Echo:
    """Asks, answers and reads the answers, under CALLBOARD_SECRETS."""

    def __init__(self, secrets: Sequence[str]) -> None:
        self._probes = Tokens(secrets, b"callboard-probe")
        self._echoes = Tokens(secrets, b"callboard-echo")

    def question(self, provider: str, *, now: float) -> Question:
        """A new question for the door of `provider`, good for a minute; `now` in unix seconds."""
        question_id = new_id()
        token = self._probes.make(
            provider=provider, job_id=question_id, attempt=0, expires_at=now + LASTS_SECONDS
        )
        body = _BEFORE + token.encode() + _AFTER
        return Question(provider=provider, id=question_id, token=token, body=body)

    def answer(self, provider: str, token: str, body: bytes, *, now: float) -> str | None:
        """What the door answers to a question of ours; None where a call is none."""
        asked = _read(self._probes, token, provider, now)
        carried = _read(self._probes, _token_in(body), provider, now)
        if asked is not None:
            asking, seen = asked, Seen.ALL if asked == carried else Seen.OTHER_BODY
        elif carried is not None:
            asking, seen = carried, Seen.OTHER_TOKEN if token else Seen.NO_TOKEN
        else:
            return None
        return self._echoes.make(
            provider=provider, job_id=asking.job_id, attempt=seen, expires_at=asking.expires_at
        )

    def read(self, question: Question, answer: str, *, now: float) -> Seen | None:
        """What arrived of it; None where `answer` is not the echo of just this one."""
        echo = _read(self._echoes, answer, question.provider, now)
        return Seen(echo.attempt) if echo is not None and echo.job_id == question.id else None


def _token_in(body: bytes) -> str:
    """The token that a question's body carries, empty where there is none."""
    if not body.startswith(_BEFORE) or not body.endswith(_AFTER):
        return ""
    return body[len(_BEFORE) : -len(_AFTER)].decode("latin-1")


def _read(tokens: Tokens, token: str, provider: str, now: float) -> CallbackToken | None:
    try:
        return tokens.read(token, provider=provider, now=now)
    except TokenRefused:
        return None
