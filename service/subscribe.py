"""Endpoints of apps: made, changed, given another secret, tried out, ended."""

import base64
import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from service import ids, jsontext
from service.database import Database
from service.document import moment
from service.encryption import AtRest
from service.endpoint import as_text, of_subscription
from service.errors import Conflict, FieldFault, InvalidRequest, NotFound, TargetForbidden
from service.guard import Guard
from service.past import Moment, start_of
from service.pooled import Deliverer
from service.store import subscriptions
from service.store.subscriptions import Change
from service.webhook import Sender, Target, new_event_id

SECRET_BYTES = 32
MOST_FORMER_SECRETS = 10
TEST_EVENT = "subscription.test"


def new_secret() -> str:
    """A signing secret as Standard Webhooks writes it."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


class Subscribing:
    """What can be done to endpoints. `app_id` says whose they are; None means whosesoever. Every
    method that names one raises NotFound where there is no such endpoint of that app's."""

    def __init__(self, db: Database, at_rest: AtRest, guard: Guard, client: Deliverer) -> None:
        self._db = db
        self._at_rest = at_rest
        self._guard = guard
        self._sender = Sender(at_rest, client)

    async def create(
        self,
        app_id: UUID,
        *,
        url: str,
        events: Sequence[str],
        secret: str | None = None,
        headers: Mapping[str, str],
        since: Moment | None = None,
        who: str,
    ) -> dict[str, Any]:
        """The endpoint as shown, with its secret, this once. With `since` it begins in the past.
        Raises InvalidRequest."""
        self._check(url)
        start = None if since is None else await start_of(self._db, app_id, since)
        secret, subscription_id = secret or new_secret(), ids.new_id()
        await subscriptions.create(
            self._db,
            subscription_id=subscription_id,
            app_id=app_id,
            url=url,
            events=events,
            secret=self._at_rest.encrypt(secret),
            headers=self._encrypted(headers),
            start=start,
            who=who,
        )
        return await self.show(app_id, subscription_id) | {"secret": secret}

    async def page(self, app_id: UUID | None, *, after: UUID, limit: int) -> list[dict[str, Any]]:
        """Up to `limit` endpoints as shown, oldest first, after the id `after`."""
        rows = await subscriptions.page(self._db, app_id, after=after, limit=limit)
        return [self._shown(row) for row in rows]

    async def show(self, app_id: UUID | None, subscription_id: UUID) -> dict[str, Any]:
        """The endpoint as shown."""
        return self._shown(await self._found(app_id, subscription_id))

    async def change(
        self,
        app_id: UUID | None,
        subscription_id: UUID,
        *,
        url: str | None = None,
        events: Sequence[str] | None = None,
        headers: Mapping[str, str] | None = None,
        enabled: bool | None = None,
    ) -> dict[str, Any]:
        """Changes what is not None. Enabled again, it is sent what was held, at once. Raises
        InvalidRequest."""
        if url is not None:
            self._check(url)
        wanted = Change(
            url=url,
            events=events,
            headers=None if headers is None else self._encrypted(headers),
            enabled=enabled,
        )
        row = await subscriptions.change(self._db, app_id, subscription_id, wanted)
        if row is None:
            raise _gone()
        if row["enabled_again"]:
            await subscriptions.send_held(self._db, subscription_id)
        return self._shown(row)

    async def delete(self, app_id: UUID | None, subscription_id: UUID) -> None:
        """Ends it; what waits for it is closed."""
        if not await subscriptions.delete(self._db, app_id, subscription_id):
            raise _gone()

    async def rotate(
        self, app_id: UUID | None, subscription_id: UUID, *, overlap: int
    ) -> dict[str, Any]:
        """Signs with a new secret, shown this once, and for `overlap` seconds with the one before
        it too. Raises Conflict where so many still sign that one more would be too many."""
        secret = new_secret()
        until = await subscriptions.rotate(
            self._db,
            app_id,
            subscription_id,
            secret=self._at_rest.encrypt(secret),
            overlap=overlap,
            former_id=ids.new_id(),
            most=MOST_FORMER_SECRETS,
        )
        if until is None:
            await self._found(app_id, subscription_id)
            problem = f"{MOST_FORMER_SECRETS} former secrets still sign: wait until one has ended"
            raise Conflict(problem, code="conflict")
        return {"secret": secret, "previous_valid_until": moment(until)}

    async def test(self, app_id: UUID | None, subscription_id: UUID) -> dict[str, Any]:
        """Sends one event that says that it is a test, enabled or not, and tells how that went. It
        is part of no feed, kept nowhere and never sent again."""
        row = await self._found(app_id, subscription_id)
        shown_id, event_id = ids.show("sub", subscription_id), new_event_id()
        target = Target(
            url=row["url"],
            secret=row["secret"],
            former=row["former_secrets"],
            headers=row["headers"],
        )
        content = jsontext.dumps(
            {
                "type": TEST_EVENT,
                "timestamp": moment(datetime.now(UTC)),
                "data": {"test": True, "subscription": shown_id},
            }
        )
        sent = await self._sender.send(self._sender.signed(target, event_id, content))
        status = sent.status
        return {
            "event": event_id,
            "type": TEST_EVENT,
            "subscription": shown_id,
            "delivered": status is not None and 200 <= status < 300,
            "status": status,
            "duration_ms": round(sent.duration * 1000),
            "error": sent.error,
            "response": as_text(sent.body),
            "recorded": False,
        }

    def _check(self, url: str) -> None:
        try:
            self._guard.check_url(url)
        except TargetForbidden as fault:
            wrong = FieldFault("url", str(fault))
            raise InvalidRequest(f"url: {fault}", fields=(wrong,)) from fault

    def _encrypted(self, headers: Mapping[str, str]) -> bytes:
        return self._at_rest.encrypt(jsontext.dumps(dict(headers)))

    async def _found(self, app_id: UUID | None, subscription_id: UUID) -> dict[str, Any]:
        row = await subscriptions.get(self._db, app_id, subscription_id)
        if row is None:
            raise _gone()
        return row

    def _shown(self, row: Mapping[str, Any]) -> dict[str, Any]:
        return of_subscription(row, jsontext.loads(self._at_rest.decrypt(row["headers"])))


def _gone() -> NotFound:
    return NotFound("there is no such subscription", code="not_found")
