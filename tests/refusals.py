"""The table of refusals: what each documented refusal of a submission, and each reply that is none,
makes of the job and of the provider. A line is what is alike; its replies are who says it, with
which status and body."""

from dataclasses import dataclass, field
from typing import Any

Seconds = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """One reply to a submission."""

    provider: str
    status: int
    body: Any
    headers: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.provider}-{self.status}-{_word(self.body)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What these replies mean: the job's error, its state then, and, where it waits, between how
    many seconds it is tried again; between how many the provider is paused (None: it is not), and
    whether it counts as a failure of the provider's."""

    code: str
    retryable: bool
    charged: str
    job: str
    again_in: Seconds | None = None
    paused: Seconds | None = None
    fails: bool = False
    replies: list[Sent] = field(default_factory=list)


def genviral(status: int, code: str, message: str = "No.", *headers: str) -> Sent:
    body = {"ok": False, "code": status, "error_code": code, "message": message}
    return Sent(provider="genviral", status=status, body=body, headers=headers)


def prism(status: int, error: str, message: str = "No.", *headers: str) -> Sent:
    body = {"error": error, "message": message}
    return Sent(provider="prism", status=status, body=body, headers=headers)


def relay(status: int, code: str, message: str = "No.", *headers: str) -> Sent:
    error = {"message": message, "type": "api_error", "param": "", "code": code}
    return Sent(provider="relay", status=status, body={"error": error}, headers=headers)


def fal(status: int, detail: Any, *headers: str) -> Sent:
    return Sent(provider="fal", status=status, body={"detail": detail}, headers=headers)


def _word(body: Any) -> str:
    if not isinstance(body, dict):
        return "page" if body else "empty"
    error = body.get("error")
    said = error.get("code") if isinstance(error, dict) else body.get("error_code") or error
    return str(said or "said").replace(" ", "_")[:40]


def _typed(kind: str) -> list[dict[str, Any]]:
    return [{"loc": ["body", "prompt"], "msg": "No.", "type": kind}]


EVERYONE = ("fal", "genviral", "prism", "relay")
PAGE = b"<html><title>nginx</title></html>"
WAIT, WAITED = "Retry-After: 47", (47.0, 47.0)
BY_AND_BY = (0.0, 10.0)  # the submitter's own pauses, which grow
THERE = "Location: /elsewhere"
BALANCE = "User is locked. Reason: Exhausted balance."

TABLE = [
    Line(
        code="invalid_input",
        retryable=False,
        charged="no",
        job="failed",
        replies=[
            genviral(400, "invalid_json"),
            genviral(422, "invalid_payload"),
            genviral(422, "invalid_input"),
            genviral(422, "model_requires_image"),
            genviral(422, "model_input_not_supported"),
            prism(400, "validation_error"),
            prism(400, "pricing_error"),
            prism(400, "The duration must be one of 4s, 6s, 8s"),
            prism(422, "invalid_template"),
            fal(400, "bad request"),
            fal(422, _typed("image_too_small")),
            relay(400, "invalid_request"),
            relay(422, "invalid_request"),
        ],
    ),
    Line(
        code="unsupported_model",
        retryable=False,
        charged="no",
        job="failed",
        replies=[
            genviral(422, "invalid_payload", "Unsupported model_id: acme/none"),
            prism(400, "unsupported model", "There is none of this name."),
            prism(400, "validation_error", "Unknown model acme-none"),
            fal(403, "This application is private"),
            fal(404, "Application 'none' not found"),
            relay(404, "model_not_found"),
            relay(400, "invalid_request", "Unknown model sora-9"),
        ],
    ),
    Line(
        code="model_retired",
        retryable=False,
        charged="no",
        job="failed",
        replies=[fal(410, "This model has been retired")],
    ),
    Line(
        code="content_policy",
        retryable=False,
        charged="no",
        job="failed",
        replies=[
            fal(422, _typed("content_policy_violation")),
            relay(400, "content_policy_violation"),
        ],
    ),
    Line(
        code="provider_auth",
        retryable=True,
        charged="no",
        job="queued",
        again_in=BY_AND_BY,
        paused=(60.0, 60.0),
        replies=[
            genviral(401, "unauthorized"),
            Sent(provider="genviral", status=401, body=b""),
            genviral(402, "subscription_required"),
            genviral(403, "tier_not_allowed"),
            prism(401, "unauthorized"),
            prism(403, "forbidden"),
            fal(401, "Cannot access without a key"),
            relay(401, "invalid_api_key"),
            relay(403, "access_denied"),
        ],
    ),
    Line(
        code="insufficient_credits",
        retryable=True,
        charged="no",
        job="queued",
        again_in=BY_AND_BY,
        paused=(60.0, 60.0),
        replies=[
            genviral(403, "insufficient_credits"),
            prism(402, "insufficient_credits"),
            fal(403, BALANCE),
            relay(403, "insufficient_user_quota"),
        ],
    ),
    Line(
        code="rate_limited",
        retryable=True,
        charged="no",
        job="queued",
        again_in=WAITED,
        paused=WAITED,
        replies=[
            genviral(429, "rate_limited", "Slow.", WAIT),
            prism(429, "rate_limited", "Slow.", WAIT),
            relay(429, "rate_limited", "Slow.", WAIT),
            fal(429, "Slow.", WAIT),
            Sent(provider="prism", status=429, body=PAGE, headers=(WAIT,)),
        ],
    ),
    Line(
        code="rate_limited",
        retryable=True,
        charged="no",
        job="queued",
        again_in=BY_AND_BY,  # nothing was said of when
        paused=(5.0, 5.0),
        replies=[genviral(429, "rate_limited"), fal(429, "Slow.")],
    ),
    Line(
        code="provider_paused",
        retryable=True,
        charged="no",
        job="queued",
        again_in=(1800.0, 1800.0),
        paused=(1800.0, 1800.0),
        replies=[prism(503, "free_tier_paused")],
    ),
    Line(
        code="provider_unavailable",
        retryable=True,
        charged="unknown",
        job="failed",
        fails=True,
        replies=[genviral(500, "generation_failed"), prism(500, "generation_error")],
    ),
    Line(
        code="submission_unconfirmed",
        retryable=False,
        charged="unknown",
        job="unconfirmed",
        fails=True,
        replies=[
            *(
                Sent(
                    provider=name, status=status, body={"message": "Oops."}, headers=tuple(headers)
                )
                for name in EVERYONE
                for status, *headers in (
                    (500,),
                    (503,),
                    (504, WAIT),
                    (408,),
                    (302, THERE),
                    (308, THERE),
                )
            ),
            *(
                Sent(provider=name, status=status, body=PAGE)
                for name in EVERYONE
                for status in (200, 400, 403, 404, 502)
            ),
            genviral(500, "another_code"),
            genviral(503, "generation_failed"),
            prism(500, "server_error"),
            prism(503, "generation_error"),
            Sent(provider="genviral", status=202, body={"ok": False, "data": None}),
            Sent(provider="prism", status=200, body={"data": {"generations": []}}),
            Sent(provider="relay", status=200, body={"task_id": None}),
            Sent(provider="fal", status=200, body={"status": "IN_QUEUE"}),
        ],
    ),
]
