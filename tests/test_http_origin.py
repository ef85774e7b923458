"""How a URL below a provider's origin goes on the wire, and which goes nowhere."""

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from service.errors import NotSent, TargetForbidden
from service.http import at_home


@given(st.text("/.-~_a1:@?#%\\ü ", max_size=12))
@example("/..")
@example("/a/./b")
@example("/a//b")
@example("/m\n")
def test_a_url_goes_on_the_wire_as_httpx_writes_it(path: str) -> None:
    origin = "http://queue.fal.run"
    try:
        written = at_home(origin + path, origin)
    except (NotSent, TargetForbidden):
        return
    assert written == str(httpx.URL(origin + path))


@pytest.mark.parametrize("origin", ["http://key@fal.run", "http://127.0.0.1:99999", "http://a:b"])
def test_an_origin_that_is_none_is_nobodys(origin: str) -> None:
    with pytest.raises((NotSent, TargetForbidden)):
        at_home(f"{origin}/m", origin)


def test_a_url_that_httpx_finds_too_long_is_not_sent() -> None:
    origin = "http://queue.fal.run"
    with pytest.raises(NotSent):
        at_home(f"{origin}/{'a' * 70_000}", origin)
