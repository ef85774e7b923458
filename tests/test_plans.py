"""How Postgres goes about our queries in a database with a past: by index, never through it all."""

import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import asyncpg
import filled
import pytest
from filled import APP, OTHER_APP
from plan_nodes import nodes, rows_met, rows_sorted, walked_through
from planned import BY_INDEX, OF_SUBSCRIBERS, OF_THE_FEED

from service.database import load_queries, migrate

QUERIES = load_queries()
FIRST, LAST = "'00000000-0000-0000-0000-000000000000'", "'ffffffff-ffff-ffff-ffff-ffffffffffff'"
# The ids of a quarter of an hour, some 800 jobs.
SOON, LATER = (f"'{(1700000000000 + n * 1000) << 80:032x}'" for n in (200, 1000))
NOBODY = "00000000-0000-7000-8000-000000000009"
JOB = f"'{NOBODY}'"
NONE = ["null"] * 5
CALLS = [FIRST, LAST, "4096"]
# What each is run with, as SQL.
RUNS: dict[str, list[str]] = {
    "find_key": ["sha256('7')"],
    "find_idempotent": [f"'{APP}'", "'key-5'"],
    "get_job": [JOB],
    "find_event": [JOB, JOB],
    "timeline_of_job": [JOB],
    "list_jobs": [f"'{APP}'", FIRST, LAST, *NONE, "51"],
    "list_jobs of nobody": [f"'{NOBODY}'", FIRST, LAST, *NONE, "51"],
    "list_jobs of a state": [f"'{APP}'", FIRST, LAST, "'submitted'", *NONE[1:], "51"],
    "list_jobs of a reference": [
        *(f"'{APP}'", FIRST, LAST, "null", "null", "null", "'order-3'", "null", "51")
    ],
    "list_all_jobs": [FIRST, LAST, *NONE, "51"],
    "list_open_jobs": [f"'{APP}'", FIRST, LAST, *NONE, "true", "51"],
    "list_open_jobs of every app": ["null", FIRST, LAST, *NONE, "false", "51"],
    "get_callback": [JOB],
    "list_callbacks": [*CALLS, "null", "null", "null", "51"],
    "list_callbacks of a verdict": [*CALLS, "'fal'", "'accepted'", "null", "51"],
    "list_unwelcome_callbacks": [*CALLS, "null", "'refused'", "null", "51"],
    "list_unwelcome_callbacks of a reason": [*CALLS, "null", "null", "'unknown_job'", "51"],
    "list_callbacks_of_job": [*CALLS, "null", "null", "null", "51", JOB, f"'{APP}'"],
    "list_callbacks_of_app": [*CALLS, "null", "null", "null", "51", f"'{APP}'"],
    "list_callbacks_of_app of few": [*CALLS, "null", "null", "null", "51", f"'{OTHER_APP}'"],
    "list_callbacks_of_app of nobody": [*CALLS, "null", "null", "null", "51", JOB],
    "list_unwelcome_callbacks_of_app": [*CALLS, "null", "'refused'", "null", "51", f"'{APP}'"],
    "find_meant": ["'fal'", "'req-5'", JOB, "1"],
    "waiting_callbacks": ["'fal'", "'req-of-nobody-2000'", "100"],
    "callbacks_whose_job_came": ["100"],
    "forget_callbacks": ["604800", "500"],
    "refusals_of_open_jobs": ["3600"],
    "find_attempt": ["'fal'", "'req-5'"],
    "list_subscriptions": [f"'{APP}'", FIRST, "51"],
    "claim_submits": ["60", "'{fal,relay}'", "'{32,1}'", "'{20,null}'"],
    "claim_asks": ["60", "'{fal,relay}'", "'{32,1}'", "'{poll,late}'"],
    "claim_asks in doubt": ["60", "'{fal,relay}'", "'{32,32}'", "'{sending,give_up}'"],
    "rooms": ["'{}'", "0"],
    "rooms counted": ["'{fal,relay}'", "10000"],
    "try_providers": [],
    "watch_job": [JOB, "50", "3"],
    "request_cancel": [JOB, "1", JOB, "'key_1'", "null", "'{}'"],
    "hasten_poll": [JOB],
    "note_act": [JOB, JOB, "1", "'rerun'", "'key_1'", "null", "'{}'", JOB],
    "tell_act": [JOB, JOB, "'{}'"],
    "standing_of_job": [JOB],
    "note_poll": [JOB, JOB, "1", "5", "'running'", "null", "null"],
    "name_late": [JOB, "1", "'req-5'", "60", JOB, "'key_1'", "null", "'{}'"],
    "refresh_output": [JOB, "1", "'{}'", "'[]'"],
    "take_success": [JOB, "1", JOB, "'{}'", "'[]'", "'2026-01-31'"],
    "answer_cancel": [JOB, "1", "'requested'"],
    "tell_stuck": [JOB, "3", JOB],
    "finish_asks": [
        *(f"'{{{JOB[1:-1]}}}'", "'{1}'", "'{1}'", "'{5}'", f"'{{{JOB[1:-1]}}}'", "'{3}'"),
        *("'{running}'", "'{null}'", "'{null}'", "3"),
    ],
    "delay_submit": [JOB, "1", "5"],
    "claim_deliveries": ["64", "30", f"'{{{APP}}}'", "'{1}'", "32", "2", "16"],
    "claim_staged": [f"'{{{NOBODY}}}'", "64", "30", "32", "'{}'", "'{}'"],
    "finish_deliveries": [
        *(f"'{{{NOBODY},{NOBODY}}}'", f"'{{{NOBODY},{NOBODY}}}'", "'{1,1}'"),
        *("'{succeeded,pending}'", "'{200,500}'", "'{3,3}'", "'{null,null}'", "'{null,null}'"),
        *("'{0,5}'", "'{false,false}'", "'{0,0}'", "432000"),
    ],
    "place_events": ["60"],
    "note_reading": ["10"],
    "reconcile": [f"'{APP}'", SOON, LATER, "600", "''", "''", "51"],
    "reconcile of all apps": ["null", SOON, LATER, "600", "''", "''", "51"],
    "count_stranger_calls": [FIRST, LAST],
    "look_for_silence": ["'{fal,relay}'", "5", "600"],
    "measure_work": ["10000"],
    "measure_risk": [],
    "measure_backlog": ["10000"],
}
PLACES, DUE = 32, 5  # of each kind, in CLAIMS and in the database
CLAIMS = {
    "claim_submits": ["60", "'{fal,relay}'", "'{32,1}'", "'{null,null}'"],
    "claim_asks": ["60", "'{fal,relay}'", "'{32,1}'", "'{poll,late}'"],
}
MET_EACH = 2  # found by its time, and again by its key to be leased
RUNS |= OF_SUBSCRIBERS | OF_THE_FEED
CUSTOM, GENERIC = "force_custom_plan", "force_generic_plan"


