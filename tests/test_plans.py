"""How Postgres goes about our queries in a database with a past: by index, never through it all."""

import json
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from plan_nodes import explained, nodes, rows_met, rows_sorted, walked_through
from planned import BY_INDEX, BY_INDEXES, KEYS_OF_SMALL_TABLES, RUNS

from service.database import PLANNED_ONCE

PLACES, DUE = 32, 5  # of each kind, in CLAIMS and in the database
CLAIMS = {
    "claim_submits": ["60", "'{fal,relay}'", "'{32,1}'", "'{null,null}'"],
    "claim_asks": ["60", "'{fal,relay}'", "'{32,1}'", "'{poll,late}'"],
}
MET_EACH = 2  # found by its time, and again by its key to be leased
# As Postgres goes about it by itself, for these values; and as it is asked to, for whatever values.
CUSTOM, GENERIC = "custom", "generic"
MODES = {
    CUSTOM: {"plan_cache_mode": "force_custom_plan", "enable_seqscan": "on"},
    GENERIC: {"enable_seqscan": "on", **PLANNED_ONCE},
}


async def plan(
    past: asyncpg.Connection, name: str, values: list[str], mode: str, *, run: bool = False
) -> Any:
    """The plan of a query for these values; with `run`, what came of it too."""
    return await explained(past, name, values, settings=MODES[mode], run=run)


@pytest.mark.parametrize("mode", [CUSTOM, GENERIC])
@pytest.mark.parametrize("name", RUNS)
async def test_nothing_that_grows_is_read_from_end_to_end(
    past: asyncpg.Connection, name: str, mode: str
) -> None:
    assert walked_through(await plan(past, name, RUNS[name], mode)) == set()


@pytest.mark.parametrize("mode", [CUSTOM, GENERIC])
@pytest.mark.parametrize(("name", "index"), BY_INDEX)
async def test_who_reads_some_events_meets_no_others(
    past: asyncpg.Connection, name: str, index: str, mode: str
) -> None:
    """Neither other apps' events nor those of other types are read and then thrown away."""
    every = nodes(await plan(past, name, RUNS[name], mode))
    (met,) = (node for node in every if node.get("Relation Name") == "feed")
    assert met["Index Name"] == index
    assert "Filter" not in met


@pytest.mark.parametrize("mode", [CUSTOM, GENERIC])
@pytest.mark.parametrize("name", BY_INDEXES)
async def test_work_and_jobs_are_found_by_the_indexes_made_for_it(
    past: asyncpg.Connection, name: str, mode: str
) -> None:
    every = nodes(await plan(past, name, RUNS[name], mode))
    gone_by = {node["Index Name"] for node in every if "Index Name" in node}
    assert gone_by - KEYS_OF_SMALL_TABLES == BY_INDEXES[name]


@pytest.mark.parametrize("mode", [CUSTOM, GENERIC])
async def test_the_agenda_of_a_job_that_ends_is_met_once(
    past: asyncpg.Connection, mode: str
) -> None:
    """Dropped; whoever dates what goes on does not look for it too."""
    job = await past.fetchval("select id from jobs where state = 'submitted' limit 1")
    said = {1: job, 2: 1, 4: "completed", 5: job, 6: "poll"}
    values = [f"'{{{said[n]}}}'" if n in said else "null" for n in range(1, 27)]
    ran = await plan(past, "advance", values, mode, run=True)
    assert rows_met(ran, "jobs") >= 1
    assert rows_met(ran, "agenda") == 1


@pytest.fixture
async def all_due(past: asyncpg.Connection) -> AsyncIterator[asyncpg.Connection]:
    """The same, and all that is open is due: 20,000 jobs."""
    undo = past.transaction()
    await undo.start()
    await past.execute("update agenda set due_at = now() - random() * interval '1 hour'")
    await past.execute("analyze agenda")
    yield past
    await undo.rollback()


@pytest.mark.parametrize("mode", [CUSTOM, GENERIC])
@pytest.mark.parametrize("name", CLAIMS)
async def test_a_claim_meets_the_rows_that_it_takes_and_no_others(
    past: asyncpg.Connection, name: str, mode: str
) -> None:
    ran = await plan(past, name, CLAIMS[name], mode, run=True)
    assert ran[0]["Plan"]["Actual Rows"] == DUE
    assert rows_met(ran, "agenda") <= MET_EACH * DUE


