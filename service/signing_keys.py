"""Where the signatures of providers' callbacks are checked: their key sets, fetched."""

from collections.abc import Mapping

from service import http
from service.providers import Provider, Trust
from service.signature import Keys

KEYS_FETCH_SECONDS = 10.0


def signing_keys(configured: Mapping[str, Provider]) -> dict[str, Keys]:
    """Where the signatures of these providers' callbacks are checked."""

    async def fetch(url: str) -> bytes:
        return await http.fetch(url, total=KEYS_FETCH_SECONDS)

    return {
        name: Keys(provider.keys_url, fetch)
        for name, provider in configured.items()
        if provider.callbacks is Trust.SIGNED and provider.keys_url is not None
    }
