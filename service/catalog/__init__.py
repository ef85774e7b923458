"""The models we know, one TOML file per provider, as frozen values."""

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Annotated, Any, ClassVar, Self

from pydantic import ConfigDict, Field, Strict, StringConstraints, TypeAdapter, ValidationError

from service.errors import SettingInvalid

UNLISTED_TYPICAL_SECONDS = 120.0

_Text = Annotated[str, StringConstraints(strict=True, pattern=r"^\S+$")]
_Day = Annotated[date, Strict()]
_Seconds = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One model of one provider.

    `typical_seconds` is how long a render usually takes, `deadline_seconds` how long after its
    POST it is due (None: the service's default), `retired_on` the day the provider shut it down.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    provider: _Text
    id: _Text
    category: _Text
    typical_seconds: _Seconds
    deadline_seconds: _Seconds | None = None
    retired_on: _Day | None = None


_MODEL = TypeAdapter(Model)


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """Every model, by provider and in the order of its file."""

    models: tuple[Model, ...]

    @classmethod
    def load(cls, folder: Traversable | None = None) -> Self:
        """Reads every `<provider>.toml` in `folder` (those beside this file where None).

        Raises SettingInvalid, which names the file and the key that is wrong.
        """
        found = (files(__name__) if folder is None else folder).iterdir()
        paths = sorted((path for path in found if path.name.endswith(".toml")), key=_name)
        return cls(models=tuple(model for path in paths for model in _read(path)))

    def find(self, model: str, provider: str | None = None) -> list[Model]:
        """The models with this id: of one provider, or of all that have it."""
        return [one for one in self.models if one.id == model and provider in (None, one.provider)]

    def typical_seconds(self, provider: str, model: str) -> float:
        """How long a render of this model usually takes; a guess where it is not listed."""
        found = self.find(model, provider)
        return found[0].typical_seconds if found else UNLISTED_TYPICAL_SECONDS


def _name(path: Traversable) -> str:
    return path.name


def _read(path: Traversable) -> Iterator[Model]:
    try:
        told = tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as fault:  # TOML's own, or bytes that are not UTF-8
        raise SettingInvalid(path.name, f"is not TOML: {fault}") from None
    rows = told.pop("model", [])
    if told:
        raise SettingInvalid(path.name, f"{sorted(told)[0]}: is not known here")
    if not isinstance(rows, list):
        raise SettingInvalid(path.name, "model: must be [[model]] tables")
    seen: set[str] = set()
    for number, row in enumerate(rows, start=1):
        model = _model(path, number, row)
        if model.id in seen:
            raise SettingInvalid(path.name, f"[[model]] {number}: id: {model.id} is there twice")
        seen.add(model.id)
        yield model


def _model(path: Traversable, number: int, row: Any) -> Model:
    provider = path.name.removesuffix(".toml")
    where = f"[[model]] {number}"
    if not isinstance(row, dict):
        raise SettingInvalid(path.name, f"{where}: must be a table")
    if "provider" in row:
        raise SettingInvalid(path.name, f"{where}: provider: is the file's name already")
    try:
        return _MODEL.validate_python({**row, "provider": provider})
    except ValidationError as fault:
        first = fault.errors(include_input=False, include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        raise SettingInvalid(path.name, f"{where}: {key}: {first['msg']}") from None
