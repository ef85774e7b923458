"""Deliveries: looked at, and sent again by hand."""

import asyncio
from typing import Any
from uuid import UUID

from service import ids
from service.database import Database
from service.endpoint import of_delivery
from service.errors import Conflict, NotFound
from service.store import outbox
from service.store.outbox import Sought

TRIES_IN_LISTS = 10
TRIES_OF_ONE = 100


class Resending:
    """What can be seen of deliveries and done to them. `app_id` says whose they are; None means
    whosesoever. `wake` is set where one is due again."""

    def __init__(self, db: Database, *, wake: asyncio.Event) -> None:
        self._db = db
        self._wake = wake

    async def page(
        self, app_id: UUID | None, sought: Sought, *, limit: int
    ) -> list[dict[str, Any]]:
        """Up to `limit` deliveries as shown, newest event first, each with its last ten tries."""
        rows = await outbox.page(self._db, app_id, sought, limit=limit, tries=TRIES_IN_LISTS)
        return [of_delivery(row) for row in rows]

    async def show(self, app_id: UUID | None, delivery_id: UUID) -> dict[str, Any]:
        """One delivery as shown, with its last hundred tries. Raises NotFound."""
        return of_delivery(await self._found(app_id, delivery_id))

    async def resend(self, app_id: UUID | None, delivery_id: UUID, *, who: str) -> dict[str, Any]:
        """Sends it again under the same event id, acknowledged or not, and keeps that among the
        job's acts; the delivery as shown. Raises NotFound, Conflict where the endpoint is gone."""
        row = await self._found(app_id, delivery_id)
        act_id = ids.new_id(ids.bucket_of(row["job_id"]))
        if not await outbox.resend(self._db, row["job_id"], delivery_id, act_id=act_id, who=who):
            raise Conflict("its subscription was deleted", code="conflict")
        self._wake.set()
        return await self.show(app_id, delivery_id)

    async def _found(self, app_id: UUID | None, delivery_id: UUID) -> dict[str, Any]:
        row = await outbox.get(self._db, app_id, delivery_id, tries=TRIES_OF_ONE)
        if row is None:
            raise NotFound("there is no such delivery", code="not_found")
        return row
