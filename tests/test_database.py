"""service/database.py: the queries, the migrations, and what the schema itself refuses."""

import asyncio
import re
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest
from waiting import until

from service import database
from service.database import Database, load_queries, migrate
from service.errors import DatabaseAway, DatabaseNewer
from service.job import MOVES, REPORTED

SLEEP = "select pg_sleep(60) -- {}"
ASLEEP = """
select pid from pg_stat_activity
where query like $1 and state = 'active' and pid <> pg_backend_pid()
"""


@pytest.mark.parametrize("name", sorted(load_queries()))
async def test_every_query_is_good_on_the_migrated_database(db: Database, name: str) -> None:
    async with db.pool.acquire() as connection:
        await connection.prepare(load_queries()[name])


async def test_the_transitions_table_and_the_code_say_the_same(db: Database) -> None:
    rows = await db.pool.fetch("select was, now, reported from transitions")
    assert {(row["was"], row["now"]) for row in rows} == {
        (was.value, now.value) for was, moves in MOVES.items() for now in moves
    }
    assert {(row["was"], row["now"]) for row in rows if row["reported"]} == {
        (was.value, now.value) for was, moves in REPORTED.items() for now in moves
    }


async def test_the_history_may_hold_just_the_moves_in_the_transitions_table(db: Database) -> None:
    rule = await db.pool.fetchval(
        "select pg_get_constraintdef(oid) from pg_constraint where conname = 'history_is_legal'"
    )
    legal = {tuple(pair.split()) for pair in re.findall(r"'(\w+ \w+)'", rule)}
    rows = await db.pool.fetch("select was, now from transitions")
    assert legal == {(row["was"], row["now"]) for row in rows}


async def test_a_query_is_one_statement_and_nothing_follows_it(dsn: str, db: Database) -> None:
    own = await Database.connect(dsn, size=1)
    try:
        pid = await own.pool.fetchval("select pg_backend_pid()")
        await own.rows("secrets_of_job", UUID(int=0))
        last = await db.pool.fetchval("select query from pg_stat_activity where pid = $1", pid)
        assert last == own.queries["secrets_of_job"]
    finally:
        await own.close()


async def test_migrating_again_changes_nothing(dsn: str) -> None:
    assert await migrate(dsn) == []


async def test_a_database_newer_than_the_code_is_refused(dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("insert into migrations values ('9999_tomorrow', now())")
        with pytest.raises(DatabaseNewer, match="9999_tomorrow"):
            await migrate(dsn)
    finally:
        await connection.execute("delete from migrations where name = '9999_tomorrow'")
        await connection.close()


async def test_a_database_that_is_not_there_is_away_and_its_password_is_not_told() -> None:
    with pytest.raises(DatabaseAway) as away:
        await migrate("postgresql://someone:hunter2hunter2@127.0.0.1:9/none")
    assert "hunter2" not in str(away.value)


def test_a_query_named_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.sql").write_text("-- name: one\nselect 1;\n-- name: one\nselect 2;\n")
    with pytest.raises(ValueError, match="one a second time"):
        load_queries(tmp_path)


def test_text_before_the_first_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.sql").write_text("select 1;\n-- name: one\nselect 2;\n")
    with pytest.raises(ValueError, match="before its first name"):
        load_queries(tmp_path)


async def test_what_is_shown_of_a_job_leaves_out_no_column(db: Database) -> None:
    """A view keeps the columns that its tables had when it was made."""
    rows = await db.pool.fetch(
        "select attrelid::regclass::text as it, attname as column from pg_attribute"
        " where attnum > 0 and not attisdropped"
        " and attrelid = any (array['jobs', 'jobs_shown']::regclass[])"
    )
    of = {
        one: {row["column"] for row in rows if row["it"] == one} for one in {r["it"] for r in rows}
    }
    assert of["jobs"] < of["jobs_shown"]


def test_the_migrations_are_numbered_without_a_gap() -> None:
    names = sorted(path.stem for path in (database._sql_folder() / "migrations").glob("*.sql"))
    assert [int(name[:4]) for name in names] == list(range(1, len(names) + 1))


async def test_a_short_batch_is_not_planned_anew_each_time(dsn: str) -> None:
    own = await Database.connect(dsn, size=1)
    try:
        for _ in range(3):
            await own.rows("finish_asks", *([[]] * 9), 3.0)
            await own.rows("secrets_of_job", UUID(int=0))
        made = await own.pool.fetchrow(
            "select sum(custom_plans) as anew, sum(generic_plans) as once"
            " from pg_prepared_statements where statement = $1 or statement = $2",
            *(own.queries["finish_asks"], own.queries["secrets_of_job"]),
        )
        assert (made["anew"], made["once"]) == (0, 6)
    finally:
        await own.close()


@pytest.mark.parametrize("many", [False, True])
async def test_who_is_canceled_as_the_connection_breaks_is_canceled(
    dsn: str, db: Database, many: bool
) -> None:
    name = f"it sleeps {many}"
    asleep = Database(
        (await Database.connect(dsn, size=1)).connections, {"nap": SLEEP.format(name)}
    )
    task = asyncio.create_task(asleep.together(("nap", ())) if many else asleep.rows("nap"))

    async def sleeps() -> bool:
        return bool(await db.pool.fetchval(ASLEEP, f"%{name}%"))

    await until(sleeps)
    pid = await db.pool.fetchval(ASLEEP, f"%{name}%")
    task.cancel()
    asleep.pool.terminate()
    with pytest.raises(asyncio.CancelledError):
        await task
    await db.pool.execute("select pg_terminate_backend($1)", pid)
