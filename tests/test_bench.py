"""scripts/bench: the table and the JSON come out, with every variant in them; not how fast."""

import json
import os
import subprocess
from pathlib import Path

import pytest

BENCH = Path(__file__).parent.parent / "scripts" / "bench"
NUMBERS = {"in_flight", "per_second", "p50_ms", "p99_ms"}


@pytest.mark.slow
def test_the_receive_benchmark_prints_a_table_and_writes_json(tmp_path: Path) -> None:
    written = tmp_path / "bench.json"
    ran = subprocess.run(
        [BENCH, "receive", "--seconds", "0.02", "--rounds", "1", "--json", written],
        env={**os.environ, "CALLBOARD_DATA_DIR": str(tmp_path / "data")},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr
    measured = json.loads(written.read_text())
    assert {(one["name"], one["in_flight"]) for one in measured} == {
        *((name, number) for name in ("null", "naive", "token", "signed") for number in (64, 256)),
        ("ed25519", 1),
        ("quiet", 256),
        ("polling", 256),
    }
    assert all(one[number] > 0 for one in measured for number in NUMBERS)
    ratios = {of for one in measured if one["name"] == "token" for of in one["ratios"]}
    assert ratios == {"naive", "null"}
    quiet, polling = (one for one in measured if one["name"] in ("quiet", "polling"))
    assert quiet["polls_per_second"] == 0
    assert polling["polls_per_second"] > 0
    assert polling["ratios"]["quiet p99"] == polling["p99_ms"] / quiet["p99_ms"]
    for one in measured:
        assert f"{one['per_second']:,.0f}" in ran.stdout
    assert list((tmp_path / "data").iterdir()) == []  # its Postgres is gone again


@pytest.mark.slow
def test_a_benchmark_that_there_is_not_is_a_usage_error() -> None:
    ran = subprocess.run([BENCH, "nothing"], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 2
    assert "receive" in ran.stderr
