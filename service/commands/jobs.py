"""`callboard jobs`: from the database, or from CALLBOARD_URL where it is set; see acts.py too."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from service import ids, jsontext
from service.commands import acts, timeline
from service.commands.failures import DONE, FAILED
from service.commands.local import LocalJobs
from service.commands.remote import RemoteJobs, key_to_service
from service.commands.tables import age, moment, plain, show_facts, show_table
from service.commands.timeline import JobSource
from service.errors import NotFound
from service.job import State
from service.opening import opened
from service.pooled import Asker
from service.settings import Settings
from service.web.access import DEFAULT_PER_PAGE, MOST_PER_PAGE

app = typer.Typer(no_args_is_help=True, help="Jobs: which there are, and each one's whole story.")
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
Id = Annotated[str, typer.Argument(metavar="ID", help="job_…")]
for act in acts.ACTS:
    app.command()(act)
HEADINGS = ("id", "state", "model", "learnt by", "age")


@contextlib.asynccontextmanager
async def source(settings: Settings) -> AsyncIterator[JobSource]:
    """Where the jobs are read. Raises SettingInvalid, DatabaseAway, DatabaseNewer."""
    async with contextlib.AsyncExitStack() as stack:
        if settings.callboard_url is None:
            yield LocalJobs(await stack.enter_async_context(opened(settings)))
            return
        asker = Asker()
        stack.push_async_callback(asker.aclose)
        key = key_to_service(settings)
        yield RemoteJobs(asker, settings.callboard_url, key)


@app.command("list")
def list_jobs(
    state: Annotated[State | None, typer.Option(help="Only those that stand there.")] = None,
    stuck: Annotated[
        bool, typer.Option("--stuck", help="Only open ones that are overdue.")
    ] = False,
    needs_action: Annotated[
        bool, typer.Option("--needs-action", help="Only unconfirmed and overdue ones.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, max=MOST_PER_PAGE)] = DEFAULT_PER_PAGE,
    after: Annotated[str | None, typer.Option(help="Older than this job.")] = None,
    as_json: Json = False,
) -> None:
    """Show jobs, newest first."""
    query = {"limit": str(limit)}
    query |= {} if state is None else {"state": state.value}
    query |= {} if after is None else {"after": after}
    query |= {"stuck": "true"} if stuck else {}
    query |= {"needs_action": "true"} if needs_action else {}
    page = asyncio.run(_page(query))
    if as_json:
        typer.echo(jsontext.dumps(page))
        return
    now = datetime.now(UTC)
    show_table(HEADINGS, [_row(job, now) for job in page["data"]], folding="model")
    if page["next"]:
        some = "there are more" if len(page["data"]) == limit else "there may be more"
        typer.echo(f"{some}: --after {page['next']}", err=True)
    elif not page["data"]:
        typer.echo("no such jobs", err=True)


async def _page(query: Mapping[str, str]) -> dict[str, Any]:
    async with source(Settings.read()) as jobs:
        return await jobs.page(query)


def _row(job: Mapping[str, Any], now: datetime) -> tuple[object, ...]:
    when = age(job["created_at"], now)
    return job["id"], _state(job), job["model"], job["learnt_by"], when


def _state(job: Mapping[str, Any]) -> str:
    marks = [name for name in ("stuck", "late") if job[name]]
    return f"{job['state']} ({', '.join(marks)})" if marks else str(job["state"])


@app.command()
def show(job: Id, as_json: Json = False) -> None:
    """Show one job and everything that happened to it."""
    found, happened = asyncio.run(_show(job))
    if as_json:
        typer.echo(jsontext.dumps(found | {"timeline": happened}))
        return
    show_facts(_facts(found))
    typer.echo()
    for entry in happened:
        typer.echo(timeline.line(entry, dated=True))


async def _show(job_id: str) -> tuple[dict[str, Any], list[timeline.Entry]]:
    async with source(Settings.read()) as jobs:
        return await jobs.job(_checked(job_id)), await jobs.timeline(job_id)


def _checked(job_id: str) -> str:
    """Raises NotFound where it cannot be a job's id."""
    if ids.read("job", job_id) is None:
        problem = f"{job_id[:60]!r} is no job's id: it is job_ and 32 hex digits"
        raise NotFound(problem, code="not_found")
    return job_id


def _facts(job: Mapping[str, Any]) -> list[tuple[str, object]]:
    error, cost, waiting = job["error"], job["cost"], job["waiting"]
    charged = (
        f"{error['code']}: {error['message']} (charged: {error['charged']})" if error else None
    )
    return [
        ("id", job["id"]),
        ("state", _state(job)),
        ("model", job["model"]),
        ("provider", job["provider"]),
        ("provider's id", job["provider_id"]),
        ("attempt", job["attempt"]),
        ("version", job["version"]),
        ("learnt by", job["learnt_by"]),
        ("error", charged),
        ("waiting", waiting and f"{waiting['code']}, until {moment(waiting['until'])}"),
        *(("output", one["url"]) for one in job["outputs"]),
        *(("warning", one) for one in job["warnings"]),
        ("cost", cost and f"{cost['actual'] or cost['estimate']} {cost['currency']}"),
        ("reference", job["reference"]),
        ("metadata", job["metadata"] and jsontext.dumps(job["metadata"])),
        ("notify_hook", job["notify_hook"]),
        ("created", moment(job["created_at"])),
        ("submitted", moment(job["submitted_at"])),
        ("finished", moment(job["finished_at"])),
        ("cancel requested", moment(job["cancel_requested_at"])),
        ("input", jsontext.dumps(job["input"])),
    ]


@app.command()
def watch(job: Id, as_json: Json = False) -> None:
    """Follow a job until it has ended; exits 0 where it completed, else 1.

    With --json, a line with the job after each of its moves; the last one is its end."""
    ended = asyncio.run(_watch(job, as_json))
    raise typer.Exit(DONE if ended["state"] == State.COMPLETED else FAILED)


async def _watch(job_id: str, as_json: bool) -> Mapping[str, Any]:
    job: Mapping[str, Any] = {}
    version = 0
    async with source(Settings.read()) as jobs:
        async for news in timeline.follow(jobs, _checked(job_id)):
            job = news.job
            if not as_json:
                for entry in news.entries:
                    typer.echo(timeline.line(entry, dated=True))
            elif job["version"] > version:
                version = job["version"]
                typer.echo(jsontext.dumps(job))
    if not as_json:
        for one in job["outputs"]:
            typer.echo(plain(one["url"]))
    return job
