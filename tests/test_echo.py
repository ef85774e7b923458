"""service/echo.py: only a Callboard with our secrets can ask, or answer, and neither is a token."""

import pytest
from scene import SECRETS

from service import ids
from service.echo import LASTS_SECONDS, Echo, Seen
from service.errors import TokenRefused
from service.tokens import Tokens

NOW = 1_800_000_000.0
ECHO = Echo(SECRETS)
TOKENS = Tokens(SECRETS)
ASKED = ECHO.question("fal", now=NOW)


def answered(token: str, body: bytes, *, echo: Echo = ECHO, now: float = NOW) -> Seen | None:
    """What the asker makes of the door's answer; None where the door knows no question in it."""
    answer = echo.answer("fal", token, body, now=now)
    return None if answer is None else ECHO.read(ASKED, answer, now=now)


@pytest.mark.parametrize(
    ("token", "body", "seen"),
    [
        (ASKED.token, ASKED.body, Seen.ALL),
        ("", ASKED.body, Seen.NO_TOKEN),
        (ASKED.token[:-1], ASKED.body, Seen.OTHER_TOKEN),
        ("fal.x.y", ASKED.body, Seen.OTHER_TOKEN),
        (ASKED.token, b"", Seen.OTHER_BODY),
        (ASKED.token, ASKED.body + b"\n", Seen.OTHER_BODY),
        (ASKED.token, ECHO.question("fal", now=NOW).body, Seen.OTHER_BODY),
        ("", b"", None),
        ("", b'{"callboard_probe": "\xff"}', None),
        ("", b'{"callboard_probe": "}', None),
        (ASKED.token[:-1], ASKED.body[:-3], None),
    ],
)
def test_the_door_says_what_arrived(token: str, body: bytes, seen: Seen | None) -> None:
    assert answered(token, body) is seen


def test_a_process_with_the_older_secret_in_front_answers_too() -> None:
    other = Echo(SECRETS[::-1])
    assert answered(ASKED.token, ASKED.body, echo=other) is Seen.ALL


def test_a_stranger_can_neither_ask_nor_answer() -> None:
    stranger = Echo(["a secret of somebody else"])
    theirs = stranger.question("fal", now=NOW)
    assert stranger.answer("fal", ASKED.token, ASKED.body, now=NOW) is None
    assert ECHO.answer("fal", theirs.token, theirs.body, now=NOW) is None
    made_up = stranger.answer("fal", theirs.token, theirs.body, now=NOW)
    assert made_up is not None
    for answer in (made_up, ASKED.token, "", "fal.x.y", ASKED.body.decode()):
        assert ECHO.read(ASKED, answer, now=NOW) is None


def test_an_answer_is_good_for_its_own_question_only() -> None:
    other = ECHO.question("fal", now=NOW)
    answer = ECHO.answer("fal", other.token, other.body, now=NOW)
    assert answer is not None
    assert ECHO.read(other, answer, now=NOW) is Seen.ALL
    assert ECHO.read(ASKED, answer, now=NOW) is None


def test_a_question_is_for_one_door_and_one_minute() -> None:
    assert ECHO.answer("relay", ASKED.token, ASKED.body, now=NOW) is None
    assert answered(ASKED.token, ASKED.body, now=NOW + LASTS_SECONDS) is Seen.ALL
    assert answered(ASKED.token, ASKED.body, now=NOW + LASTS_SECONDS + 1) is None


def test_a_question_is_no_callback_and_a_callback_token_no_question() -> None:
    answer = ECHO.answer("fal", ASKED.token, ASKED.body, now=NOW)
    assert answer is not None
    for text in (ASKED.token, answer):
        with pytest.raises(TokenRefused):
            TOKENS.read(text, provider="fal", now=NOW)
    token = TOKENS.make(provider="fal", job_id=ids.new_id(), attempt=1, expires_at=NOW + 60)
    assert ECHO.answer("fal", token, b'{"callboard_probe": "%s"}' % token.encode(), now=NOW) is None
