"""What the pretend fal calls back with: the truth, the contrary, half of it, or nothing of its."""

import time
from enum import StrEnum
from typing import Any

import signing
from nacl.signing import SigningKey

from interleaving.fal import Render
from service import jsontext
from service.receive import Call

STRANGER = SigningKey(bytes(range(1, 33)))
OLD_SECONDS = 1000


class What(StrEnum):
    """What a call says."""

    SUCCESS = "success"
    FAILURE = "failure"
    VAGUE = "vague"  # that there is news, and not which
    STALE = "stale"  # a success, under a signature that is too old
    FORGED = "forged"  # a success, signed by somebody else
    OTHER_ID = "other_id"  # a success of another request


VERDICTS = {What.SUCCESS: "completed", What.FAILURE: "failed"}


def call_of(render: Render, what: What, address: str) -> Call:
    """The call; it comes from this address."""
    content = jsontext.dumps(_body(render, what)).encode()
    headers = signing.headers(
        content,
        at=int(time.time()) - OLD_SECONDS if what is What.STALE else None,
        key=STRANGER if what is What.FORGED else signing.KEY,
    )
    return Call(provider="fal", token=render.token, headers=headers, body=content, address=address)


def _body(render: Render, what: What) -> dict[str, Any]:
    request_id = "another" if what is What.OTHER_ID else render.id
    named = {"request_id": request_id, "gateway_request_id": request_id}
    match what:
        case What.FAILURE:
            fault = {"detail": "it broke", "error_type": "internal_error"}
            return {**named, "status": "ERROR", "error": "it broke", "payload": fault}
        case What.VAGUE:
            return {**named, "status": "OK", "payload": None}
    return {**named, "status": "OK", "payload": render.body()}
