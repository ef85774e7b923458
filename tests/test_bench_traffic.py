"""scripts/benchmarks/traffic.py: who sends the next request."""

from typing import cast

from benchmarks.traffic import Connection, Traffic


class Answering:
    """A connection whose requests are answered as they are sent."""

    def __init__(self, name: str, traffic: Traffic, sent: list[str]) -> None:
        self._name = name
        self._traffic = traffic
        self._sent = sent

    def send(self, request: bytes, since: float) -> None:
        self._sent.append(self._name)
        self._traffic.answered(cast(Connection, self), 0.0, b"200")


async def test_connections_take_turns_since_servers_hang_up_on_idle_ones() -> None:
    sent: list[str] = []
    traffic = Traffic(iter([b"request"] * 5), 5, 0)
    connections = [Answering(name, traffic, sent) for name in "abc"]
    await traffic.arrive(cast(list[Connection], connections), per_second=1e6)
    assert "".join(sent) == "abcab"
