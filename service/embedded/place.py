"""Where one embedded Postgres lives: its files under the data directory, and its socket."""

import os
import stat
import tempfile
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from urllib.parse import quote

from service.errors import DatabaseAway

PORT = 5432  # only a part of the socket's file name; nothing listens on TCP
_LONGEST_SOCKET_PATH = 107  # bytes: sun_path of unix(7) less its closing NUL
CURE = "set DATABASE_URL to another Postgres, or CALLBOARD_DATA_DIR to another directory"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The paths of one embedded server. Its locks are files that flock(2) holds, so that the
    kernel lets go of them whichever way their holder dies."""

    home: Path
    sockets: Path

    @property
    def cluster(self) -> Path:
        """Postgres' own data directory: complete, or not there."""
        return self.home / "cluster"

    @property
    def log(self) -> Path:
        """What the server says."""
        return self.home / "server.log"

    @property
    def turn(self) -> Path:
        """Locked by the one process that starts, joins or stops the server just now."""
        return self.home / "turn.lock"

    @property
    def users(self) -> Path:
        """Locked, shared, by everyone who is attached."""
        return self.home / "users.lock"

    @property
    def alive(self) -> Path:
        """Locked by the server's own processes, as long as one of them lives."""
        return self.home / "alive.lock"

    @property
    def socket(self) -> Path:
        return _socket_in(self.sockets)

    def dsn(self, database: str) -> str:
        """How to connect to `database`, for asyncpg and libpq."""
        host = quote(str(self.sockets), safe="/")
        return f"postgresql://postgres@/{database}?host={host}&port={PORT}"


def place_in(data_dir: Path) -> Place:
    """The place of the server of `data_dir`; nothing is made."""
    home = data_dir.absolute().resolve() / "postgres"
    sockets = home / "sockets"
    # asyncpg and Postgres both read a comma in a socket's directory as two directories.
    if len(os.fsencode(_socket_in(sockets))) > _LONGEST_SOCKET_PATH or "," in str(sockets):
        name = blake2b(os.fsencode(home), digest_size=8).hexdigest()
        sockets = _temporary() / f"callboard-{name}"
    return Place(home=home, sockets=sockets)


def prepare(place: Place) -> None:
    """Makes the directories, for nobody else to read. Raises OSError, and DatabaseAway where
    somebody else has made the socket's."""
    place.home.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    place.home.mkdir(mode=0o700, exist_ok=True)
    place.sockets.mkdir(mode=0o700, exist_ok=True)
    found = place.sockets.lstat()
    ours = {os.geteuid(), place.home.stat().st_uid}
    if place.cluster.exists():
        ours.add(place.cluster.stat().st_uid)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in ours or found.st_mode & 0o077:
        raise DatabaseAway(f"{place.sockets} is not a private directory of ours: remove it")


def _socket_in(sockets: Path) -> Path:
    return sockets / f".s.PGSQL.{PORT}"


def _temporary() -> Path:
    """/tmp whatever TMPDIR says, so that every process of this data directory finds the same."""
    fixed = Path("/tmp")
    return fixed if fixed.is_dir() else Path(tempfile.gettempdir())
