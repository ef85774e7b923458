"""`.env.example` tells the truth: every variable, its default, and whether it is secret."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic_core import PydanticUndefined

from service import providers
from service.errors import SettingInvalid
from service.settings import ProviderSettings, Settings

ROOT = Path(__file__).parent.parent
EXAMPLE = (ROOT / ".env.example").read_text()
CLASSES: tuple[type[Settings | ProviderSettings], ...] = (
    Settings,
    *(providers.settings_of(name) for name in providers.names()),
)
# It must tell of these; a further provider's variables `callboard config show` lists by itself.
PROVIDERS = ("fal", "genviral", "prism", "relay")
LONG = "a-secret-of-more-than-16-characters"


@dataclass(frozen=True, slots=True)
class Shown:
    """One variable as `.env.example` shows it."""

    name: str
    example: str
    default: str
    secret: bool


def shown() -> list[Shown]:
    line = r"^# Default: (\S+?)(?: \([^)]*\))?\. Secret: (yes|no)\.\n#([A-Z_]+)=(.+)$"
    return [
        Shown(name=name, example=example, default=default, secret=secret == "yes")
        for default, secret, name, example in re.findall(line, EXAMPLE, re.MULTILINE)
    ]


def fields() -> dict[str, Any]:
    return {name.upper(): field for c in CLASSES for name, field in c.model_fields.items()}


@pytest.fixture(autouse=True)
def empty(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No variable of ours in the environment, and an empty directory to stand in."""
    for name in fields():
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(f"{name}_FILE", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def plain(default: Any) -> str:
    """A default as `.env.example` prints it."""
    if default is None or default in ((), {}):
        return "none"
    return f"{default:g}" if isinstance(default, float) else str(default)


def wanted() -> list[str]:
    """What it must list: all of the service's variables and of those providers'; and all of a
    further provider's where it lists one of them."""
    listed = {variable.name.lower() for variable in shown()}
    further = [name for name in providers.names() if name not in PROVIDERS]
    told = [name for name in further if listed & providers.settings_of(name).model_fields.keys()]
    classes = [Settings, *(providers.settings_of(name) for name in (*PROVIDERS, *told))]
    return sorted(name.upper() for one in classes for name in one.model_fields)


def test_the_example_lists_every_variable_once_and_no_other() -> None:
    assert sorted(variable.name for variable in shown()) == wanted()
    assert sorted(re.findall(r"^#?\s*([A-Z_]+)=", EXAMPLE, re.MULTILINE)) == wanted()


def test_no_two_classes_read_the_same_variable() -> None:
    assert len(fields()) == sum(len(c.model_fields) for c in CLASSES)


@pytest.mark.parametrize("variable", shown(), ids=lambda variable: variable.name)
def test_the_example_tells_each_default_and_secret(variable: Shown) -> None:
    field = fields()[variable.name]
    assert field.default is not PydanticUndefined
    assert variable.default == plain(field.default)
    assert variable.secret == ("SecretStr" in repr(field))


def test_the_example_copied_unedited_changes_nothing(empty: Path) -> None:
    (empty / ".env").write_text(EXAMPLE)
    for read in CLASSES:
        assert read.read() == read()
        assert all(
            getattr(read.read(), name) == field.default for name, field in read.model_fields.items()
        )


def test_the_examples_are_good_values_and_no_one_elses_secrets(empty: Path) -> None:
    uncommented = re.sub(r"^#([A-Z_]+=)", r"\1", EXAMPLE, flags=re.MULTILINE)
    (empty / ".env").write_text(uncommented)
    with pytest.raises(SettingInvalid, match=r"^CALLBOARD_SECRETS: "):
        Settings.read()
    (empty / ".env").write_text(re.sub(r"<newest>,<previous>", LONG, uncommented))
    for read in CLASSES:
        read.read()
    for variable in shown():
        assert variable.secret == ("<" in variable.example), variable.name


@pytest.mark.parametrize("variable", shown(), ids=lambda variable: variable.name)
def test_any_variable_may_come_from_a_file(
    variable: Shown, empty: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = next(c for c in CLASSES if variable.name.lower() in c.model_fields)
    value = LONG if variable.name == "CALLBOARD_SECRETS" else variable.example
    monkeypatch.setenv(variable.name, value)
    direct = read.read()
    monkeypatch.delenv(variable.name)
    (empty / "value").write_text(f"{value}\n")
    monkeypatch.setenv(f"{variable.name}_FILE", str(empty / "value"))
    assert read.read() == direct
    assert getattr(direct, variable.name.lower()) != fields()[variable.name].default


def test_a_secret_is_never_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in shown():
        if variable.secret:
            hidden = "postgres://hidden@h/n" if variable.name == "DATABASE_URL" else "hidden" * 4
            monkeypatch.setenv(variable.name, hidden)
    for read in CLASSES:
        settings = read.read()
        assert "hidden" not in f"{settings!r} {settings} {settings.model_dump()}"
        assert "hidden" not in settings.model_dump_json()
