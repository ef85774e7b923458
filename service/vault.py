"""What an input holds in secret: encrypted at rest, sent as given, shown and kept as ***."""

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from service import jsontext
from service.encryption import AtRest
from service.errors import SettingInvalid

log = logging.getLogger(__name__)

MASK = "***"
SHORTEST_SOUGHT = 6  # characters: shorter ones stand in too many words that mean something else


class Vault:
    """Takes the secret fields of each provider's inputs (`fields`, by provider) out and puts them
    back, and clears what a provider says of them."""

    def __init__(self, at_rest: AtRest | None, fields: Mapping[str, frozenset[str]]) -> None:
        self._at_rest = at_rest
        self._fields = fields
        self._names = {provider: _spelled(names) for provider, names in fields.items()}

    def sealed(
        self, provider: str, given: Mapping[str, Any]
    ) -> tuple[dict[str, Any], bytes | None]:
        """`given` with *** for what is secret in it, and that, encrypted; None where nothing is."""
        names = self._fields.get(provider, frozenset())
        held = {name: given[name] for name in given if name in names}
        if not held or self._at_rest is None:
            return dict(given), None
        shown = {name: MASK if name in held else value for name, value in given.items()}
        return shown, self._at_rest.encrypt(jsontext.dumps(held))

    def restored(self, given: Mapping[str, Any], stored: bytes | None) -> dict[str, Any]:
        """`given` as the app sent it. Raises SettingInvalid where no secret of ours opens it."""
        return {**given, **self._opened(stored)}

    def cleared(self, provider: str, said: bytes, stored: bytes | None) -> bytes:
        """What a provider said, with *** wherever it repeats a secret of the job's: by the value,
        under the field's name, and as the `input` of an error whose `loc` names the field. `said`
        itself, byte for byte, where it repeats none."""
        sought = [] if stored is None else self._sought(stored)
        words = self._names.get(provider, []) + (_spelled(sought) if sought else [])
        if not any(word in said for word in words):
            return said
        try:
            value = jsontext.received(said)
        except ValueError:
            return _replaced(said, sought)
        holder = [value]
        names = self._fields.get(provider, frozenset())
        return jsontext.dumps(holder[0]).encode() if _clear(holder, names, sought) else said

    def _sought(self, stored: bytes) -> list[str]:
        """The secret values to look for. That a job's end is read goes before that its secret is
        found in it: one that does not open is said in the log and looked for by name only."""
        try:
            values = self._opened(stored).values()
        except SettingInvalid as fault:
            log.error("what a job holds in secret does not open: %s", fault)
            return []
        return [one for one in values if isinstance(one, str) and len(one) >= SHORTEST_SOUGHT]

    def _opened(self, stored: bytes | None) -> dict[str, Any]:
        if stored is None:
            return {}
        if self._at_rest is None:
            raise SettingInvalid("CALLBOARD_SECRETS", "there are none here to open what is stored")
        held: dict[str, Any] = jsontext.loads(self._at_rest.decrypt(stored))
        return held


NO_SECRETS = Vault(None, {})


def _spelled(words: Iterable[str]) -> list[bytes]:
    """The words as they may stand in JSON or in plain text, the longest spellings first."""
    found = set()
    for word in words:
        plain = word.encode(errors="surrogatepass")
        escaped = jsontext.canonical(word)[1:-1].encode()
        found |= {plain, escaped, escaped.replace(b"/", b"\\/")}
        found.add(jsontext.dumps(word)[1:-1].encode(errors="surrogatepass"))
    return sorted(found, key=len, reverse=True)


def _replaced(said: bytes, sought: list[str]) -> bytes:
    for word in _spelled(sought):
        said = said.replace(word, MASK.encode())
    return said


def _clear(holder: list[Any], names: frozenset[str], sought: list[str]) -> bool:
    """Clears the JSON value held in place, however deep it is; whether there was anything."""
    cleared = False
    waiting: list[Any] = [holder]
    while waiting:
        part = waiting.pop()
        items = list(part.items() if isinstance(part, dict) else enumerate(part))
        for key, inner in items:
            clean = MASK if _is_named(part, key, names) and inner else _without(inner, sought)
            if clean is not inner and clean != inner:
                part[key] = clean
                cleared = True
            elif isinstance(inner, dict | list):
                waiting.append(inner)
    return cleared


def _is_named(part: Any, key: Any, names: frozenset[str]) -> bool:
    """Whether what stands there is a secret field's value, or an error's echo of one."""
    if not isinstance(part, dict):
        return False
    where = part.get("loc")
    if key == "input" and isinstance(where, list) and where and where[-1] in list(names):
        return True
    return key in names


def _without(value: Any, sought: list[str]) -> Any:
    if isinstance(value, str):
        for word in sought:
            value = value.replace(word, MASK)
    return value
