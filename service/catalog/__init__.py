"""The models we know, one TOML file per provider, as frozen values."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Self

from service.catalog.model import Model, ProviderFacts
from service.catalog.reading import read

__all__ = ("UNLISTED_TYPICAL_SECONDS", "Catalog", "Model", "ProviderFacts")

UNLISTED_TYPICAL_SECONDS = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """Every model, by provider and in the order of its file, and what holds for each provider."""

    models: tuple[Model, ...]
    providers: Mapping[str, ProviderFacts] = field(default_factory=dict)

    @classmethod
    def load(cls, folder: Traversable | None = None) -> Self:
        """Reads every `<provider>.toml` in `folder` (those beside this file where None).

        Raises SettingInvalid, which names the file and the key that is wrong.
        """
        found = (files(__name__) if folder is None else folder).iterdir()
        paths = sorted((path for path in found if path.name.endswith(".toml")), key=_name)
        told = [read(path) for path in paths]
        return cls(
            models=tuple(model for one in told for model in one.models),
            providers={one.provider: one.facts for one in told},
        )

    def find(self, model: str, provider: str | None = None) -> list[Model]:
        """The models with this id: of one provider, or of all that list it. A provider that takes
        any name has one for each, `open`, but only where it is named."""
        found = [one for one in self.models if one.id == model and provider in (None, one.provider)]
        stand_in = None if provider is None else self.facts(provider).open
        if not found and stand_in is not None:
            return [replace(stand_in, id=model)]
        return found

    def facts(self, provider: str) -> ProviderFacts:
        """What holds for all of a provider's models; nothing where the catalog has none."""
        return self.providers.get(provider) or ProviderFacts()

    def secret_fields(self) -> dict[str, frozenset[str]]:
        """What each provider's models take in secret, by provider: of an unlisted model too, since
        nobody knows better of it."""
        return {name: facts.secret_fields for name, facts in self.providers.items()}

    def typical_seconds(self, provider: str, model: str) -> float:
        """How long a render of this model usually takes; a guess where it is not listed."""
        found = self.find(model, provider)
        return found[0].typical_seconds if found else UNLISTED_TYPICAL_SECONDS


def _name(path: Traversable) -> str:
    return path.name
