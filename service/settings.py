"""Settings, read once from the environment at start. A bad one stops the start with its name.

Any variable may come from a file instead, named by `VARIABLE_FILE`; the environment goes before
`.env`, and in either a variable and its file together are refused.
"""

import os
import re
from contextlib import suppress
from ipaddress import ip_address, ip_network
from pathlib import Path
from secrets import token_hex, token_urlsafe
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from service.errors import SettingInvalid

_SHORTEST_SECRET = 16  # characters


def _split(value: Any) -> Any:
    """Comma-separated text as its parts, blanks left out."""
    if isinstance(value, str):
        return [part for part in (piece.strip() for piece in value.split(",")) if part]
    return value


def _http_url(value: str) -> str:
    with suppress(ValueError):  # urlsplit's own messages may quote the value
        parts = urlsplit(value)
        plain = parts.username is None and not re.search(r"[\s?#]", value)
        if plain and parts.scheme in ("http", "https") and parts.hostname and parts.port != 0:
            return value.rstrip("/")
    raise ValueError("must be an http:// or https:// address without a query, user or password")


def _postgres_url(value: SecretStr) -> SecretStr:
    scheme, _, rest = value.get_secret_value().partition("://")
    hosts = re.split(r"[/?#]", rest)[0].rpartition("@")[2]
    host = r"(\[[0-9A-Fa-f:.%]+\]|[^:\[\]\s]*)(:[0-9]+)?"
    if scheme not in ("postgres", "postgresql") or not all(
        re.fullmatch(host, one) for one in hosts.split(",")
    ):
        raise ValueError(
            "must be like postgresql://user:password@host:5432/name,"
            " with special characters percent-encoded"
        )
    return value


def _host(value: str) -> str:
    with suppress(ValueError):
        return str(ip_address(value))
    if not re.fullmatch(r"[A-Za-z0-9._-]+", value):
        raise ValueError("must be an address or a host name, without a port")
    return value


def _networks(value: tuple[str, ...]) -> tuple[str, ...]:
    with suppress(ValueError):
        return tuple(str(ip_network(network)) for network in value)
    raise ValueError(
        "must be networks such as 127.0.0.0/8, ::1/128, with no bit set after the prefix"
    )


def _long_enough(value: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
    if any(len(secret.get_secret_value()) < _SHORTEST_SECRET for secret in value):
        raise ValueError(f"each secret must have at least {_SHORTEST_SECRET} characters")
    return value


def _visible(value: SecretStr) -> SecretStr:
    if not re.fullmatch(r"[\x21-\x7e]+", value.get_secret_value()):
        raise ValueError("must be printable ASCII without spaces")
    return value


def _by_provider(value: Any) -> Any:
    """`fal=20, relay=5` as numbers by name."""
    pairs = [pair.partition("=") for pair in _split(value)] if isinstance(value, str) else value
    if isinstance(value, str):
        if not all(re.fullmatch(r"[a-z0-9_]+", name.strip()) for name, _, _ in pairs):
            raise ValueError("must be like fal=20,relay=5")
        return {name.strip(): number.strip() for name, _, number in pairs}
    return value


Url = Annotated[str, AfterValidator(_http_url)]
Secrets = Annotated[tuple[SecretStr, ...], NoDecode, BeforeValidator(_split)]
Networks = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split), AfterValidator(_networks)]


ByProvider = Annotated[
    dict[str, Annotated[int, Field(ge=1, le=1_000_000)]], NoDecode, BeforeValidator(_by_provider)
]


class _FileSource(PydanticBaseSettingsSource):
    """`NAME_FILE` beside what `named` reads: the value is the file's text, its last line ends
    removed."""

    def __init__(self, named: EnvSettingsSource) -> None:
        super().__init__(named.settings_cls)
        self.variables = named.env_vars

    def __call__(self) -> dict[str, Any]:
        texts = {name: self._text(name) for name in self.settings_cls.model_fields}
        return {name: text for name, text in texts.items() if text is not None}

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
        return self._text(field_name), field_name, False

    def _text(self, field_name: str) -> str | None:
        path = self.variables.get(f"{field_name}_file")
        if not path:
            return None
        name = field_name.upper()
        if self.variables.get(field_name) is not None:
            raise SettingInvalid(name, f"is set, and {name}_FILE is too: keep one of them")
        return _text_of(f"{name}_FILE", Path(path))