@pytest.fixture(scope="module")
async def past(server: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection to a database of this file's own, filled."""
    name = f"callboard_plans_{uuid4().hex[:12]}"
    connection = await asyncpg.connect(server)
    await connection.execute(f"create database {name}")
    before, mark, query = server.partition("?")
    url = f"{before.rpartition('/')[0]}/{name}{mark}{query}"
    await migrate(url)
    there = await asyncpg.connect(url, statement_cache_size=0)
    await filled.fill(there)
    yield there
    await there.close()
    await connection.execute(f"drop database {name} (force)")
    await connection.close()


async def plan(
    past: asyncpg.Connection, name: str, values: list[str], mode: str, *, run: bool = False
) -> Any:
    """The plan of a query, prepared as asyncpg prepares it for these values; with `run`, what came
    of it too. Whatever it does is undone."""
    text = QUERIES[name.partition(" ")[0]]
    prepared = await past.prepare(text)
    types = ", ".join(one.name for one in prepared.get_parameters())
    listed = f"({', '.join(values)})" if values else ""
    await past.execute(f"set plan_cache_mode = {mode}")
    await past.execute(f"prepare one {f'({types})' if types else ''} as {text}")
    try:
        undo = past.transaction()
        await undo.start()
        try:
            how = f"(format json, analyze {run}, timing off)"
            return json.loads(await past.fetchval(f"explain {how} execute one{listed}"))
        finally:
            await undo.rollback()
    finally:
        await past.execute("deallocate one")


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


def test_a_walk_from_end_to_end_would_be_seen() -> None:
    seen = [{"Plan": {"Plans": [{"Node Type": "Seq Scan", "Relation Name": "jobs"}]}}]
    assert walked_through(seen) == {"jobs"}
