"""`callboard config show`: what the settings are, and where each one came from."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer
from pydantic_settings import DotEnvSettingsSource, EnvSettingsSource

from service import jsontext, providers
from service.commands.tables import show_table
from service.settings import ProviderSettings, Settings

app = typer.Typer(no_args_is_help=True, help="The settings.")
Read = type[Settings] | type[ProviderSettings]


@app.callback()
def config() -> None:
    """The settings."""


@app.command()
def show(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")] = False,
) -> None:
    """Show every setting with its value, secrets as ***, and where it came from."""
    rows = [row for read in classes() for row in _rows(read)]
    if as_json:
        typer.echo(jsontext.dumps(rows))
        return
    shown = [(row["name"], row["value"], row["source"]) for row in rows]
    show_table(("setting", "value", "from"), shown, folding="from")


def classes() -> list[Read]:
    """Every class of settings there is."""
    return [Settings, *(providers.settings_of(name) for name in providers.names())]


def _rows(read: Read) -> list[dict[str, Any]]:
    """Raises SettingInvalid."""
    settings = read.read()
    sources = (
        ("environment", EnvSettingsSource(read).env_vars),
        (".env", DotEnvSettingsSource(read, env_file=".env").env_vars),
    )
    return [
        {
            "name": name.upper(),
            "value": _shown(getattr(settings, name), secret="SecretStr" in repr(field)),
            "source": _source(name, sources),
            "secret": "SecretStr" in repr(field),
        }
        for name, field in read.model_fields.items()
    ]


def _shown(value: Any, *, secret: bool) -> str | None:
    if value is None or value == ():
        return None
    if secret:
        return "***"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return ",".join(value) if isinstance(value, tuple) else str(value)


def _source(name: str, sources: tuple[tuple[str, Mapping[str, str | None]], ...]) -> str:
    """In the order in which they are read: the first that has it wins."""
    for where, variables in sources:
        if variables.get(name) is not None:
            return where
        path = variables.get(f"{name}_file")
        if path:
            return f"{path} ({name.upper()}_FILE in {where})"
    return "default"
