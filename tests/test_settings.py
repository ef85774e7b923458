"""Settings: a bad value is named and never shown, and the signing secrets are the same for every
process."""

import stat
import subprocess
import sys
from pathlib import Path
from subprocess import PIPE

import pytest

from service import providers
from service.errors import SettingInvalid
from service.settings import ProviderSettings, Settings, _keep_new_secret, secrets

CLASSES: tuple[type[Settings | ProviderSettings], ...] = (
    Settings,
    *(providers.settings_of(name) for name in providers.names()),
)
LONG = "a-secret-of-more-than-16-characters"


@pytest.fixture(autouse=True)
def empty(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No variable of ours in the environment, and an empty directory to stand in."""
    for name in (name.upper() for read in CLASSES for name in read.model_fields):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(f"{name}_FILE", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


BAD = [
    ("DATABASE_URL", "mysql://me:hidden@host/hidden"),
    ("DATABASE_URL", "host=hidden"),
    ("DATABASE_URL", "postgres://me:hid#den@host/name"),
    ("DATABASE_URL", "postgres://me:hid/den@host/name"),
    ("CALLBOARD_PUBLIC_URL", "hidden.example.com"),
    ("CALLBOARD_PUBLIC_URL", "ftp://hidden"),
    ("CALLBOARD_PUBLIC_URL", "https://"),
    ("CALLBOARD_PUBLIC_URL", "https://hidden/?a=b"),
    ("CALLBOARD_PUBLIC_URL", "https://me:hidden@host"),
    ("CALLBOARD_PUBLIC_URL", "https://host:hidden"),
    ("CALLBOARD_PUBLIC_URL", "https://hidden℀.com"),
    ("CALLBOARD_SECRETS", "hidden"),
    ("CALLBOARD_SECRETS", f"{LONG},hidden"),
    ("CALLBOARD_HOST", "http://hidden"),
    ("CALLBOARD_HOST", "hidden:80"),
    ("CALLBOARD_PORT", "hidden"),
    ("CALLBOARD_PORT", "65536"),
    ("CALLBOARD_PORT", "-1"),
    ("CALLBOARD_ALLOW_PRIVATE_WEBHOOKS", "hidden"),
    ("CALLBOARD_ALLOW_PRIVATE_WEBHOOKS", "127.0.0.1/8"),
    ("CALLBOARD_DEADLINE_SECONDS", "0"),
    ("CALLBOARD_DEADLINE_SECONDS", "inf"),
    ("CALLBOARD_GIVE_UP_SECONDS", "nan"),
    ("CALLBOARD_UNCONFIRMED_SECONDS", "hidden"),
    ("CALLBOARD_POLL_SECONDS", "-2"),
    ("CALLBOARD_LEASE_SECONDS", "2.9"),
    ("CALLBOARD_LEASE_SECONDS", "3601"),
    ("FAL_KEY", "hidden key"),
    ("FAL_QUEUE_URL", "hidden"),
    ("FAL_JWKS_URL", "https://h/?hidden"),
    ("FAL_TRUST", "hidden"),
]


@pytest.mark.parametrize(("name", "value"), BAD)
def test_a_bad_value_is_named_and_not_shown(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    read = next(c for c in CLASSES if name.lower() in c.model_fields)
    with pytest.raises(SettingInvalid) as caught:
        read.read()
    assert caught.value.name == name
    assert str(caught.value).startswith(f"{name}: ")
    assert "hid" not in str(caught.value)


GOOD = [
    ("DATABASE_URL", "postgresql:///callboard?host=/run/postgresql", "**********"),
    ("DATABASE_URL", "postgres://me:p%23w@[::1]:5432,other:5433/name", "**********"),
    ("CALLBOARD_DATA_DIR", "/srv/x", "/srv/x"),
    ("CALLBOARD_PUBLIC_URL", "http://[::1]:8080/sub/", "http://[::1]:8080/sub"),
    ("CALLBOARD_HOST", "::", "::"),
    ("CALLBOARD_HOST", "render-1.internal", "render-1.internal"),
    ("CALLBOARD_PORT", "0", "0"),
    ("CALLBOARD_ALLOW_PRIVATE_WEBHOOKS", " 127.0.0.0/8 ,, ::1 ", "('127.0.0.0/8', '::1/128')"),
    ("CALLBOARD_LEASE_SECONDS", "3", "3.0"),
]


@pytest.mark.parametrize(("name", "value", "meant"), GOOD)
def test_a_good_value_is_read(
    name: str, value: str, meant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    assert str(getattr(Settings.read(), name.lower())) == meant


@pytest.mark.parametrize(
    ("name", "blank"),
    [("CALLBOARD_SECRETS", ""), ("CALLBOARD_SECRETS", ","), ("CALLBOARD_PORT", "")],
)
def test_a_blank_is_as_good_as_nothing(
    name: str, blank: str, empty: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unset = Settings.read()
    (empty / ".env").write_text(f"{name}={blank}\n")
    assert Settings.read() == unset
    monkeypatch.setenv(name, blank)
    monkeypatch.setenv(f"{name}_FILE", "")
    assert Settings.read() == unset


def test_the_environment_goes_before_the_file(empty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (empty / ".env").write_text("CALLBOARD_PORT=1111\nCALLBOARD_HOST=::1\n")
    monkeypatch.setenv("CALLBOARD_PORT", "2222")
    assert Settings.read().callboard_port == 2222
    assert Settings.read().callboard_host == "::1"
    assert Settings.read(callboard_port=3333).callboard_port == 3333


def test_a_file_that_is_not_text_is_named(empty: Path) -> None:
    (empty / ".env").write_bytes(b"CALLBOARD_HOST=\xff\n")
    with pytest.raises(SettingInvalid, match=r"^\.env: "):
        Settings.read()


def test_a_file_may_be_named_in_the_env_file(empty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (empty / "port").write_text("1234")
    (empty / ".env").write_text("CALLBOARD_PORT_FILE=port\n")
    assert Settings.read().callboard_port == 1234
    monkeypatch.setenv("CALLBOARD_PORT", "4321")
    assert Settings.read().callboard_port == 4321


@pytest.mark.parametrize("content", [None, b"", b"\n", b"\xff"])
def test_a_file_without_a_value_is_named(
    content: bytes | None, empty: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if content is not None:
        (empty / "secret").write_bytes(content)
    monkeypatch.setenv("CALLBOARD_SECRETS_FILE", str(empty / "secret"))
    with pytest.raises(SettingInvalid, match=r"^CALLBOARD_SECRETS_FILE: .*/secret ") as caught:
        Settings.read()
    assert caught.value.name == "CALLBOARD_SECRETS_FILE"


def test_a_bad_value_in_a_file_is_not_shown(empty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (empty / "secret").write_text("hidden")
    monkeypatch.setenv("CALLBOARD_SECRETS_FILE", "secret")
    with pytest.raises(SettingInvalid, match=r"^CALLBOARD_SECRETS: ") as caught:
        Settings.read()
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize("in_env_file", [False, True])
def test_a_variable_and_its_file_together_are_refused(
    in_env_file: bool, empty: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (empty / "secret").write_text(LONG)
    both = {"CALLBOARD_SECRETS": LONG, "CALLBOARD_SECRETS_FILE": "secret"}
    if in_env_file:
        (empty / ".env").write_text("".join(f"{name}={both[name]}\n" for name in both))
    else:
        for name, value in both.items():
            monkeypatch.setenv(name, value)
    with pytest.raises(SettingInvalid, match=r"CALLBOARD_SECRETS: .*CALLBOARD_SECRETS_FILE"):
        Settings.read()


def test_the_signing_secrets_are_those_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALLBOARD_SECRETS", f"new-{LONG}, old-{LONG}")
    assert secrets(Settings.read()) == (f"new-{LONG}", f"old-{LONG}")
    monkeypatch.setenv("DATABASE_URL", "postgres://h/n")
    assert secrets(Settings.read()) == (f"new-{LONG}", f"old-{LONG}")
    assert not Path(".callboard").exists()


def test_a_shared_database_needs_its_secrets_given(monkeypatch: pytest.MonkeyPatch) -> None:
    secrets(Settings.read())  # what lies in the data dir is not for a shared database
    monkeypatch.setenv("DATABASE_URL", "postgres://h/n")
    with pytest.raises(SettingInvalid, match=r"^CALLBOARD_SECRETS: .*DATABASE_URL"):
        secrets(Settings.read())


def test_the_signing_secret_is_made_once_and_is_the_owners_alone() -> None:
    made = secrets(Settings.read())
    assert len(made) == 1
    assert len(made[0]) == 64
    assert secrets(Settings.read()) == made
    (kept,) = Path(".callboard").iterdir()
    assert kept.name == "secrets"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600


def test_kept_secrets_may_be_rotated_by_hand() -> None:
    (old,) = secrets(Settings.read())
    Path(".callboard/secrets").write_text(f"new-{LONG},{old}\n")
    assert secrets(Settings.read()) == (f"new-{LONG}", old)


@pytest.mark.parametrize("content", [b"", b"\n", b"short", b"\xff" * 40])
def test_a_damaged_secret_stops_the_start(content: bytes) -> None:
    Path(".callboard").mkdir()
    Path(".callboard/secrets").write_bytes(content)
    with pytest.raises(SettingInvalid, match=r"^CALLBOARD_SECRETS: .*16 characters"):
        secrets(Settings.read())
    assert Path(".callboard/secrets").read_bytes() == content


def test_a_data_dir_that_cannot_be_written_is_named() -> None:
    Path(".callboard").write_text("in the way")
    with pytest.raises(SettingInvalid, match=r"^CALLBOARD_DATA_DIR: "):
        secrets(Settings.read())


RACE = """
from service import settings
known = settings.Settings.read()
print("ready", flush=True)
input()
print(*settings.secrets(known))
"""


def test_processes_that_start_at_once_agree_on_one_secret() -> None:
    run = [sys.executable, "-c", RACE]
    racers = [subprocess.Popen(run, stdin=PIPE, stdout=PIPE, text=True) for _ in range(6)]
    for racer in racers:
        assert racer.stdout
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin
        racer.stdin.write("go\n")
        racer.stdin.flush()
    told = {racer.communicate()[0].strip() for racer in racers}
    assert told == {secrets(Settings.read())[0]}
    assert [path.name for path in Path(".callboard").iterdir()] == ["secrets"]


def test_the_first_secret_kept_is_never_replaced(tmp_path: Path) -> None:
    """Two processes that both found none: the later one takes the earlier one's."""
    path = tmp_path / "data" / "secrets"
    _keep_new_secret(path)
    first = path.read_text()
    _keep_new_secret(path)
    assert path.read_text() == first
