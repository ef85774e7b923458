"""Ids: version 7, sorted by time, bucket in the last byte, one spelling."""

import subprocess
import sys
import time
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as some

from service import ids

BUCKETS = some.integers(0, 255)
PREFIXES = some.sampled_from(["job", "evt", "sub", "dlv", "cbk", "key"])


@given(some.none() | BUCKETS)
def test_an_id_is_a_uuid_of_version_7(bucket: int | None) -> None:
    made = ids.new_id(bucket)
    assert made.version == 7
    assert made.variant == "specified in RFC 4122"


def test_an_id_holds_the_time_in_milliseconds() -> None:
    before = time.time_ns() // 1_000_000
    made = ids.new_id()
    assert before <= made.int >> 80 <= time.time_ns() // 1_000_000


@given(some.lists(some.integers(0, 2**48 - 1), min_size=2, unique=True), PREFIXES)
def test_ids_sort_by_time_across_milliseconds(times: list[int], prefix: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        shown = []
        for at in sorted(times):
            patch.setattr(time, "time_ns", lambda at=at: at * 1_000_000)
            shown.append(ids.show(prefix, ids.new_id()))
    assert shown == sorted(shown)


@given(BUCKETS)
def test_an_id_keeps_its_bucket(bucket: int) -> None:
    assert ids.bucket_of(ids.new_id(bucket)) == bucket


def test_an_id_without_a_bucket_falls_into_any() -> None:
    assert len({ids.bucket_of(ids.new_id()) for _ in range(2000)}) > 128


def test_many_ids_are_all_different() -> None:
    assert len({ids.new_id(7) for _ in range(20_000)}) == 20_000


FORKS = """
import os
from service import ids
ids.new_id()
child = os.fork()
os.write(1, b"".join(ids.new_id().bytes[8:] for _ in range(20)))
if child:
    os.waitpid(child, 0)
"""


def test_a_forked_process_makes_other_ids() -> None:
    """What was drawn ahead is not inherited: parent and child would use the same bits."""
    told = subprocess.run([sys.executable, "-c", FORKS], check=True, capture_output=True).stdout
    assert len({told[at : at + 8] for at in range(0, len(told), 8)}) == 40


@given(some.uuids(), some.text(max_size=80))
def test_a_key_always_falls_into_the_same_bucket(app: UUID, key: str) -> None:
    assert ids.bucket_for(app, key) == ids.bucket_for(app, key)
    assert 0 <= ids.bucket_for(app, key) <= 255


def test_keys_spread_over_buckets_and_apps() -> None:
    one, other = UUID(int=1), UUID(int=2)
    assert len({ids.bucket_for(one, str(key)) for key in range(5000)}) == 256
    assert any(ids.bucket_for(one, str(k)) != ids.bucket_for(other, str(k)) for k in range(8))


@given(PREFIXES, some.uuids())
def test_an_id_reads_back_as_it_was_shown(prefix: str, value: UUID) -> None:
    assert ids.read(prefix, ids.show(prefix, value)) == value


@given(PREFIXES, some.text() | some.from_regex(r"(job|evt)_[0-9a-fA-F]{31,33}\n?"))
def test_only_the_one_spelling_is_read(prefix: str, text: str) -> None:
    value = ids.read(prefix, text)
    assert value is None or ids.show(prefix, value) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "job_",
        "0192f0c4a1b27def8123456789abcdef",
        "evt_0192f0c4a1b27def8123456789abcdef",
        "job_0192F0C4A1B27DEF8123456789ABCDEF",
        "job_0192f0c4-a1b2-7def-8123-456789abcdef",
        "job_0192f0c4a1b27def8123456789abcdef\n",
        " job_0192f0c4a1b27def8123456789abcdef",
        "job_job_0192f0c4a1b27def8123456789abcdef",
        "job_0192f0c4a1b27def8123456789abcde٣",
    ],
)
def test_other_spellings_are_no_ids(text: str) -> None:
    assert ids.read("job", text) is None


def test_ids_sort_in_the_order_in_which_they_are_made_down_to_a_part_of_a_microsecond() -> None:
    made = [ids.new_id(7) for _ in range(5000)]
    ticks = [one.int >> 64 for one in made]
    assert ticks == sorted(ticks)
    assert len({tick & 0xFFF for tick in ticks}) > 100, "the fraction of the millisecond counts"
    assert len(set(made)) == len(made)
