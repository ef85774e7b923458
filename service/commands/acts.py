"""`callboard jobs cancel|resync|rerun|resolve|adopt`: what an operator does by hand."""

import asyncio
import sys
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any

import typer

from service import ids, jsontext
from service.commands.acting import Hands, hands
from service.commands.failures import FAILED
from service.commands.tables import moment, show_facts
from service.errors import NotFound
from service.settings import Settings

Id = Annotated[str, typer.Argument(metavar="ID", help="job_…")]
Json = Annotated[bool, typer.Option("--json", help="Print the job as JSON on stdout.")]
Reason = Annotated[str | None, typer.Option(help="Why; kept in the job's timeline.")]
Force = Annotated[
    bool, typer.Option("--force", help="Though an attempt may be alive; needs --reason.")
]
Attempt = Annotated[int | None, typer.Option(min=1, help="The attempt meant (the current one).")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask before it is paid for.")]


class Word(StrEnum):
    """What became of a POST."""

    ACCEPTED = "accepted"
    NOT_ACCEPTED = "not_accepted"


def cancel(job: Id, reason: Reason = None, as_json: Json = False) -> None:
    """End a job: at once while it is queued, else its provider is asked to."""
    _show(asyncio.run(_do("cancel", job, {"reason": reason})), as_json)


def resync(job: Id, reason: Reason = None, as_json: Json = False) -> None:
    """Ask the provider now; free. Of an ended job, the output's addresses are had anew."""
    _show(asyncio.run(_do("resync", job, {"reason": reason})), as_json)


def rerun(
    job: Id,
    attempt: Attempt = None,
    force: Force = False,
    reason: Reason = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Make a new attempt, which is paid for anew; shows the price first."""
    given = {"attempt": attempt, "force": force, "reason": reason}
    _show(asyncio.run(_do("rerun", job, given, paid=not yes)), as_json)


def resolve(
    job: Id,
    word: Annotated[Word, typer.Option("--as", help="What became of its POST.")],
    provider_id: Annotated[
        str | None, typer.Option(help="The id that the provider knows it under.")
    ] = None,
    attempt: Attempt = None,
    reason: Reason = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Settle an unconfirmed job. Not accepted: the next attempt follows, which is paid for."""
    given = {"as": word.value, "provider_id": provider_id, "attempt": attempt, "reason": reason}
    paid = word is Word.NOT_ACCEPTED and not yes
    _show(asyncio.run(_do("resolve", job, given, paid=paid)), as_json)


def adopt(
    job: Id,
    attempt: Annotated[int, typer.Option(min=1, help="The attempt whose success is taken.")],
    force: Force = False,
    reason: Reason = None,
    as_json: Json = False,
) -> None:
    """Take the success that an attempt has kept as the job's end."""
    given = {"attempt": attempt, "force": force, "reason": reason}
    _show(asyncio.run(_do("adopt", job, given)), as_json)


ACTS = (cancel, resync, rerun, resolve, adopt)


async def _do(
    name: str, job_id: str, given: Mapping[str, Any], *, paid: bool = False
) -> Mapping[str, Any]:
    """The job after the act. An attempt that is not said is the current one."""
    if ids.read("job", job_id) is None:
        problem = f"{job_id[:60]!r} is no job's id: it is job_ and 32 hex digits"
        raise NotFound(problem, code="not_found")
    body = {key: value for key, value in given.items() if value not in (None, False)}
    async with hands(Settings.read()) as board:
        if name in ("rerun", "resolve"):
            body = await _priced(board, job_id, body, paid=paid)
        return await board.act(name, job_id, body)


async def _priced(
    board: Hands, job_id: str, body: Mapping[str, Any], *, paid: bool
) -> dict[str, Any]:
    """The body with the attempt that it means, once whoever sits there has seen the price."""
    job = await board.job(job_id)
    if paid:
        cost = job["cost"] or {}
        amount = cost.get("estimate")
        price = f"about {amount} {cost['currency']}" if amount else "an amount that nobody knows"
        typer.echo(f"another attempt at {job_id} costs {price}", err=True)
        if sys.stdin.isatty() and not _agreed("pay for it?"):
            typer.echo("nothing was done", err=True)
            raise typer.Exit(FAILED)
    return {"attempt": job["attempt"], **body}


def _agreed(question: str) -> bool:
    """Asks on stderr: typer's own question leaves a space on stdout, which is for data."""
    typer.echo(f"{question} [y/N] ", err=True, nl=False)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _show(job: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        typer.echo(jsontext.dumps(job))
        return
    error = job["error"]
    cost = job["cost"]
    show_facts(
        [
            ("id", job["id"]),
            ("state", job["state"]),
            ("attempt", job["attempt"]),
            ("error", error and f"{error['code']}: {error['message']}"),
            *(("output", one["url"]) for one in job["outputs"]),
            ("cost", cost and f"{cost['actual'] or cost['estimate']} {cost['currency']}"),
            ("cancel requested", moment(job["cancel_requested_at"])),
        ]
    )
