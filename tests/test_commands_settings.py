"""`callboard config` and `callboard keys`: what they print, and how they exit."""

from pathlib import Path

import pytest
from command_line import callboard, fails, stand_alone
from scene import SECRETS

from service.commands import config
from service.database import Database


@pytest.fixture(autouse=True)
def here(dsn: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    stand_alone(monkeypatch, dsn, tmp_path)
    return tmp_path


async def test_config_shows_each_setting_its_source_and_no_secret(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "key").write_text("hidden:in-a-file")
    (here / ".env").write_text("FAL_KEY_FILE=key\nCALLBOARD_PORT=9000\nCALLBOARD_HOST=::1\n")
    monkeypatch.setenv("CALLBOARD_HOST", "0.0.0.0")
    monkeypatch.setenv("CALLBOARD_ALLOW_PRIVATE_WEBHOOKS", "10.0.0.0/8,::1")
    monkeypatch.setenv("FAL_WEBHOOK_TOKEN", "hidden-token")
    told = (await callboard("config", "show", "--json")).json()
    found = {row["name"]: (row["value"], row["source"]) for row in told}
    assert found["CALLBOARD_PORT"] == ("9000", ".env")
    assert found["CALLBOARD_HOST"] == ("0.0.0.0", "environment")
    assert found["CALLBOARD_ALLOW_PRIVATE_WEBHOOKS"] == ("10.0.0.0/8,::1/128", "environment")
    assert found["CALLBOARD_LEASE_SECONDS"] == ("60", "default")
    assert found["FAL_KEY"] == ("***", "key (FAL_KEY_FILE in .env)")
    assert found["FAL_WEBHOOK_TOKEN"] == ("***", "environment")
    assert found["CALLBOARD_API_KEY"] == (None, "default")
    assert found["DATABASE_URL"] == ("***", "environment")
    names = {name.upper() for read in config.classes() for name in read.model_fields}
    assert found.keys() == names
    plain = await callboard("config", "show")
    assert [line.split()[0] for line in plain.lines[1:]] == [row["name"] for row in told]
    for secret in ("hidden", *SECRETS):
        assert secret not in plain.out + str(told)


async def test_a_key_is_made_listed_and_revoked(db: Database) -> None:
    words = ("keys", "create", "--app", "shop", "--scope", "submit", "--scope", "read")
    made = (await callboard(*words, "--json")).json()
    plain = await callboard(*words)
    assert plain.out.startswith("cb_")
    assert plain.lines[0] not in plain.err
    listed = await callboard("keys", "list")
    assert [line.split()[:4] for line in listed.lines[1:]] == [
        [made["id"], "shop", "submit", "read"],
        [plain.err.split()[0], "shop", "submit", "read"],
    ]
    assert made["key"] not in listed.out
    assert (await callboard("keys", "revoke", made["id"])).code == 0
    assert fails(await callboard("keys", "revoke", made["id"]), 3, made["id"])
    assert fails(await callboard("keys", "revoke", "key_x"), 3, "key_x")
    keys = (await callboard("keys", "list", "--json")).json()
    assert [key["revoked_at"] is None for key in keys] == [False, True]
