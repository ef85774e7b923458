"""Bodies of callbacks that nobody should send: bytes, any JSON, and good ones spoiled."""

import copy
import gzip
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

CASSETTES = Path(__file__).parent / "cassettes"
MARK = "here"
RECORDED = ("3f1c7a52-8d0e-4c19-9b6a-52e0c4d7a901", "f0aa213c-c09e-4e19-a0e5-c698fe48acf1")
PROVIDER_ID = "req-1"  # in place of those: what the tests' jobs are known as
PLANTED = "sk-planted-0123456789"
MEDIA = "https://cdn.example/good.mp4"
DEEPEST, LONGEST = 1100, 200_000
NUMBERS = (
    *("0", "-0", "1", "-1", "0.1", "1e5", "-0.0", "1E+2", "45", "0.45", "9007199254740993"),
    *("18446744073709551615", "18446744073709551616", "-9223372036854775809", "1" * 60),
    *("9" * 309, "9" * 4299, "1e308", "1e-400", "0." + "3" * 400),
)
NO_NUMBERS = (
    *("9" * 4301, "1e309", "-1e400", "NaN", "Infinity", "-Infinity"),
    *("01", "+1", ".5", "1.", "0x1", "1_0", "\u0661"),
)
PIECES = (
    *("a", "0", " ", "é", "漢", "😀", "\u202e", "\ufeff", "'", "%", "{}", "$1", "x" * 300),
    *("\\u0000", "\\ud800", "\\udfff", "\\ud83d\\ude00", "\\ude00\\ud83d", '\\"', "\\\\", "\\/"),
    *("\\n", "\x7f"),
)
NO_PIECES = ("\\u12", "\\x", "\n", "\x00", "\ud800")
WORDS = (
    *("OK", "ERROR", "ok", "COMPLETED", "IN_QUEUE", "IN_PROGRESS", "SUCCESS", "FAILURE", "failed"),
    *("NOT_START", "success", "processing", "45%", "req-2", "client_cancelled", "bad_request"),
    *("content_policy_violation", "Invalid status code: 422", "status code: 999", "api_key"),
    *(PLANTED, f"no: {PLANTED}", "req-1"),
    *("https://cdn.example/v.mp4", "https://[", "http://", "data:", "https://\\ud800\\u0000/"),
    "https://s3.example/v?X-Amz-Date=99999999T999999Z&X-Amz-Expires=" + "9" * 400,
)
NAMES = (
    *("request_id", "gateway_request_id", "status", "error", "payload", "payload_error", "detail"),
    *("video", "videos", "url", "content_type", "loc", "msg", "type", "input", "error_type"),
    *("task_id", "id", "task_status", "state", "data", "output", "outputs", "video_url", "code"),
    *("task_result", "fail_reason", "message", "progress", "api_key", "", "__proto__"),
)
TYPES = (
    *("application/json", "application/json; charset=utf-16", "text/plain", "text/html", "*/*"),
    *("application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "image/png", ""),
    *("application/json; charset=nonsense", "a" * 300, "\x00", "application/problem+json"),
)


def samples(provider: str) -> list[bytes]:
    """The bodies of a provider's recorded callbacks, bad ones too."""
    calls = [
        json.loads(path.read_text())["call"]
        for path in sorted((CASSETTES / provider).glob("callback_*.json"))
    ]
    texts = [one["text"] if "text" in one else json.dumps(one["json"]) for one in calls]
    for recorded in RECORDED:
        texts = [text.replace(recorded, PROVIDER_ID) for text in texts]
    return [text.encode() for text in texts]


def good(provider: str, provider_id: str) -> bytes:
    """A callback, and a relay's reply to a poll, for a render that came out well."""
    told: dict[str, Any] = {"task_id": provider_id, "status": "SUCCESS", "data": {"output": MEDIA}}
    if provider == "fal":
        payload = {"video": {"url": MEDIA}}
        told = {"request_id": provider_id, "status": "OK", "payload": payload}
    return json.dumps(told).encode()


class Bodies:
    """Makes the bodies for one provider, as `draws` say."""

    def __init__(self, draws: random.Random, provider: str) -> None:
        self._draws = draws
        self._samples = samples(provider)
        parsed = [_parsed(one) for one in self._samples]
        self._objects = [one for one in parsed if isinstance(one, dict)]

    def body(self) -> bytes:
        kinds, weights = zip(*KINDS.items(), strict=True)
        (kind,) = self._draws.choices(kinds, weights)
        made: bytes = kind(self)
        return made

    def content_type(self) -> str:
        return self._draws.choice(TYPES)

    def noise(self) -> bytes:
        longest = self._draws.choice((0, 1, 8, 80, 800, 8000))
        return self._draws.randbytes(self._draws.randint(0, longest))

    def any_json(self) -> bytes:
        return self._value(self._draws.randint(0, 6)).encode("utf-8", "surrogatepass")

    def object_of_ours(self) -> bytes:
        """An object with the fields that providers use, and nothing right in them."""
        fields = (self._field(2) for _ in range(self._draws.randint(1, 8)))
        return ("{" + ",".join(fields) + "}").encode("utf-8", "surrogatepass")

    def spoiled(self) -> bytes:
        """A good body with bytes changed, taken out, put in or doubled."""
        raw = bytearray(self._draws.choice(self._samples))
        for _ in range(self._draws.randint(1, 3)):
            place = self._draws.randrange(len(raw) + 1)
            until = min(len(raw), place + self._draws.choice((0, 1, 1, 2, 20)))
            piece = bytes(raw[place:until])
            other = (b"", self._draws.randbytes(1), self._draws.choice(b'{}[]",:\\').to_bytes(1))
            raw[place:until] = self._draws.choice((*other, piece * 2, piece.swapcase()))
        return bytes(raw)

    def cut(self) -> bytes:
        raw = self._draws.choice(self._samples)
        return raw[: self._draws.randrange(len(raw) + 1)]

    def retold(self) -> bytes:
        """A good object with something else in one of its places."""
        return self._with(self._value(self._draws.randint(0, 3)))

    def doubled_keys(self) -> bytes:
        text = json.dumps(self._draws.choice(self._objects))
        more = ",".join(self._field(1) for _ in range(self._draws.randint(1, 4)))
        whole = (text[:-1] + "," + more + "}", "{" + more + "," + text[1:])
        return self._draws.choice(whole).encode("utf-8", "surrogatepass")

    def deep(self) -> bytes:
        """Nested as deep as readers and writers bear, and deeper; mostly inside a good body."""
        levels = self._draws.choice((90, 128, 250, 260, 500, 900, 960, 990, 1000, DEEPEST))
        levels += self._draws.randint(-10, 10)
        opened, closed = self._draws.choice((("[", "]"), ('{"a":', "}"), ('[{"api_key":', "}]")))
        inside = self._draws.choice(("", "1", "1" * 30, '"\\ud800"')) if opened == "[" else "1"
        value = opened * levels + inside + closed * levels
        return self._draws.choice((value.encode(), self._with(value), self._with(value)))

    def endless(self) -> bytes:
        return (self._draws.choice(("[", '{"a":', '"', "1", " ", "\\")) * LONGEST).encode()[
            : self._draws.randint(1, LONGEST)
        ]

    def wrapped(self) -> bytes:
        """A good body in a coat that is not JSON's."""
        raw = self._draws.choice(self._samples)
        text = raw.decode()
        return self._draws.choice(
            (
                json.dumps(text).encode(),
                text.encode("utf-16"),
                text.encode("utf-8-sig"),
                gzip.compress(raw, mtime=0),
                b"payload=" + raw,
                raw + raw,
                raw + b"\x00",
                b"\x00" + raw,
                b"[" + raw + b"]",
                b'{"data":' + raw + b"}",
                b"<html>" + raw + b"</html>",
            )
        )

    def _with(self, value: str) -> bytes:
        whole = copy.deepcopy(self._draws.choice(self._objects))
        place: Any = whole
        while True:
            key = self._draws.choice(list(place) if isinstance(place, dict) else range(len(place)))
            if self._draws.random() < 0.4 or not isinstance(place[key], dict | list):
                break
            if not place[key]:
                break
            place = place[key]
        place[key] = MARK
        return json.dumps(whole).replace(f'"{MARK}"', value).encode("utf-8", "surrogatepass")

    def _value(self, depth: int) -> str:
        draws = self._draws
        kind = draws.randrange(8 if depth else 5)
        if kind == 0:
            return draws.choice(("null", "true", "false"))
        if kind == 1:
            return draws.choice(NUMBERS if draws.random() < 0.95 else NO_NUMBERS)
        if kind == 2:
            return f'"{draws.choice(WORDS)}"'
        if kind in (3, 4):
            return self._text()
        many = range(draws.randint(0, 4))
        if kind == 5:
            return "[" + ",".join(self._value(depth - 1) for _ in many) + "]"
        return "{" + ",".join(self._field(depth) for _ in many) + "}"

    def _field(self, depth: int) -> str:
        named = self._draws.random() < 0.7
        name = f'"{self._draws.choice(NAMES)}"' if named else self._text()
        return f"{name}:{self._value(depth - 1)}"

    def _text(self) -> str:
        pieces = PIECES if self._draws.random() < 0.97 else NO_PIECES
        return '"' + "".join(self._draws.choices(pieces, k=self._draws.randint(0, 4))) + '"'


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None


KINDS: dict[Callable[[Bodies], bytes], float] = {
    Bodies.noise: 2,
    Bodies.any_json: 2,
    Bodies.object_of_ours: 3,
    Bodies.spoiled: 3,
    Bodies.cut: 1,
    Bodies.retold: 6,
    Bodies.doubled_keys: 2,
    Bodies.deep: 1,
    Bodies.endless: 0.03,
    Bodies.wrapped: 0.5,
}
