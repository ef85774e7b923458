"""scripts/bench: the table and the JSON come out, with every variant in them; not how fast."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

BENCH = Path(__file__).parent.parent / "scripts" / "bench"
# What one job takes from its submission to its delivered event: eight.
OWN = {
    **{"find_key": 1, "create_job": 1, "claim_submits": 1, "advance": 3},
    **{"claim_staged": 1, "finish_deliveries": 1},
}
LOOKS = {"place_events", "rooms", "claim_asks", "claim_deliveries"}
NUMBERS = {"in_flight", "per_second", "p50_ms", "p99_ms"}


BRIEF = [
    "--rounds",
    "1",
    "--seconds",
    "0.02",
    "--jobs",
    "10000",
    "--ended",
    "2000",
    "--readers",
    "20",
]
Line = dict[str, Any]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Line], str]:
    """What all of them measured, one after another, and their tables."""
    folder = tmp_path_factory.mktemp("bench")
    written = folder / "bench.json"
    ran = subprocess.run(
        [BENCH, *BRIEF, "--json", written],
        env={**os.environ, "CALLBOARD_DATA_DIR": str(folder / "data")},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ran.returncode == 0, ran.stderr
    assert list((folder / "data").iterdir()) == []  # its Postgres is gone again, each of them
    measured: list[Line] = json.loads(written.read_text())
    return measured, ran.stdout


def of(bench: tuple[list[Line], str], name: str) -> list[Line]:
    """The lines of one benchmark."""
    return [one for one in bench[0] if one["benchmark"] == name]


def test_every_line_has_its_numbers_and_every_benchmark_lines(
    bench: tuple[list[Line], str],
) -> None:
    measured, _ = bench
    names = list(dict.fromkeys(one["benchmark"] for one in measured))
    assert names == ["receive", "sweep", "job", "feed", "deliver"]
    assert all(one["per_second"] > 0 for one in measured)
    latencies = [one for one in measured if one["benchmark"] != "deliver"]
    assert all(one[number] > 0 for one in latencies for number in NUMBERS)


def test_the_receive_benchmark_holds_ours_against_others(bench: tuple[list[Line], str]) -> None:
    measured = of(bench, "receive")
    assert {(one["name"], one["in_flight"]) for one in measured} == {
        *((name, number) for name in ("null", "naive", "token", "signed") for number in (64, 256)),
        ("ed25519", 1),
        ("quiet", 256),
        ("polling", 256),
    }
    ratios = {to for one in measured if one["name"] == "token" for to in one["ratios"]}
    assert ratios == {"naive", "null"}
    quiet, polling = (one for one in measured if one["name"] in ("quiet", "polling"))
    assert quiet["polls_per_second"] == 0
    assert polling["polls_per_second"] > 0
    assert polling["ratios"]["quiet p99"] == polling["p99_ms"] / quiet["p99_ms"]
    for one in measured:
        assert f"{one['per_second']:,.0f}" in bench[1]


def test_the_sweep_benchmark_holds_large_databases_against_a_small_one(
    bench: tuple[list[Line], str],
) -> None:
    by_name = {one["name"]: one for one in of(bench, "sweep")}
    for look in ("tick", "asks", "submits"):
        small = by_name.pop(f"{look} small")
        large, beside_ended = by_name.pop(f"{look} large"), by_name.pop(f"{look} ended")
        figures = [one["figures"] for one in (small, large, beside_ended)]
        assert [one["open"] for one in figures] == [100, 10_000, 10_000]
        assert [one["ended"] for one in figures] == [0, 0, 2_000]
        assert [one["due"] for one in figures] == [10, 10, 10]
        assert all(one["hit_per_claim"] + one["read_per_claim"] > 1 for one in figures)
        # However many are open, claims meet those that are due: by their time, and by their key.
        assert [one["rows_met_per_job"] for one in figures[1:]] == [2, 2]
        for one in (large, beside_ended):
            # One round, so that its ratio is the median.
            cost = one["ratios"][small["name"]]
            assert cost == pytest.approx(small["per_second"] / one["per_second"])
            assert f"{cost:.2f} ×" in bench[1]
    assert by_name == {}


def test_the_job_benchmark_counts_what_a_job_costs(bench: tuple[list[Line], str]) -> None:
    measured = of(bench, "job")
    assert [one["in_flight"] for one in measured] == [1, 200]
    for one in measured:
        figures = one["figures"]
        what = "statements of "
        ran = {name.removeprefix(what): figures[name] for name in figures if name.startswith(what)}
        assert ran["create_job"] == 1
        assert all(round(ran[name]) <= most for name, most in OWN.items())
        # Nothing else comes with every job; some looks come by the second, however few jobs do.
        assert {name for name in set(ran) - set(OWN) - LOOKS if ran[name] > 0.5} == set()
        assert f"{figures['statements']:.2f}" in bench[1]
        assert 0 < figures["commits"] < figures["statements"]


def test_the_deliver_benchmark_holds_ours_against_bare_clients(
    bench: tuple[list[Line], str],
) -> None:
    measured = {one["name"]: one for one in of(bench, "deliver")}
    assert list(measured) == [
        *("httpx", "aiohttp", "ours", "all of 20", "19 of them, one hangs"),
        *("bare aiohttp POST", "commit to arrival"),
    ]
    assert set(measured["ours"]["ratios"]) == {"httpx", "aiohttp"}
    assert measured["commit to arrival"]["p99_ms"] >= measured["commit to arrival"]["p50_ms"] > 0


def test_the_feed_benchmark_tells_one_event_and_a_burst(bench: tuple[list[Line], str]) -> None:
    measured = of(bench, "feed")
    assert [(one["in_flight"], one["figures"]["events_at_once"]) for one in measured] == [
        (20, 1),
        (20, 20),
    ]
    for one in measured:
        assert {"kib_per_reader", "last_ms"} <= set(one["figures"])
        assert f"{one['figures']['last_ms']:.1f}" in bench[1]


def test_a_benchmark_that_there_is_not_is_a_usage_error() -> None:
    ran = subprocess.run([BENCH, "nothing"], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 2
    assert "receive" in ran.stderr