@pytest.mark.parametrize("mode", [CUSTOM, GENERIC])
@pytest.mark.parametrize("name", CLAIMS)
async def test_a_claim_meets_no_more_rows_though_all_are_due(
    all_due: asyncpg.Connection, name: str, mode: str
) -> None:
    ran = await plan(all_due, name, CLAIMS[name], mode, run=True)
    assert walked_through(ran) == set()
    assert ran[0]["Plan"]["Actual Rows"] == PLACES
    assert rows_met(ran, "agenda") <= MET_EACH * PLACES
    assert rows_met(ran, "jobs") <= PLACES
    assert rows_sorted(ran) <= PLACES


@pytest.fixture
async def in_doubt(all_due: asyncpg.Connection) -> asyncpg.Connection:
    """The same, and half of what is with the provider can only be given up, longer overdue."""
    await all_due.execute(
        "update agenda set task = 'give_up', due_at = due_at - interval '2 hours'"
        " where task = 'poll' and get_byte(uuid_send(job_id), 15) % 2 = 0"
    )
    await all_due.execute("analyze agenda")
    return all_due


@pytest.mark.parametrize("mode", [CUSTOM, GENERIC])
@pytest.mark.parametrize("name", ["claim_asks", "claim_asks in doubt"])
async def test_a_claim_passes_over_no_other_tasks_rows(
    in_doubt: asyncpg.Connection, name: str, mode: str
) -> None:
    ran = await plan(in_doubt, name, RUNS[name], mode, run=True)
    assert ran[0]["Plan"]["Actual Rows"] == PLACES
    assert rows_met(ran, "agenda") <= MET_EACH * PLACES


@pytest.mark.parametrize("mode", [CUSTOM, GENERIC])
async def test_what_is_in_flight_is_counted_without_what_waits_for_later(
    past: asyncpg.Connection, mode: str
) -> None:
    """10,000 jobs are to be submitted tomorrow; none of them is about to go."""
    values = ["60", "'{fal,relay}'", "'{32,32}'", "'{12000,12000}'"]
    with_provider = 10_000
    ran = await plan(past, "claim_submits", values, mode, run=True)
    assert walked_through(ran) == set()
    assert rows_met(ran, "agenda") < with_provider + MET_EACH * DUE + 1  # averages are rounded


WALKED = 500
BADLY_ENDED, HEADS, SHOWN = 6, 3, 51
# A list, and how many rows of the agenda, of the events and of the jobs it may meet.
LISTS: list[tuple[str, tuple[int, int, int]]] = [
    ("find_jobs of a state", (0, 0, SHOWN)),
    ("find_jobs of a rare state", (0, 0, WALKED)),
    ("find_jobs of nobody", (0, 0, 0)),
    ("find_jobs_of_everyone of a rare state", (0, 0, WALKED)),
    ("find_jobs_of_reference", (0, 0, 1)),
    ("find_jobs_at_hand", (WALKED + SHOWN + 10 + HEADS, 0, SHOWN + 10)),  # a tenth is another's
    ("find_jobs_at_hand few", (HEADS, 0, 0)),
    ("find_jobs_without_result", (0, BADLY_ENDED, BADLY_ENDED)),
    ("find_jobs_without_result of everyone", (0, 0, 0)),
    ("find_jobs_in_need", (HEADS + DUE, 0, 0)),
    ("find_jobs_in_need of everyone", (HEADS + DUE, 0, 0)),
]


@pytest.mark.parametrize("mode", [CUSTOM, GENERIC])
@pytest.mark.parametrize(("name", "most"), LISTS)
async def test_a_list_meets_few_but_those_that_it_shows(
    past: asyncpg.Connection, name: str, most: tuple[int, int, int], mode: str
) -> None:
    values = [str(WALKED) if value == "10000" else value for value in RUNS[name]]
    ran = await plan(past, name, values, mode, run=True)
    assert walked_through(ran) == set()
    met = tuple(round(rows_met(ran, table)) for table in ("agenda", "job_events", "jobs"))
    assert all(one <= bound for one, bound in zip(met, most, strict=True)), met


