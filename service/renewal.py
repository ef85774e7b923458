"""Everything that is encrypted is put under the newest secret, at each start."""

import logging
from collections.abc import Sequence

from service.database import Database
from service.encryption import AtRest
from service.store import access
from service.tokens import key_name

log = logging.getLogger(__name__)


async def renew_secrets(db: Database, at_rest: AtRest, secrets: Sequence[str]) -> None:
    """Puts everything encrypted under the newest secret; says which callbacks cannot be taken.

    Raises SettingInvalid, naming CALLBOARD_SECRETS, where none of them opens what is stored.
    """
    for kind, owner, stored in await access.list_encrypted(db):
        if (renewed := at_rest.renewed(stored)) is not None:
            await access.renew_encrypted(db, kind, owner, renewed, stored)
    lost = await access.count_unknown_token_keys(db, [key_name(secret) for secret in secrets])
    if lost:
        log.warning(
            "%d open attempts have callback tokens of a secret that is gone: they are polled", lost
        )
