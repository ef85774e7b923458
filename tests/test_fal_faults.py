"""fal's documented error types, each with our word for it, and what is no verdict."""

import pytest
from fal_conversation import DONE, HOOK, called, polled, reply

from service.job import State


@pytest.mark.parametrize(
    ("status", "kind", "code", "retryable", "charged"),
    [
        (500, "internal_server_error", "provider_unavailable", True, "no"),
        (504, "generation_timeout", "provider_timeout", True, "no"),
        (400, "downstream_service_error", "provider_unavailable", True, "unknown"),
        (500, "downstream_service_unavailable", "provider_unavailable", True, "no"),
        (422, "content_policy_violation", "content_policy", False, "unknown"),
        (422, "no_media_generated", "result_unavailable", False, "unknown"),
        (422, "image_too_small", "invalid_input", False, "unknown"),
        (422, "never_heard_of", "invalid_input", False, "unknown"),
        (503, "never_heard_of", "provider_unavailable", True, "no"),
        (504, "never_heard_of", "provider_timeout", True, "no"),
    ],
)
def test_a_model_error_has_our_word(
    status: int, kind: str, code: str, retryable: bool, charged: str
) -> None:
    body = {"detail": [{"loc": ["body"], "msg": "Said so.", "type": kind}]}
    for report in (
        polled(reply(200, DONE), reply(status, body)),
        called({**HOOK, "status": "ERROR", "payload": body, "error": f"status code: {status}"}),
    ):
        assert report.state is State.FAILED
        assert report.error is not None
        assert report.error.as_dict() == {
            "code": code,
            "message": "Said so.",
            "retryable": retryable,
            "charged": charged,
            "provider": body,
        }


RUNNER = (
    *("runner_scheduling_failure", "runner_connection_timeout", "runner_disconnected"),
    *("runner_connection_refused", "runner_connection_error", "runner_incomplete_response"),
    *("runner_server_error", "internal_error"),
)


@pytest.mark.parametrize(
    ("kind", "code", "retryable", "charged"),
    [
        ("request_timeout", "provider_timeout", True, "no"),
        ("startup_timeout", "provider_timeout", True, "no"),
        *((kind, "provider_unavailable", True, "no") for kind in RUNNER),
        ("client_disconnected", "provider_unavailable", False, "unknown"),
        ("client_cancelled", "canceled", False, "unknown"),
        ("bad_request", "invalid_input", False, "unknown"),
        ("never_heard_of", "provider_unavailable", False, "unknown"),
    ],
)
def test_a_request_error_has_our_word(kind: str, code: str, retryable: bool, charged: str) -> None:
    report = polled(reply(200, {**DONE, "error": "Said so.", "error_type": kind}))
    assert report.state is (State.CANCELED if code == "canceled" else State.FAILED)
    assert report.error is not None
    assert report.error.message == "Said so."
    found = (report.error.code, report.error.retryable, report.error.charged)
    assert found == (code, retryable, charged)


@pytest.mark.parametrize("status", [401, 403, 404, 408, 429])
def test_a_result_get_that_was_turned_away_is_no_verdict(status: int) -> None:
    body = {"detail": [{"loc": [], "msg": "no", "type": "internal_server_error"}]}
    report = polled(reply(200, DONE), reply(status, body))
    assert report.state is (None if status == 404 else State.RUNNING)
    assert report.gone is (status == 404)
