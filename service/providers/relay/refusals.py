"""Which replies of a relay to a submission are refusals: OpenAI-like errors that name a cause.

Facts: docs.newapi.pro (the errors of the program that most relays run).
"""

import re
from collections.abc import Mapping
from typing import Any

from service.job import ErrorCode
from service.verdicts import names_model, names_policy
from service.wire import text_in

_CREDITS = re.compile(r"quota|balance|credit|额度|余额", re.IGNORECASE)
_NO_MODEL = re.compile(r"model_not_found|unsupported_model")


def refusal(status: int, body: Mapping[str, Any]) -> ErrorCode | None:
    """What a reply without a task id refuses for; None where it is no known refusal."""
    said = message_in(body) or ""
    match status:
        case 401:  # the key is read first, whatever the body says
            return ErrorCode.PROVIDER_AUTH
        case 429:
            return ErrorCode.RATE_LIMITED
        case _ if not said:
            return None
        case 402 | 403 if status == 402 or _CREDITS.search(f"{_code(body)} {said}"):
            return ErrorCode.INSUFFICIENT_CREDITS
        case 403 | 404 if _is_about_model(body, said):
            return ErrorCode.UNSUPPORTED_MODEL
        case 403:
            return ErrorCode.PROVIDER_AUTH
        case 400 | 422:
            return _of_input(body, said)
    return None


def message_in(body: Mapping[str, Any]) -> str | None:
    """What an error says to a person: `error.message`, a bare `message`, or `error` as text."""
    error = body.get("error")
    nested = error.get("message") if isinstance(error, dict) else error
    return text_in(nested, body.get("message"))


def _of_input(body: Mapping[str, Any], said: str) -> ErrorCode:
    if _is_about_model(body, said):
        return ErrorCode.UNSUPPORTED_MODEL
    policy = names_policy(f"{_code(body)} {said}")
    return ErrorCode.CONTENT_POLICY if policy else ErrorCode.INVALID_INPUT


def _is_about_model(body: Mapping[str, Any], said: str) -> bool:
    error = body.get("error")
    param = error.get("param") if isinstance(error, dict) else None
    return param == "model" or bool(_NO_MODEL.search(_code(body))) or names_model(said)


def _code(body: Mapping[str, Any]) -> str:
    """An error's codes, as one text."""
    error = body.get("error")
    error = error if isinstance(error, dict) else {}
    return " ".join(
        one
        for one in (error.get("code"), error.get("type"), body.get("code"))
        if isinstance(one, str)
    )
