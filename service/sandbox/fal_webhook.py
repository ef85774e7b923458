"""The pretend fal's callbacks: their payloads, their signatures, and what goes wrong with them."""

import asyncio
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping
from functools import partial
from hashlib import sha256
from typing import Any

from nacl.signing import SigningKey

from service import jsontext
from service.sandbox.callbacks import Call, Hold, attempts, tampered
from service.sandbox.fal_job import Job
from service.sandbox.ledger import Answer, CallKind
from service.sandbox.options import Misbehaviour
from service.sandbox.state import Sandbox

_FORGED_URL = "https://media.fal.example/files/forged/output.mp4"


class Keys:
    """fal's key set: an idle key and the one that signs; and one of somebody else's."""

    def __init__(self, user_id: str) -> None:
        self._user_id = user_id
        self._idle, self._own, self._foreign = (SigningKey.generate() for _ in range(3))

    def jwks(self) -> dict[str, Any]:
        """The public keys; `x` is base64url with its padding, as in fal's live file."""
        return {"keys": [_jwk(key) for key in (self._idle, self._own)]}

    def sign(self, request_id: str, body: bytes, at: int) -> dict[str, str]:
        """The headers of a callback sent at the unix time `at` (fal's webhooks page)."""
        return self._headers(self._own, request_id, body, at)

    def forge(self, request_id: str, body: bytes, at: int) -> dict[str, str]:
        """The same headers with the signature of a key that is not fal's."""
        return self._headers(self._foreign, request_id, body, at)

    def _headers(self, key: SigningKey, request_id: str, body: bytes, at: int) -> dict[str, str]:
        message = "\n".join((request_id, self._user_id, str(at), sha256(body).hexdigest()))
        return {
            "X-Fal-Webhook-Request-Id": request_id,
            "X-Fal-Webhook-User-Id": self._user_id,
            "X-Fal-Webhook-Timestamp": str(at),
            "X-Fal-Webhook-Signature": key.sign(message.encode()).signature.hex(),
        }


def _jwk(key: SigningKey) -> dict[str, str]:
    public = bytes(key.verify_key)
    x = urlsafe_b64encode(public).decode()
    return {"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": x[:8], "x": x}


class Webhooks:
    """Tells the app of a job's end, once the job is there."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.keys = Keys(sandbox.options.user_id)
        self._sandbox = sandbox
        self._hold = Hold()

    async def tell(self, job: Job, answered: asyncio.Event) -> None:
        """Makes the job's calls one after another and notes how each try was answered.

        `answered` is set after the true one's first try, and in any case at the end.
        """
        try:
            if Misbehaviour.REORDER in job.fate:
                await self._hold.wait()
            for call in self._calls(job):
                async for status in attempts(self._sandbox.session, call):
                    job.entry.callbacks.append(Answer(kind=call.kind, status=status))
                    if call.kind is CallKind.TRUE:
                        answered.set()
                        self._hold.gone()
        finally:
            answered.set()

    def _calls(self, job: Job) -> Iterator[Call]:
        url = job.webhook
        if url is None:
            return
        body = jsontext.dumps(_payload(job)).encode()
        true = self._call(job, CallKind.TRUE, url, body, self._sandbox.options.callback_tries)
        if Misbehaviour.FORGE in job.fate:
            yield self._forged(job, url)
        if Misbehaviour.CORRUPT in job.fate:
            yield self._call(job, CallKind.CORRUPT, url, body[: len(body) * 2 // 3], 1)
        if Misbehaviour.LOSE not in job.fate:
            yield true
        if Misbehaviour.DUPLICATE in job.fate:
            yield self._call(job, CallKind.DUPLICATE, url, body, true.tries)

    def _forged(self, job: Job, url: str) -> Call:
        """A false success. By turns: under a tampered token with fal's own signature, as any
        other customer of fal could have it sent; and under the right token, signed by another."""
        result = {"video": {"url": _FORGED_URL, "content_type": "video/mp4"}}
        body = jsontext.dumps(_ok(job, result)).encode()
        other = tampered(url)
        if other != url and not job.fate.second_kind(Misbehaviour.FORGE):
            return self._call(job, CallKind.FORGED, other, body, 1)
        headers = partial(self.keys.forge, job.request_id, body)
        return Call(kind=CallKind.FORGED, url=url, body=body, headers=headers, tries=1)

    def _call(self, job: Job, kind: CallKind, url: str, body: bytes, tries: int) -> Call:
        headers = partial(self.keys.sign, job.request_id, body)
        return Call(kind=kind, url=url, body=body, headers=headers, tries=tries)


def _payload(job: Job) -> dict[str, Any]:
    """The body of a callback: fal's webhook words, which are not its queue's (webhooks page)."""
    payload = _ok(job, job.result.body)
    if job.result.status != 200:
        error = f"Invalid status code: {job.result.status}"
        payload = {**payload, "status": "ERROR", "error": error}
    if Misbehaviour.NULL_PAYLOAD in job.fate:
        payload = {**payload, "payload": None, "payload_error": "Response is not JSON serializable"}
    return payload


def _ok(job: Job, result: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "request_id": job.request_id,
        "gateway_request_id": job.gateway_request_id,
        "status": "OK",
        "error": None,
        "payload": result,
    }
