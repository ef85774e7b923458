"""service/logs.py: whatever slips into a log line, no secret leaves in it."""

import logging

import pytest

from service import ids, logs
from service.logs import redacted
from service.tokens import Tokens

TOKEN = Tokens(["a secret of the tests"]).make(
    provider="fal", job_id=ids.new_id(), attempt=1, expires_at=2e9
)


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (f"call with {TOKEN} came", "call with *** came"),
        (f"relay2{TOKEN[3:]}", "***"),
        (f"POST /callbacks/fal?token={TOKEN}&a=b", "POST /callbacks/fal?token=***&a=***"),
        ("/v1/jobs?metadata[user]=hush&x=", "/v1/jobs?metadata[user]=***&x="),
        ("url='https://x.example/a?b=c' next", "url='https://x.example/a?b=***' next"),
        ("?fal_webhook=https%3A%2F%2Fc.example%2Fcallbacks%3Ftoken%3Dhush", "?fal_webhook=***"),
        ("key cb_" + "a-Z_9" * 8 + ".", "key ***."),
        ("secret whsec_aGVsbG8+/w==, end", "secret ***, end"),
        ("{'Authorization': 'Key an-id:hush'}", "{'Authorization': 'Key ***'}"),
        ('"Authorization": "Bearer hush"', '"Authorization": "Bearer ***"'),
        ("authorization: bearer hush", "authorization: bearer ***"),
        ("postgresql://me:hush@db.example:5432/x", "postgresql://me:***@db.example:5432/x"),
        ("postgresql://me:hu@sh@db.example/x", "postgresql://me:***@db.example/x"),
        ("postgresql://:hush@db.example/x", "postgresql://:***@db.example/x"),
    ],
)
def test_what_looks_like_a_secret_is_stars(line: str, shown: str) -> None:
    assert redacted(line) == shown


@pytest.mark.parametrize(
    "line",
    [
        "job=0192f0c1a2b37c4d8e5f60718293a4b5 was being sent when its sender went away",
        "listening on http://127.0.0.1:8080",
        "GET /v1/jobs/job_0192f0c1a2b37c4d8e5f60718293a4b5 200 1.5ms request=ab12",
        "this key is unknown or revoked; is it cb_short?",
        "migrated 0001_jobs at 12:00:00",
        "Traceback (most recent call last): service.web.access.need failed",
    ],
)
def test_other_lines_stay_as_they_are(line: str) -> None:
    assert redacted(line) == line


def test_every_line_goes_to_stderr_redacted_and_tracebacks_too(
    capsys: pytest.CaptureFixture[str],
) -> None:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    root.handlers = []  # pytest's own would be closed
    try:
        logs.set_up()
        logging.getLogger("service.x").info("got %s", TOKEN)
        logging.getLogger("httpx").info("HTTP Request: GET https://x.example/?a=b")
        try:
            raise ValueError(f"https://x.example/?token={TOKEN}")
        except ValueError:
            logging.getLogger("service.x").exception("failed")
    finally:
        root.handlers = before
        root.setLevel(level)
        for name in ("httpx", "httpcore", "aiohttp.access", "uvicorn.access"):
            logging.getLogger(name).setLevel(logging.NOTSET)
    out, err = capsys.readouterr()
    assert out == ""
    assert "INFO service.x got ***\n" in err
    assert "ValueError: https://x.example/?token=***" in err
    assert TOKEN[4:30] not in err
    assert "HTTP Request" not in err
