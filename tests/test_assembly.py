"""service/assembly.py: secrets that rotate, found at the start or missed out loud."""

import logging
from pathlib import Path

import pytest
from command_line import stand_alone
from posting import ACCEPTED, one_round
from raw_server import serving
from scene import SECRETS, make_app, make_job, move, subscribe

from service.assembly import built
from service.database import Database
from service.encryption import AtRest
from service.errors import SettingInvalid
from service.job import State
from service.renewal import renew_secrets
from service.settings import Settings
from service.store import access, health
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


async def test_a_start_tries_every_provider_and_keeps_to_the_bounds_that_are_set(
    db: Database, dsn: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    told = {"code": "provider_auth", "message": "bad key", "trial": False}
    await health.pause(db, "fal", seconds=600, longest=600, **told)
    app = await make_app(db)
    for _ in range(4):
        await make_job(db, app)
    async with serving(ACCEPTED) as server:
        stand_alone(monkeypatch, dsn, tmp_path)
        monkeypatch.setenv("FAL_KEY", "id:secret")
        monkeypatch.setenv("FAL_QUEUE_URL", server.origin)
        monkeypatch.setenv("CALLBOARD_IN_FLIGHT", "fal=3")
        monkeypatch.setenv("CALLBOARD_POLLS_PER_SECOND", "0.001")
        async with built(Settings.read()) as service:
            for expected in (1, 3, 3):  # the trial, those that the bound lets in, no more
                await one_round(service.submitter)
                assert len(server.requests) == expected
            await db.pool.execute("update agenda set due_at = now()")
            await service.sweeper.step()
            await service.sweeper.turns.drain()
            assert len(server.requests) == 4
