"""The state machine: its moves are those of the design, and nothing is left without an end."""

from itertools import chain

from service.job import (
    ALL_EVENT_TYPES,
    DECIDED,
    END_EVENT_TYPES,
    ENDED,
    EVENT_TYPES,
    MOVES,
    OPEN,
    REPORTED,
    ErrorCode,
    State,
)

PAIRS = {
    ("queued", "submitting"),
    ("queued", "canceled"),
    ("queued", "failed"),
    ("queued", "completed"),
    ("submitting", "submitted"),
    ("submitting", "running"),
    ("submitting", "completed"),
    ("submitting", "failed"),
    ("submitting", "canceled"),
    ("submitting", "unconfirmed"),
    ("submitting", "queued"),
    ("unconfirmed", "submitted"),
    ("unconfirmed", "running"),
    ("unconfirmed", "completed"),
    ("unconfirmed", "failed"),
    ("unconfirmed", "canceled"),
    ("unconfirmed", "expired"),
    ("unconfirmed", "queued"),
    ("submitted", "running"),
    ("submitted", "completed"),
    ("submitted", "failed"),
    ("submitted", "canceled"),
    ("submitted", "expired"),
    ("submitted", "queued"),
    ("running", "completed"),
    ("running", "failed"),
    ("running", "canceled"),
    ("running", "expired"),
    ("running", "queued"),
    ("expired", "completed"),
    ("expired", "queued"),
    ("completed", "queued"),
    ("failed", "queued"),
    ("failed", "completed"),
    ("canceled", "queued"),
    ("canceled", "completed"),
}


def test_the_moves_are_these_and_no_others() -> None:
    assert {(was, now) for was, nexts in MOVES.items() for now in nexts} == PAIRS


def test_every_state_says_where_it_goes() -> None:
    assert set(MOVES) == set(State)


def test_every_open_state_can_end_in_one_move() -> None:
    assert set(State) == OPEN | ENDED
    for state in OPEN:
        assert MOVES[state] & ENDED, state


def test_no_state_moves_to_itself() -> None:
    assert [state for state in State if state in MOVES[state]] == []


def test_a_move_is_either_reported_or_decided() -> None:
    for state in State:
        assert not REPORTED.get(state, frozenset()) & DECIDED.get(state, frozenset()), state


def test_a_provider_moves_an_ended_job_only_from_expired_to_completed() -> None:
    moved = {state: REPORTED[state] for state in ENDED if REPORTED.get(state)}
    assert moved == {State.EXPIRED: {State.COMPLETED}}


def test_a_provider_never_puts_a_job_back_or_gives_it_up() -> None:
    ours = {State.QUEUED, State.SUBMITTING, State.UNCONFIRMED, State.EXPIRED}
    assert not ours & set(chain.from_iterable(REPORTED.values()))


def test_only_a_queued_job_is_submitted() -> None:
    assert [was for was in State if State.SUBMITTING in MOVES[was]] == [State.QUEUED]


def test_events_are_named_after_the_states_they_tell() -> None:
    assert EVENT_TYPES == {
        "submitted": "job.submitted",
        "running": "job.running",
        "completed": "job.completed",
        "failed": "job.failed",
        "canceled": "job.canceled",
        "expired": "job.expired",
    }
    assert {*ALL_EVENT_TYPES} == {*EVENT_TYPES.values(), "job.stuck"}


def test_the_end_events_are_those_of_the_ended_states() -> None:
    ends = ("job.completed", "job.failed", "job.canceled", "job.expired")
    assert sorted(END_EVENT_TYPES) == sorted(ends)


def test_error_codes_are_the_closed_list() -> None:
    assert {*ErrorCode} == {
        "invalid_input",
        "content_policy",
        "unsupported_model",
        "model_retired",
        "insufficient_credits",
        "provider_auth",
        "rate_limited",
        "provider_paused",
        "provider_unavailable",
        "provider_timeout",
        "submission_unconfirmed",
        "result_unavailable",
        "expired",
        "canceled",
        "internal",
    }
