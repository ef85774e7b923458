"""As whom Postgres runs. It refuses to run as root, and initdb wants a user with a name."""

import os
import pwd
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from service.embedded import launch
from service.embedded.place import CURE, Place
from service.errors import DatabaseAway

_NOBODY = 65534  # what ids from outside look like in a user namespace


class Way(StrEnum):
    """How a program of Postgres gets to run as a user that it accepts; see `launch`."""

    PLAIN = "plain"
    NAMESPACE = "namespace"
    SETUID = "setuid"
    REACHING = "reaching"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A user to run as; `uid` and `gid` as `launch` takes them."""

    way: Way
    uid: int
    gid: int

    def spawn(
        self,
        command: Sequence[str | Path],
        place: Place,
        *,
        pid_file: Path | None = None,
        output: int = subprocess.PIPE,
        keep_open: Sequence[int] = (),
    ) -> subprocess.Popen[str]:
        """Starts `command`. `keep_open`: descriptors that it inherits; `pid_file`: see `launch`.

        In a session of its own, so that Ctrl-C at our terminal does not reach it, and with an
        environment of its own: PGPORT and its like would change the server, and our secrets
        are none of its business.
        """
        launcher = [sys.executable, "-I", "-S", launch.__file__, self.way, self.uid, self.gid]
        passed_on = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
        return subprocess.Popen(
            [str(word) for word in (*launcher, place.home, pid_file or "", *command)],
            env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC", **passed_on},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
            pass_fds=keep_open,
        )

    def refusal(
        self, command: Sequence[str | Path], place: Place, *, keep_open: Sequence[int] = ()
    ) -> str:
        """Runs `command` to its end: the last it said where it failed, else nothing."""
        with self.spawn(command, place, keep_open=keep_open) as process:
            said, _ = process.communicate()
        if process.returncode == 0:
            return ""
        return said.strip()[-500:] or f"exit status {process.returncode}"

    def own_cluster(self, folder: Path) -> None:
        """Gives the cluster to the user: Postgres wants its data directory to be its own."""
        if self.way not in (Way.SETUID, Way.REACHING) or folder.stat().st_uid == self.uid:
            return
        for path, _, files in os.walk(folder, topdown=False):  # `folder` itself last: it tells
            for name in files:
                os.chown(Path(path, name), self.uid, self.gid, follow_symlinks=False)
            os.chown(path, self.uid, self.gid)

    def own_beside(self, path: Path) -> None:
        """Gives to the user what lies beside the cluster, where it is that user's directory."""
        if self.way is Way.SETUID:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)


def choose(place: Place, postgres: Path) -> Account:
    """As whom the server of `place` can run here; tried by running `postgres --version`.

    As root: the owner of the directory, where that is another user; else root itself in a user
    namespace, which leaves every file root's; else, where namespaces are forbidden (most
    containers), the user `postgres` or `nobody`, who owns the cluster then, but neither the
    socket's directory nor any other: only root can connect. Raises DatabaseAway where none of
    them can run it.
    """
    if os.geteuid() != 0:
        return _as_we_are(place, postgres)
    home = place.home.stat()
    cluster = place.cluster.stat() if place.cluster.exists() else home
    if home.st_uid != 0:
        account = Account(way=Way.SETUID, uid=home.st_uid, gid=home.st_gid)
    elif cluster.st_uid != 0:
        account = Account(way=Way.REACHING, uid=cluster.st_uid, gid=cluster.st_gid)
    else:
        account = _namespace()
        if not account.refusal([postgres, "--version"], place):
            return account
        account = _other_user()
    if refusal := account.refusal([postgres, "--version"], place):
        raise DatabaseAway(
            f"Postgres does not run as root, and user {account.uid} cannot run it here: "
            f"{refusal}; {CURE}"
        )
    return account


def _as_we_are(place: Place, postgres: Path) -> Account:
    """Ourselves; under the name of another where our uid has none, if that is allowed."""
    plain = Account(way=Way.PLAIN, uid=os.geteuid(), gid=os.getegid())
    if plain.uid in {entry.pw_uid for entry in pwd.getpwall()}:
        return plain
    named = _namespace()
    return plain if named.refusal([postgres, "--version"], place) else named


def _namespace() -> Account:
    """Ourselves under another uid, one that has a name, since initdb asks for it."""
    named = {entry.pw_uid for entry in pwd.getpwall()} - {0, _NOBODY}
    uid = min(named, default=_NOBODY)
    return Account(way=Way.NAMESPACE, uid=uid, gid=uid)


def _other_user() -> Account:
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(way=Way.REACHING, uid=entry.pw_uid, gid=entry.pw_gid)
    raise DatabaseAway(f"Postgres does not run as root, and there is no user postgres; {CURE}")
