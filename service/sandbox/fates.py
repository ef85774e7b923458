"""Draws, once for each accepted submission, what the sandbox will do to it."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random

from service.sandbox.options import Misbehaviour, Options

M = Misbehaviour
OF_CALLBACKS = frozenset(
    {M.LOSE, M.DUPLICATE, M.EARLY, M.REORDER, M.CORRUPT, M.FORGE, M.NULL_PAYLOAD}
)
# A callback that is never sent cannot also be late or double; a forged one still can come. One
# that beats the reply to its own submission can wait neither for another job nor for a render.
EXCLUDED = {
    M.LOSE: frozenset({M.DUPLICATE, M.EARLY, M.REORDER, M.CORRUPT, M.NULL_PAYLOAD}),
    M.EARLY: frozenset({M.REORDER, M.SLOW}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """What is done to one job: each misbehaviour, with how many jobs had it before this one."""

    turns: Mapping[Misbehaviour, int] = field(default_factory=dict)

    def __contains__(self, misbehaviour: Misbehaviour) -> bool:
        return misbehaviour in self.turns

    def second_kind(self, misbehaviour: Misbehaviour) -> bool:
        """Whether it is the turn of the second of a misbehaviour's two kinds: they alternate."""
        return self.turns[misbehaviour] % 2 == 1


class Fates:
    """The generator of fates; the same seed and options give the same ones in the same order."""

    def __init__(self, seed: int | None) -> None:
        self._random = Random(seed)
        self._turns: Counter[Misbehaviour] = Counter()

    def draw(self, options: Options, *, has_callback: bool) -> Fate:
        """The next submission's fate. Every share costs one number, whatever it is, so that a
        change of one leaves the others' draws as they were."""
        drawn = {name for name in M if self._random.random() < getattr(options, name)}
        if not has_callback:
            drawn -= OF_CALLBACKS
        for name, others in EXCLUDED.items():
            if name in drawn:
                drawn -= others
        turns = {name: self._turns[name] for name in M if name in drawn}
        self._turns.update(turns.keys())
        return Fate(turns=turns)
