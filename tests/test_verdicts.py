"""Our words for refusals and failures: who waits, what it cost, and what the text gives away."""

import pytest

from service.job import Charged, ErrorCode, State
from service.providers import Reply
from service.verdicts import failed, failed_with, names_model, names_policy, refused

WAITING = {"rate_limited", "provider_auth", "insufficient_credits", "provider_paused"}


@pytest.mark.parametrize("code", list(ErrorCode))
def test_a_refusal_waits_where_nothing_is_wrong_with_the_job(code: ErrorCode) -> None:
    answer = Reply(status=400, content=b"no", headers={"retry-after": "7"})
    verdict = refused(code, None, answer, {})
    broke = code is ErrorCode.PROVIDER_UNAVAILABLE
    assert verdict.waits is (code in WAITING)
    assert verdict.retry_after == (7 if verdict.waits else None)
    assert verdict.error.retryable is (verdict.waits or broke)
    assert verdict.error.charged is (Charged.UNKNOWN if broke else Charged.NO)
    assert (verdict.error.message, verdict.error.provider) == ("refused with HTTP 400", "no")


def test_a_pause_stands_in_for_a_missing_wait_only() -> None:
    code = ErrorCode.PROVIDER_PAUSED
    assert refused(code, "", Reply(status=503, content=b""), {}, pause=60).retry_after == 60
    answer = Reply(status=503, content=b"", headers={"retry-after": "0"})
    assert refused(code, "", answer, {}, pause=60).retry_after == 0


def test_a_long_message_is_shortened_and_the_raw_one_kept() -> None:
    verdict = refused(ErrorCode.INVALID_INPUT, "x" * 5000, Reply(status=400, content=b""), {"a": 1})
    assert len(verdict.error.message) == 1000
    assert verdict.error.provider == {"a": 1}


@pytest.mark.parametrize(
    "said",
    [
        "Unsupported model_id: openai/sora-9",
        "Unsupported model: veo-9",
        "unknown model",
        "modelName: model name is wrong",
        "The model sora-2 does not exist",
        "model veo-9 is not supported",
        "No such model",
    ],
)
def test_a_refusal_may_name_the_model(said: str) -> None:
    assert names_model(said)


@pytest.mark.parametrize(
    "said",
    [
        None,
        "",
        "This model requires image_url.",
        "speech_text is not supported by the model openai/sora-2.",
        "duration 11s is too long for this model",
        "Missing or unsupported generation parameters",
    ],
)
def test_or_only_what_the_model_was_given(said: str | None) -> None:
    assert not names_model(said)


@pytest.mark.parametrize(
    ("said", "policy"),
    [
        ("Violates the content policy", True),
        ("content_policy_violation", True),
        ("blocked by moderation", True),
        ("NSFW", True),
        ("prompt rejected by review", True),
        ("image_review_failure", True),
        ("内容审核未通过", True),
        ("The upstream model timed out", False),
        ("Reviewing took too long", False),
        (None, False),
    ],
)
def test_a_failure_may_be_about_what_it_shows(said: str | None, policy: bool) -> None:
    assert names_policy(said) is policy
    error = failed(said, raw={}).error
    assert error is not None
    assert (error.code is ErrorCode.CONTENT_POLICY) is policy
    assert error.retryable is not policy
    assert error.charged is Charged.UNKNOWN


def test_a_failure_is_read_from_text_an_object_or_nothing() -> None:
    for told, message in (
        ("gone wrong", "gone wrong"),
        ({"message": "gone wrong", "code": 3}, "gone wrong"),
        ({"code": "out_of_memory"}, "out_of_memory"),
        (None, "the render failed, and no reason was given"),
        ([], "the render failed, and no reason was given"),
    ):
        report = failed_with(told, {"error": told})
        assert report.state is State.FAILED
        assert report.error is not None
        assert (report.error.message, report.error.provider) == (message, {"error": told})
