"""`callboard sandbox`: pretend providers on a port of this machine, until a signal comes."""

import asyncio
import signal
import sys
from typing import Annotated, Any

import typer

from service.errors import InvalidRequest
from service.sandbox.options import Options, changed
from service.sandbox.serve import running


def _share(what: str) -> Any:
    return typer.Option(metavar="SHARE", min=0, max=1, help=f"Share of jobs: {what}.")


def sandbox(
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8090,
    render_seconds: Annotated[float, typer.Option(min=0, help="How long a render takes.")] = 1.0,
    retention_seconds: Annotated[
        float, typer.Option(min=0, help="How long a job that ended is kept.")
    ] = 3600.0,
    callback_tries: Annotated[int, typer.Option(min=1, help="Tries for each callback.")] = 12,
    seed: Annotated[int | None, typer.Option(help="Makes the draws repeatable.")] = None,
    api_key: Annotated[str | None, typer.Option(help="The only key to accept.")] = None,
    lose: Annotated[float, _share("the callback is never sent")] = 0.0,
    duplicate: Annotated[float, _share("the callback is sent twice")] = 0.0,
    early: Annotated[float, _share("the callback comes before the submit reply")] = 0.0,
    reorder: Annotated[float, _share("the callback waits for another job's")] = 0.0,
    corrupt: Annotated[float, _share("the callback comes truncated first")] = 0.0,
    forge: Annotated[float, _share("a forged callback comes first")] = 0.0,
    drop_submit_reply: Annotated[float, _share("accepted, and the connection is cut")] = 0.0,
    error: Annotated[float, _share("the render fails")] = 0.0,
    slow: Annotated[float, _share("the render takes ten times as long")] = 0.0,
    null_payload: Annotated[float, _share("the callback carries no result")] = 0.0,
    ignore_cancel: Annotated[float, _share("a cancel is taken, and does nothing")] = 0.0,
    forget_canceled: Annotated[float, _share("canceled in the queue, it is unknown")] = 0.0,
) -> None:
    """Serve pretend providers that misbehave on request; GET /control shows what they saw."""
    given = {
        "render_seconds": render_seconds,
        "retention_seconds": retention_seconds,
        "lose": lose,
        "duplicate": duplicate,
        "early": early,
        "reorder": reorder,
        "corrupt": corrupt,
        "forge": forge,
        "drop_submit_reply": drop_submit_reply,
        "error": error,
        "slow": slow,
        "null_payload": null_payload,
        "ignore_cancel": ignore_cancel,
        "forget_canceled": forget_canceled,
    }
    base = Options(callback_tries=callback_tries, seed=seed, api_key=api_key)
    _run(_options(base, given), host, port)


def _options(base: Options, given: dict[str, float]) -> Options:
    try:
        return changed(base, given)
    except InvalidRequest as fault:
        wrong = fault.fields[0]
        flag = f"--{wrong.field.replace('_', '-')}"
        raise typer.BadParameter(wrong.message, param_hint=flag) from None


def _run(options: Options, host: str, port: int) -> None:
    try:
        asyncio.run(_serve(options, host, port))
    except OSError as fault:
        print(f"callboard sandbox cannot listen on {host}:{port}: {fault}", file=sys.stderr)
        raise typer.Exit(1) from None


async def _serve(options: Options, host: str, port: int) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, stop.set)
    async with running(options, port, host=host) as url:
        print(f"callboard sandbox listens on {url}", file=sys.stderr, flush=True)
        await stop.wait()
