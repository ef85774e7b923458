"""What is alike on the wires of many providers: keys, bodies that may be anything, ids, waits,
charges and media. Pure; nothing here raises but `call_in` and `header_text`."""

import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import parsedate_to_datetime
from typing import Annotated, Any
from urllib.parse import parse_qs, urlsplit

from pydantic import AfterValidator, SecretStr

from service import jsontext
from service.errors import CallbackUnreadable
from service.providers import Reply

_VISIBLE = re.compile(r"[\x21-\x7e]+")
_JSON_TYPE = re.compile(r"(?:application|text)/(?:[\w.\-]+\+)?json")
_ID = re.compile(r"[A-Za-z0-9][\x21-\x7e]{0,199}")
_AMOUNT = re.compile(r"[0-9]{1,12}(\.[0-9]{1,12})?")
_MOST = 10**12
_RAW_BYTES = 4096
_LONGEST_WAIT_SECONDS = 86400.0
# The closing quote may be missing, so that a cut string is taken away in the same one pass.
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)


def header_text(value: SecretStr) -> SecretStr:
    """`value`, which can be written into a header as it is; else raises ValueError."""
    if not _VISIBLE.fullmatch(value.get_secret_value()):
        raise ValueError("must be printable ASCII without spaces")
    return value


Key = Annotated[SecretStr, AfterValidator(header_text)]


def object_in(content: bytes) -> dict[str, Any]:
    """The JSON object in `content`, whatever its type is said to be; empty where there is none."""
    try:
        value = jsontext.received(content)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def text_of(reply: Reply) -> str | None:
    """The first 4 KiB of a body as text, for people to look at."""
    return reply.content[:_RAW_BYTES].decode(errors="replace") or None


def call_in(body: bytes) -> dict[str, Any]:
    """The JSON object that a callback's body is. Raises CallbackUnreadable."""
    try:
        value = jsontext.received(body)
    except ValueError:
        reason = "truncated" if _is_cut(body) else "not_json"
        raise CallbackUnreadable(reason, "the body is no JSON") from None
    if isinstance(value, dict):
        return value
    if isinstance(value, str) and object_in(value.encode(errors="replace")):
        raise CallbackUnreadable("double_encoded", "the body is JSON inside a JSON string")
    raise CallbackUnreadable("malformed", "the body is not a JSON object")


def is_json_type(headers: Mapping[str, str]) -> bool:
    """Whether a call says that it is JSON, or does not say what it is (octet-stream is any bytes,
    RFC 2046 §4.5.1); header names are lower case."""
    told = headers.get("content-type", "")
    if told == "application/json":
        return True
    kind = told.partition(";")[0].strip().lower()
    return kind in ("", "application/octet-stream") or _JSON_TYPE.fullmatch(kind) is not None


def id_in(value: Any) -> str | None:
    """`value` where it can be a provider's id: visible ASCII, 200 characters at most."""
    return value if isinstance(value, str) and _ID.fullmatch(value) else None


def text_in(*values: Any) -> str | None:
    """The first of `values` that is text and says something."""
    return next((one for one in values if isinstance(one, str) and one.strip()), None)


def amount_in(value: Any) -> Decimal | None:
    """A charge as it was told, as a number or as its digits; None where it cannot be one."""
    if isinstance(value, str) and _AMOUNT.fullmatch(value):
        return Decimal(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _MOST:
        return None
    return abs(Decimal(str(value)))


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait, at most a day; a date counts from the reply's own Date, else from now."""
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return min(float(value), _LONGEST_WAIT_SECONDS)
    until = _seconds(headers, "retry-after")
    if until is None:
        return None
    since = _seconds(headers, "date")
    wait = until - (time.time() if since is None else since)
    return min(max(wait, 0.0), _LONGEST_WAIT_SECONDS)


def media(url: Any, content_type: Any = None) -> list[dict[str, Any]]:
    """One entry of a job's `outputs` where `url` is a web address; else none. `expires_at` is
    what a presigned address of S3's kind says of itself."""
    if not isinstance(url, str) or not url.startswith(("https://", "http://")):
        return []
    kind = content_type if isinstance(content_type, str) else None
    return [{"url": url, "content_type": kind, "expires_at": _expires_at(url)}]


def _expires_at(url: str) -> str | None:
    """X-Amz-Date plus X-Amz-Expires seconds (AWS Signature Version 4, query parameters)."""
    try:
        query = {name.lower(): given for name, given in parse_qs(urlsplit(url).query).items()}
        signed = datetime.strptime(query["x-amz-date"][0], "%Y%m%dT%H%M%SZ")
        end = signed + timedelta(seconds=int(query["x-amz-expires"][0]))
    except (ValueError, KeyError, OverflowError):
        return None
    return end.replace(tzinfo=UTC).isoformat().replace("+00:00", "Z")


def _is_cut(body: bytes) -> bool:
    """Whether `body` begins as an object or a list and ends before that does."""
    rest = _STRING.sub(b"", body)
    opened = rest.count(b"{") + rest.count(b"[")
    return body.lstrip()[:1] in (b"{", b"[") and opened > rest.count(b"}") + rest.count(b"]")


def _seconds(headers: Mapping[str, str], name: str) -> float | None:
    try:
        return parsedate_to_datetime(headers[name]).timestamp()
    except (KeyError, ValueError, TypeError, IndexError, OverflowError):
        return None
