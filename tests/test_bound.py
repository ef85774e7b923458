"""service/bound.py: so much from each, so much from all, in each window."""

from service.bound import Bound, Limit


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def bound(clock: Clock | None = None, *, each: Limit | None = None) -> Bound:
    return Bound(
        each or Limit(rows=3, bytes=100),
        Limit(rows=5, bytes=150),
        window=60.0,
        clock=clock or Clock(),
    )


def test_a_source_has_so_many_rows_and_others_still_have_theirs() -> None:
    of = bound()
    assert [of.admits("a", 1) for _ in range(5)] == [True] * 3 + [False] * 2
    assert of.admits("b", 1)


def test_a_source_has_so_many_bytes_and_a_smaller_call_still_fits() -> None:
    of = bound()
    assert of.admits("a", 90)
    assert not of.admits("a", 11)
    assert of.admits("a", 10)


def test_all_sources_together_have_so_many_rows_and_bytes() -> None:
    of = bound()
    assert sum(of.admits(f"source {n}", 1) for n in range(1000)) == 5
    of = bound()
    assert sum(of.admits(f"source {n}", 60) for n in range(1000)) == 2


def test_what_is_remembered_does_not_grow_with_the_sources() -> None:
    of = bound()
    for n in range(1000):
        of.admits(f"source {n}", 1)
    assert len(of._by_source) == 5


def test_a_new_window_begins_from_nothing() -> None:
    clock = Clock()
    of = bound(clock)
    assert [of.admits("a", 1) for _ in range(4)] == [True] * 3 + [False]
    clock.now += 59.9
    assert not of.admits("a", 1)
    clock.now += 0.1
    assert of.admits("a", 1)


def test_a_source_is_spent_once_more_would_pass_its_bound_and_fresh_in_the_next_window() -> None:
    clock = Clock()
    of = bound(clock)
    assert not of.is_spent("a", 1000), "nothing was taken of it yet"
    of.admits("a", 90)
    assert not of.is_spent("a", 10)
    assert of.is_spent("a", 11)
    assert not of.is_spent("b", 1000)
    clock.now += 60.0
    assert not of.is_spent("a", 11)


def test_a_source_is_spent_where_all_together_have_had_theirs() -> None:
    of = bound()
    for n in range(5):
        of.admits(f"source {n}", 1)
    assert of.is_spent("source 1", 1)
    assert not of.is_spent("source 9", 1)
