"""When to look again: how long to wait before a poll, a second submit, a delivery."""

from dataclasses import dataclass

from service.catalog import Catalog
from service.loop import jittered
from service.providers import Provider

GROWTH = 1.5
FIRST_SHARE = 0.8  # of a model's typical duration: most renders end at about that time
LONGEST_SUBMIT_PAUSE_SECONDS = 300.0
SPARSE_SECONDS = 1500.0  # between looks at an expired job: below half of fal's hour


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How often a job is asked after, in seconds. `first` overrides the first pause that the
    model's typical duration suggests (CALLBOARD_POLL_SECONDS)."""

    catalog: Catalog
    first: float | None = None

    def first_look(self, provider: Provider, model: str) -> float:
        """The pause between the POST's reply and the first poll."""
        pause = self.first or max(
            5.0, self.catalog.typical_seconds(provider.name, model) * FIRST_SHARE
        )
        return min(provider.poll_cap_seconds, jittered(pause))

    def next_look(self, provider: Provider, model: str, *, tries: int) -> float:
        """The pause after poll number `tries` that brought no end; at most the provider's cap."""
        start = self.first or max(3.0, self.catalog.typical_seconds(provider.name, model) / 10)
        return min(provider.poll_cap_seconds, jittered(start * GROWTH ** min(tries, 40)))


def sparse_look() -> float:
    """The pause between looks at a job that has expired."""
    return min(SPARSE_SECONDS, jittered(SPARSE_SECONDS * 0.8))


def next_submit(tries: int) -> float:
    """The pause after `tries` submits that provably did not arrive, or were refused for now."""
    return min(LONGEST_SUBMIT_PAUSE_SECONDS, jittered(2.0 ** min(tries, 10)))
