"""A provider's signing keys, for the tests: fal's headers over a body, and its key set."""

import base64
import json
import time
from hashlib import sha256

from nacl.signing import SigningKey

KEY = SigningKey(bytes(range(32)))


async def key_set(url: str) -> bytes:
    """The JWKS document with KEY in it."""
    x = base64.urlsafe_b64encode(bytes(KEY.verify_key)).decode()
    return json.dumps({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": x}]}).encode()


def headers(
    body: bytes,
    *,
    at: int | None = None,
    key: SigningKey = KEY,
    request_id: str | None = None,
    user_id: str = "user-42",
) -> dict[str, str]:
    """fal's four signature headers, and the content type; the body's request id unless given."""
    request_id = request_id or json.loads(body)["request_id"]
    timestamp = str(int(time.time()) if at is None else at)
    message = "\n".join([request_id, user_id, timestamp, sha256(body).hexdigest()])
    return {
        "content-type": "application/json",
        "x-fal-webhook-request-id": request_id,
        "x-fal-webhook-user-id": user_id,
        "x-fal-webhook-timestamp": timestamp,
        "x-fal-webhook-signature": key.sign(message.encode()).signature.hex(),
    }


def success(request_id: str = "req-1") -> bytes:
    """fal's webhook body for a render that came out well."""
    return json.dumps(
        {
            "request_id": request_id,
            "gateway_request_id": request_id,
            "status": "OK",
            "payload": {"video": {"url": f"https://media.example/{request_id}.mp4"}},
        }
    ).encode()