def _text_of(name: str, path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        raise SettingInvalid(name, f"{path} is not UTF-8 text") from None
    except (OSError, ValueError) as fault:
        problem = getattr(fault, "strerror", None) or "not a path"
        raise SettingInvalid(name, f"{path} cannot be read: {problem}") from None
    if not text.strip():
        raise SettingInvalid(name, f"{path} is empty")
    return text


class _Read(BaseSettings):
    model_config = SettingsConfigDict(
        env_ignore_empty=True, extra="ignore", frozen=True, hide_input_in_errors=True
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        named = [s for s in (env_settings, dotenv_settings) if isinstance(s, EnvSettingsSource)]
        return init_settings, *(each for source in named for each in (source, _FileSource(source)))

    @classmethod
    def read(cls, **given: Any) -> Self:
        """The settings from the environment, and from `.env` where there is one; `given` wins.

        Raises SettingInvalid, which names the variable and what it should be; never its value.
        """
        try:
            return cls(**{"_env_file": ".env", **given})
        except (OSError, UnicodeDecodeError):
            raise SettingInvalid(".env", "cannot be read as UTF-8 text") from None
        except ValidationError as fault:
            first = fault.errors(include_input=False, include_url=False)[0]
            name = str(first["loc"][0]).upper() if first["loc"] else "settings"
            raise SettingInvalid(name, first["msg"].removeprefix("Value error, ")) from None


class ProviderSettings(_Read):
    """The environment variables of one provider; its file declares them."""


class Settings(_Read):
    """What `.env.example` lists, less the providers' own."""

    database_url: Annotated[SecretStr, AfterValidator(_postgres_url)] | None = None
    callboard_data_dir: Path = Path(".callboard")
    callboard_public_url: Url | None = None
    callboard_secrets: Annotated[Secrets, AfterValidator(_long_enough)] = ()
    callboard_host: Annotated[str, AfterValidator(_host)] = "127.0.0.1"
    callboard_port: int = Field(default=8080, ge=0, le=65535)
    callboard_allow_private_webhooks: Networks = ()
    callboard_deadline_seconds: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    callboard_give_up_seconds: float = Field(default=86400, gt=0, allow_inf_nan=False)
    callboard_unconfirmed_seconds: float = Field(default=10800, gt=0, allow_inf_nan=False)
    callboard_poll_seconds: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    callboard_lease_seconds: float = Field(default=60, ge=3, le=3600)
    callboard_in_flight: ByProvider = Field(default={})
    callboard_polls_per_second: float = Field(default=100, gt=0, le=100_000)
    callboard_url: Url | None = None
    callboard_api_key: Annotated[SecretStr, AfterValidator(_visible)] | None = None


def secrets(settings: Settings) -> tuple[str, ...]:
    """The signing secrets, newest first: CALLBOARD_SECRETS, else those kept in the data dir, made
    there at the first start. Safe when several processes start at once.

    Raises SettingInvalid where DATABASE_URL is set and they are not (every process of a shared
    database needs the same ones), or where the data dir cannot keep them.
    """
    if settings.callboard_secrets:
        return tuple(secret.get_secret_value() for secret in settings.callboard_secrets)
    if settings.database_url is not None:
        raise SettingInvalid("CALLBOARD_SECRETS", "must be set where DATABASE_URL is")
    path = settings.callboard_data_dir / "secrets"
    try:
        if not path.exists():
            _keep_new_secret(path)
        kept = tuple(_split(path.read_text(encoding="utf-8")))
    except OSError as fault:
        problem = f"{path} cannot be kept: {fault.strerror}"
        raise SettingInvalid("CALLBOARD_DATA_DIR", problem) from None
    except UnicodeDecodeError:
        kept = ()
    if not kept or any(len(secret) < _SHORTEST_SECRET for secret in kept):
        problem = f"{path} must hold secrets of at least {_SHORTEST_SECRET} characters"
        raise SettingInvalid("CALLBOARD_SECRETS", problem)
    return kept


def _keep_new_secret(path: Path) -> None:
    """Writes a new secret to `path`, whole and on disk, unless another process was first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".secrets-{token_hex(8)}")
    try:
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(token_urlsafe(48) + "\n")
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):  # a link, unlike a rename, never replaces another's secret
            os.link(draft, path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # what is encrypted under it must not outlive the secret's name
        finally:
            os.close(folder)
    finally:
        draft.unlink(missing_ok=True)
