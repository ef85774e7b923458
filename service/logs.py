"""Logs: one line per fact on stderr, and never a token, a key or a secret in it."""

import logging
import re

# What our secrets look like wherever they slip into a message: callback tokens and query strings,
# API keys, signing secrets, provider credentials.
_SECRETS = re.compile(
    r"(?P<query>[?&][^\s=&?\"'>]+=)[^\s&\"'>]+"
    r"|cb_[A-Za-z0-9_\-]{20,}"
    r"|whsec_[A-Za-z0-9+/=]+"
    r"|(?P<scheme>\b(?:Key|(?i:Bearer))\s+)[^\s\"',]+"
    r"|\b[a-z0-9_]+\.[A-Za-z0-9_\-]{30,}\.[A-Za-z0-9_\-]{40,}"
    r"|(?P<userinfo>://[^/\s:@]*:)[^\s/]+(?=@)"
)


def redacted(text: str) -> str:
    """`text` with everything that looks like a secret as `***`."""
    return _SECRETS.sub(
        lambda found: f"{found['query'] or found['scheme'] or found['userinfo'] or ''}***",
        text,
    )


class _Redacting(logging.Formatter):
    """The last line of defence: whatever is logged, tracebacks too, passes here."""

    def format(self, record: logging.LogRecord) -> str:
        return redacted(super().format(record))


def set_up(level: int = logging.INFO) -> None:
    """Sends every log to stderr, redacted. The HTTP libraries' own lines would print URLs."""
    stream = logging.StreamHandler()
    stream.setFormatter(_Redacting("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logging.basicConfig(level=level, handlers=[stream], force=True)
    for noisy in ("httpx", "httpcore", "aiohttp.access", "uvicorn.access"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
