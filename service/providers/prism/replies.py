"""Reads Prism's JSON: what a submission made, why it was refused, and a generation's status.

Facts: docs.prismvideos.com api-reference/{create-generation,get-generation}, and errors.
"""

from collections.abc import Mapping
from typing import Any

from service.job import ErrorCode, State
from service.providers import Reply, Report
from service.verdicts import failed_with, names_model
from service.wire import id_in, media, object_in, text_in

_PENDING = {"queued": State.SUBMITTED, "generating": State.RUNNING}


def created(body: Mapping[str, Any]) -> tuple[list[str], dict[str, Any]]:
    """The ids of the generations that a reply names, each once, and its metadata."""
    data = body.get("data")
    data = data if isinstance(data, dict) else {}
    listed, metadata = data.get("generations"), data.get("metadata")
    found = [id_in(one.get("id")) for one in _dicts(listed)]
    ids = list(dict.fromkeys(one for one in found if one is not None))
    return ids, metadata if isinstance(metadata, dict) else {}


def more_than_one(ids: list[str], metadata: Mapping[str, Any]) -> str | None:
    """What is to be said where more was made, and billed, than the one that a job is."""
    told = metadata.get("num_generations")
    number = max(len(ids), told if type(told) is int else 0)
    if number == 1:
        return None
    return f"{number} generations were made, and may be billed, for one job: {', '.join(ids)}"


def refusal(status: int, body: Mapping[str, Any]) -> ErrorCode | None:
    """What a reply without a generation refuses for; None where it is no documented refusal."""
    named = text_in(body.get("error"))
    match status:
        case 401:  # the key is read first, whatever the body says
            return ErrorCode.PROVIDER_AUTH
        case 429:
            return ErrorCode.RATE_LIMITED
        case _ if named is None:
            return None
        case 402:
            return ErrorCode.INSUFFICIENT_CREDITS
        case 403:
            return ErrorCode.PROVIDER_AUTH
        case 400 | 404 | 422:
            about_model = names_model(named) or names_model(text_in(body.get("message")))
            return ErrorCode.UNSUPPORTED_MODEL if about_model else ErrorCode.INVALID_INPUT
        case 500 if named == "generation_error":
            return ErrorCode.PROVIDER_UNAVAILABLE
        case 503 if named == "free_tier_paused":
            return ErrorCode.PROVIDER_PAUSED
    return None


def read_generation(reply: Reply) -> Report:
    """What a poll's reply says: flat, with no `data` around it."""
    body = object_in(reply.content)
    word = body.get("status")
    if not 200 <= reply.status < 300 or not isinstance(word, str):
        note = f"prism answered HTTP {reply.status} without a status"
        return Report(state=None, note=note, gone=reply.status == 404 and bool(body))
    match word:
        case "queued" | "generating":
            return Report(state=_PENDING[word])
        case "completed" if media_in(body):
            return Report(state=State.COMPLETED, output=body)
        case "completed":
            note = "completed, without its URL yet"
            return Report(state=State.RUNNING, note=note, resultless=True)
        case "failed":
            return failed_with(body.get("error"), body)
    return Report(state=None, note=f"unknown status {word[:40]!r}")


def media_in(output: Any) -> list[dict[str, Any]]:
    """The video of a generation."""
    return media(output.get("video_url")) if isinstance(output, dict) else []


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
