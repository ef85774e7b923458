"""`callboard serve`."""

import asyncio
from typing import Annotated

import typer
import uvicorn

from service import logs
from service import serve as service
from service.serve import Role
from service.settings import Settings


def serve(
    role: Annotated[Role, typer.Option(help="Answer HTTP, work in the background, or both.")] = (
        Role.ALL
    ),
) -> None:
    """Run the service until it is told to stop."""
    logs.set_up()
    # uvicorn's choice: uvloop where there is one, which answers an eighth more callbacks.
    with asyncio.Runner(loop_factory=uvicorn.Config("").get_loop_factory()) as runner:
        runner.run(service.run(Settings.read(), role))
