"""service/serve.py with readers: a real process lets them go at once when it is told to stop."""

import signal
from pathlib import Path

import pytest
from app_client import KEY
from following import at, streaming
from running import environment, running
from scene import SECRETS, State, make_app, make_job

from service.database import Database

pytestmark = pytest.mark.slow


async def test_a_server_that_is_told_to_stop_does_not_wait_for_its_readers(
    db: Database, dsn: str, tmp_path: Path
) -> None:
    app = await make_app(db, key=KEY)
    env = environment(DATABASE_URL=dsn, CALLBOARD_SECRETS=",".join(SECRETS), CALLBOARD_PORT="0")
    async with running("serve", env=env, cwd=str(tmp_path)) as service:
        url = await service.said(r"listening on (http://\S+)")
        async with at(url) as client, streaming(client) as stream:
            await make_job(db, app, State.SUBMITTED)  # placed and announced by the process
            assert await stream.event()
            service.send(signal.SIGTERM)
            assert await stream.event() is None
            assert await service.ended() == 0
    assert "Traceback" not in service.output
    # What uvicorn says when it has waited ten seconds for answers that do not end.
    assert "timeout graceful shutdown exceeded" not in service.output
