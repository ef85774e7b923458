"""The examples that the providers' pages print, as cassettes: those whose names begin with a page's
number. Keys, types and values are as printed; the prose and the addresses are ours."""

from pathlib import Path
from typing import Any

from service import jsontext
from service.catalog import Catalog

Example = tuple[str, str, dict[str, Any]]
Cassette = dict[str, Any]

IMAGE = "https://example.com/boat.png"
FOLDER = Path(__file__).parent / "cassettes"
NUMBERED = "[0-9][0-9][0-9]_*.json"
CATALOG = Catalog.load()
CASSETTES: dict[tuple[str, str], Cassette] = {
    (path.parent.name, path.stem): jsontext.loads(path.read_bytes())
    for path in sorted(FOLDER.glob(f"*/{NUMBERED}"))
}


def read_by(reader: str) -> dict[tuple[str, str], Cassette]:
    """The printed examples of one kind, by provider and name: requests with the replies to them
    (`submission`), or results (`poll`)."""
    return {place: one for place, one in CASSETTES.items() if one["reads"] == reader}


def _request(provider: str, cassette: Cassette) -> Example:
    """A request less its model field, and less what is never forwarded."""
    about, hook = cassette["attempt"], CATALOG.facts(provider).hook_field
    given = {name: value for name, value in about["input"].items() if name != hook}
    return provider, about["model"], given


PRINTED = [_request(provider, one) for (provider, _), one in read_by("submission").items()]
FAL = [one for one in PRINTED if one[0] == "fal"]
RELAY = [one for one in PRINTED if one[0] == "relay"]
