"""What acts by hand work with, in the service and in a command beside it."""

from collections.abc import Mapping

from service.catalog import Catalog
from service.database import Database
from service.inquiry import Inquiry, request_seconds
from service.news import News
from service.operating import Parts
from service.pace import Pace
from service.pooled import Asker
from service.providers import Provider
from service.settings import Settings
from service.vault import Vault
from service.wakes import Wakes


def acting(
    settings: Settings,
    db: Database,
    configured: Mapping[str, Provider],
    catalog: Catalog,
    asker: Asker,
    vault: Vault,
    wakes: Wakes,
) -> Parts:
    """What acts by hand work with, here or in a command beside the service."""
    asking = inquiry(settings, asker, vault, wakes)
    pace = Pace(catalog=catalog, first=settings.callboard_poll_seconds)
    return Parts(
        db=db,
        providers=configured,
        catalog=catalog,
        inquiry=asking,
        news=News(db=db, inquiry=asking, pace=pace, wakes=wakes),
        wakes=wakes,
    )


def inquiry(settings: Settings, asker: Asker, vault: Vault, wakes: Wakes) -> Inquiry:
    """What asks providers, each request within a part of the lease."""
    total = request_seconds(settings.callboard_lease_seconds)
    return Inquiry(asker, vault, total=total, tally=wakes.tally)
