"""service/assembly.py: secrets that rotate, found at the start or missed out loud."""

import logging

import pytest
from scene import SECRETS, make_app, make_job, move, subscribe

from service.assembly import renew_secrets
from service.database import Database
from service.encryption import AtRest
from service.errors import SettingInvalid
from service.job import State
from service.store import access
from service.tokens import key_name


async def test_the_start_encrypts_everything_under_the_newest_secret(db: Database) -> None:
    app = await make_app(db)
    await subscribe(db, app, "https://app.example/hook", ["job.completed"])
    rotated = ("a secret made today and long enough", *SECRETS)
    await renew_secrets(db, AtRest(rotated), rotated)
    newest_alone = AtRest(rotated[:1])
    stored = await access.list_encrypted(db)
    assert sorted(kind for kind, _, _ in stored) == ["default_secret", "headers", "secret"]
    for _, _, one in stored:
        assert newest_alone.decrypt(one)


async def test_the_start_stops_where_no_secret_opens_what_is_stored(db: Database) -> None:
    await make_app(db)
    others = ("not one of those that were used",)
    with pytest.raises(SettingInvalid, match="CALLBOARD_SECRETS"):
        await renew_secrets(db, AtRest(others), others)


async def test_callbacks_of_a_secret_that_is_gone_are_said_out_loud(
    db: Database, caplog: pytest.LogCaptureFixture
) -> None:
    job = await make_job(db, await make_app(db))
    gone = key_name("a secret that nobody has any more")
    kept = {"was": State.QUEUED, "now": State.SUBMITTING, "source": "submit", "due_in": 60.0}
    await move(db, job, token_key=gone, **kept)
    with caplog.at_level(logging.WARNING):
        await renew_secrets(db, AtRest(SECRETS), SECRETS)
    assert "1 open attempts have callback tokens of a secret that is gone" in caplog.text
