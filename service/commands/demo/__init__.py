"""`callboard demo`: four jobs through everything that can happen to a callback, checked."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.console import Console

from service import jsontext
from service.commands.demo import report
from service.commands.demo.cases import CASES, Case
from service.commands.demo.ending import Ending
from service.commands.demo.job import run_case
from service.commands.demo.stage import Stage, staged
from service.commands.demo.subscriber import Event
from service.commands.failures import DONE, FAILED
from service.commands.tables import plain
from service.errors import CallboardError
from service.logs import redacted

TAIL_LINES = 40
Tell = Callable[[str], None]


def demo(
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave everything running until Ctrl-C.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the outcome as JSON on stdout, the story beside.")
    ] = False,
) -> None:
    """Show it all at work: a lost, a repeated and a forged callback, against a sandbox."""
    console = Console(stderr=as_json, highlight=False, markup=False, emoji=False, soft_wrap=True)

    def tell(text: str) -> None:
        with suppress(OSError, SystemExit):  # nobody reads on: what was started must still be ended
            console.print(text, style="bold" if text.startswith("\n") else None)

    raise typer.Exit(asyncio.run(run(tell, keep=keep, as_json=as_json)))


async def run(
    tell: Tell, *, keep: bool = False, as_json: bool = False, cases: Sequence[Case] = CASES
) -> int:
    """The exit code: 0 all as it must be, 1 not, 128 and the signal's number where one came."""
    ending, stack, code = Ending(), AsyncExitStack(), None
    folder = Path(stack.enter_context(TemporaryDirectory(prefix="callboard-")))
    log = folder / "serve.log"
    try:
        stage = await stack.enter_async_context(staged(folder, log, tell, _heard(tell)))
        code = await _play(stage, cases, tell, as_json=as_json)
        if code != DONE:
            _tell_tail(tell, log)
        if keep:
            await _kept(stage, tell, log)
    except asyncio.CancelledError:
        if ending.number is None:
            raise
        code = 128 + ending.number if code is None else code
    except CallboardError as fault:
        _tell_tail(tell, log)
        tell(f"\nWRONG: {plain(redacted(str(fault)))}")
        code = FAILED
    except Exception:
        _tell_tail(tell, log)
        raise
    finally:
        ending.begun = True
        tell("\nstopping everything")
        await stack.aclose()
        ending.over()
    return code


async def _play(stage: Stage, cases: Sequence[Case], tell: Tell, *, as_json: bool) -> int:
    """Runs the cases one by one, shows what came of them, and says what is wrong."""
    outcomes = [await run_case(stage, case, tell) for case in cases]
    faults = [fault for outcome in outcomes for fault in outcome.faults()]
    faults += [f"an event did not verify: {one}" for one in stage.subscriber.refused]
    accepted = (await stage.control())["totals"]["accepted"]
    if accepted != len(cases):
        faults.append(f"the provider accepted {accepted} submissions for {len(cases)} jobs")
    tell("\nwhat came of it")
    if as_json:
        typer.echo(jsontext.dumps([outcome.as_dict() for outcome in outcomes]))
    else:
        report.show(outcomes)
    for fault in faults:
        tell(f"WRONG: {plain(fault)}")
    tell("not everything is as it must be" if faults else "everything is as it must be")
    return FAILED if faults else DONE


def _heard(tell: Tell) -> Callable[[Event], None]:
    return lambda event: tell(f"  the subscriber verified {event.type} {event.id}")


async def _kept(stage: Stage, tell: Tell, log: Path) -> None:
    """Says where everything is, and waits for a signal."""
    tell("\neverything goes on running; Ctrl-C ends it")
    tell(f"  export CALLBOARD_URL={stage.url} CALLBOARD_API_KEY={stage.key}")
    tell(f"  the sandbox: {stage.sandbox}/control")
    tell(f"  the service's log: {log}")
    await asyncio.Event().wait()


def _tell_tail(tell: Tell, log: Path) -> None:
    if log.exists():
        tell("\nthe end of the service's log")
        for line in log.read_text(errors="replace").splitlines()[-TAIL_LINES:]:
            tell(f"  {plain(redacted(line))}")
