"""The `callboard` command: parses, calls, prints."""

import typer

from service.commands import failures, keys, migrate, serve
from service.commands.sandbox import sandbox

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # a traceback's locals would print secrets
    help="Submits renders once, hears how they ended, and tells your app.",
)
app.command()(serve.serve)
app.command()(migrate.migrate)
app.command()(sandbox)
app.add_typer(keys.app, name="keys")


def main() -> None:
    """Runs the command; what we raise on purpose ends in one line and an exit code."""
    with failures.told():
        app()


if __name__ == "__main__":
    main()
