"""The `callboard` command: parses, calls, prints."""

from collections.abc import Sequence

import typer

from service.commands import (
    callbacks,
    config,
    deliveries,
    events,
    failures,
    jobs,
    keys,
    migrate,
    models,
    providers,
    reconciliation,
    serve,
    subscriptions,
)
from service.commands.demo import demo
from service.commands.sandbox import sandbox

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # a traceback's locals would print secrets
    help="Submits renders once, hears how they ended, and tells your app.",
)
app.command()(serve.serve)
app.command()(migrate.migrate)
app.command()(sandbox)
app.command()(demo)
app.command()(reconciliation.reconciliation)
app.add_typer(jobs.app, name="jobs")
app.add_typer(subscriptions.app, name="subscriptions")
app.add_typer(deliveries.app, name="deliveries")
app.add_typer(callbacks.app, name="callbacks")
app.add_typer(events.app, name="events")
app.add_typer(models.app, name="models")
app.add_typer(providers.app, name="providers")
app.add_typer(keys.app, name="keys")
app.add_typer(config.app, name="config")


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command (None: as the shell gave it); what we raise on purpose ends in one line
    and an exit code."""
    with failures.told():
        app(arguments)


if __name__ == "__main__":
    main()
