"""A deliverer as a process of its own, which a test kills. Arguments: the database, the secrets."""

import asyncio
import sys

from service.database import Database
from service.deliver import Delivering
from service.encryption import AtRest
from service.guard import Guard
from service.pooled import Deliverer


async def main() -> None:
    """Sends what is due, and waits for answers until it is killed."""
    db = await Database.connect(sys.argv[1])
    client = Deliverer(Guard(["127.0.0.0/8"]))
    worker = Delivering(db, AtRest(sys.argv[2:]), client, wake=asyncio.Event())
    await worker.step()
    await worker.places.drain()


asyncio.run(main())
