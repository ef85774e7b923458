"""Secrets at rest: subscribers' signing secrets and headers, encrypted under CALLBOARD_SECRETS."""

from collections.abc import Sequence

from nacl.exceptions import CryptoError
from nacl.secret import SecretBox

from service.errors import SettingInvalid
from service.tokens import derived_key


class AtRest:
    """Encrypts under the first of `secrets` and decrypts under any of them."""

    def __init__(self, secrets: Sequence[str]) -> None:
        self._boxes = [SecretBox(derived_key(secret, b"callboard-rest")) for secret in secrets]

    def encrypt(self, text: str) -> bytes:
        """`text` under the newest secret, with a nonce of its own."""
        return bytes(self._boxes[0].encrypt(text.encode()))

    def decrypt(self, stored: bytes) -> str:
        """The text again. Raises SettingInvalid, naming CALLBOARD_SECRETS, where none opens it."""
        for box in self._boxes:
            try:
                return box.decrypt(stored).decode()
            except CryptoError:
                continue
        raise SettingInvalid(
            "CALLBOARD_SECRETS", "none of the secrets opens what is stored; put the old one back"
        )

    def renewed(self, stored: bytes) -> bytes | None:
        """`stored` under the newest secret, or None where it is already."""
        try:
            self._boxes[0].decrypt(stored)
        except CryptoError:
            return self.encrypt(self.decrypt(stored))
        return None
