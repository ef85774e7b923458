"""What a job is: its states, the moves between them, and the errors it can end with."""

from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any


class State(StrEnum):
    """Where a job stands; the contract's §3 says what each means."""

    QUEUED = "queued"
    SUBMITTING = "submitting"
    UNCONFIRMED = "unconfirmed"
    SUBMITTED = "submitted"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELED = "canceled"
    EXPIRED = "expired"


ENDED = frozenset({State.COMPLETED, State.FAILED, State.CANCELED, State.EXPIRED})
OPEN = frozenset(State) - ENDED

S = State
# What a provider's word, by callback or by poll, may move. A callback can beat the reply to our
# own POST, so `submitting` and `unconfirmed` may go straight to an end.
REPORTED: dict[State, frozenset[State]] = {
    S.SUBMITTING: frozenset({S.SUBMITTED, S.RUNNING, S.COMPLETED, S.FAILED, S.CANCELED}),
    S.UNCONFIRMED: frozenset({S.SUBMITTED, S.RUNNING, S.COMPLETED, S.FAILED, S.CANCELED}),
    S.SUBMITTED: frozenset({S.RUNNING, S.COMPLETED, S.FAILED, S.CANCELED}),
    S.RUNNING: frozenset({S.COMPLETED, S.FAILED, S.CANCELED}),
    S.EXPIRED: frozenset({S.COMPLETED}),  # a late success is a success
}
# What we ourselves, or an operator, may move beside that.
DECIDED: dict[State, frozenset[State]] = {
    S.QUEUED: frozenset({S.SUBMITTING, S.CANCELED, S.FAILED, S.COMPLETED}),  # completed: adopted
    S.SUBMITTING: frozenset({S.UNCONFIRMED, S.QUEUED}),  # queued: provably not sent, or refused
    S.UNCONFIRMED: frozenset({S.EXPIRED, S.QUEUED}),  # queued: an operator says not accepted
    S.SUBMITTED: frozenset({S.EXPIRED, S.QUEUED}),  # queued: a forced rerun
    S.RUNNING: frozenset({S.EXPIRED, S.QUEUED}),
    S.COMPLETED: frozenset({S.QUEUED}),  # a rerun
    S.FAILED: frozenset({S.QUEUED, S.COMPLETED}),  # completed: adopted
    S.CANCELED: frozenset({S.QUEUED, S.COMPLETED}),
    S.EXPIRED: frozenset({S.QUEUED}),
}
MOVES: dict[State, frozenset[State]] = {
    state: REPORTED.get(state, frozenset()) | DECIDED.get(state, frozenset()) for state in State
}

# The states whose arrival is told to subscribers, and under which name.
EVENT_TYPES: dict[State, str] = {
    state: f"job.{state}"
    for state in (S.SUBMITTED, S.RUNNING, S.COMPLETED, S.FAILED, S.CANCELED, S.EXPIRED)
}
STUCK_EVENT = "job.stuck"
ALL_EVENT_TYPES = (*EVENT_TYPES.values(), STUCK_EVENT)
END_EVENT_TYPES = tuple(EVENT_TYPES[state] for state in State if state in ENDED)


class ErrorCode(StrEnum):
    """Why a job failed or waits: a closed list (contract §4)."""

    INVALID_INPUT = "invalid_input"
    CONTENT_POLICY = "content_policy"
    UNSUPPORTED_MODEL = "unsupported_model"
    MODEL_RETIRED = "model_retired"
    INSUFFICIENT_CREDITS = "insufficient_credits"
    PROVIDER_AUTH = "provider_auth"
    RATE_LIMITED = "rate_limited"
    PROVIDER_PAUSED = "provider_paused"
    PROVIDER_UNAVAILABLE = "provider_unavailable"
    PROVIDER_TIMEOUT = "provider_timeout"
    SUBMISSION_UNCONFIRMED = "submission_unconfirmed"
    RESULT_UNAVAILABLE = "result_unavailable"
    EXPIRED = "expired"
    CANCELED = "canceled"
    INTERNAL = "internal"


class Charged(StrEnum):
    """Whether money went: as far as anyone can know."""

    NO = "no"
    YES = "yes"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobError:
    """Why a job failed, expired or waits. `provider` is what the provider said, raw.

    `retryable` says that a new attempt, which costs anew, may go better.
    """

    code: ErrorCode
    message: str
    retryable: bool
    charged: Charged
    provider: Any = None

    def as_dict(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}