@pytest.mark.parametrize("mode", [CUSTOM, GENERIC])
async def test_what_is_overdue_is_found_among_what_is_open(
    past: asyncpg.Connection, mode: str
) -> None:
    """40 were looked at since, 40 will be at their next turn."""
    undo = past.transaction()
    await undo.start()
    try:
        await past.execute(
            """
            with late as (
                update jobs set deadline_seconds = 7200
                where id in (select job_id from agenda where task = 'poll' and due_at > now()
                             order by job_id limit 80)
                returning id
            )
            update agenda set overdue_at = now() - interval '1 hour',
                due_at = now() + case when get_byte(uuid_send(job_id), 15) % 2 = 0
                    then interval '1 minute' else - interval '2 hours' end
            from late where agenda.job_id = late.id
            """
        )
        for name, shown in (("find_jobs_in_need", 51), ("find_jobs_in_need of everyone", 51)):
            ran = await plan(past, name, RUNS[name], mode, run=True)
            assert ran[0]["Plan"]["Actual Rows"] == shown
            assert rows_met(ran, "agenda") <= 2 * 80 + HEADS + DUE
            assert rows_met(ran, "jobs") <= 80
    finally:
        await undo.rollback()


@pytest.mark.parametrize("mode", [CUSTOM, GENERIC])
async def test_a_look_at_the_providers_meets_few_of_their_jobs(
    past: asyncpg.Connection, mode: str
) -> None:
    for count_to in (0, 20):
        ran = await plan(past, "rooms", ["'{}'", str(count_to)], mode, run=True)
        assert rows_met(ran, "agenda") <= 2 * count_to + 4  # queued, in flight; one of each kind


async def test_events_are_placed_by_index_though_a_burst_is_still_in_the_statistics(
    past: asyncpg.Connection,
) -> None:
    undo = past.transaction()
    await undo.start()
    try:
        await past.execute(
            "insert into unplaced select job_id, version, at from job_events where version = 3"
            " on conflict do nothing"
        )
        await past.execute("analyze unplaced")
        await past.execute("delete from unplaced")
        assert walked_through(await plan(past, "place_events", ["60"], CUSTOM)) == set()
    finally:
        await undo.rollback()


@pytest.mark.parametrize("mode", [CUSTOM, GENERIC])
async def test_a_rare_providers_jobs_are_not_looked_for_among_all_others(
    past: asyncpg.Connection, mode: str
) -> None:
    undo = past.transaction()
    await undo.start()
    try:
        oldest = "select id from jobs order by id limit 9"
        await past.execute(f"update jobs set provider = 'relay' where id in ({oldest})")
        await past.execute("analyze jobs")
        shown = json.dumps(await plan(past, "look_for_silence", RUNS["look_for_silence"], mode))
        assert "jobs_of_provider_newest_first" in shown
        assert "jobs_pkey" not in shown
    finally:
        await undo.rollback()


async def test_a_backlog_of_deliveries_is_claimed_by_index(past: asyncpg.Connection) -> None:
    undo = past.transaction()
    await undo.start()
    try:
        await past.execute("update deliveries set state = 'pending', next_at = created_at")
        await past.execute("analyze deliveries")
        values = RUNS["claim_deliveries"]
        assert walked_through(await plan(past, "claim_deliveries", values, CUSTOM)) == set()
    finally:
        await undo.rollback()


async def test_no_index_of_jobs_mentions_a_column_that_a_move_changes(
    past: asyncpg.Connection,
) -> None:
    """Else each move would leave its page, and write to every index."""
    rows = await past.fetch(
        """
        select distinct attname from pg_index join pg_attribute on attrelid = indrelid
        where indrelid = 'jobs'::regclass and (attnum = any (indkey) or exists (
            select from pg_depend
            where objid = indexrelid and refobjid = indrelid and refobjsubid = attnum))
        """
    )
    never_changing = {"id", "app_id", "reference", "provider", "created_at"}
    assert {row["attname"] for row in rows} == never_changing


def test_a_walk_from_end_to_end_would_be_seen() -> None:
    seen = [{"Plan": {"Plans": [{"Node Type": "Seq Scan", "Relation Name": "jobs"}]}}]
    assert walked_through(seen) == {"jobs"}
