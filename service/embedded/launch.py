"""Runs one Postgres program as a user that Postgres accepts: it refuses to run as root.

A program of its own, started by path with `python -I -S` and the arguments of `main`; it
imports the standard library only. What goes wrong is said on stderr and by the exit status.
"""

import ctypes
import os
import sys
from pathlib import Path

CANNOT_CHANGE_USER = 77
CANNOT_REACH = 78
_CLONE_NEWUSER = 0x10000000  # linux/sched.h
_PR_SET_SECUREBITS, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE = 28, 47, 2  # linux/prctl.h
_SECBIT_NO_SETUID_FIXUP = 4  # linux/securebits.h
_CAP_DAC_OVERRIDE, _LINUX_CAPABILITY_VERSION_3 = 1, 0x20080522  # linux/capability.h


def main(way: str, uid: int, gid: int, home: str, pid_file: str, *command: str) -> int:
    """Becomes the user, goes to `home` and runs `command` in this very process. `pid_file`,
    where not empty, is the lock file that the program will find.

    `way`: `plain` (as we are), `namespace` (as `uid` in a user namespace, where files are still
    written as ours), `setuid` (as `uid` and `gid` altogether) or `reaching` (so too, but with
    root's reach to files, for directories that are root's alone).
    """
    try:
        if way == "namespace":
            _enter_namespace(uid, gid)
        elif way in ("setuid", "reaching"):
            _become(uid, gid, reaching=way == "reaching")
    except (OSError, AttributeError) as fault:
        print(f"cannot run as another user: {fault}", file=sys.stderr)
        return CANNOT_CHANGE_USER
    os.umask(0o077)
    try:
        os.chdir(home)
        if pid_file:
            _claim(Path(pid_file))
        os.execv(command[0], command)
    except OSError as fault:
        print(fault, file=sys.stderr)
    return CANNOT_REACH


def _enter_namespace(uid: int, gid: int) -> None:
    """user_namespaces(7): a process may map its own ids to any one id inside."""
    outer_uid, outer_gid = os.geteuid(), os.getegid()
    _checked(_libc().unshare(_CLONE_NEWUSER))
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/gid_map").write_text(f"{gid} {outer_gid} 1")
    Path("/proc/self/uid_map").write_text(f"{uid} {outer_uid} 1")


def _become(uid: int, gid: int, *, reaching: bool) -> None:
    """setuid; `reaching` keeps one capability of capabilities(7), over exec too, and no other."""
    if reaching:
        # Without the fix-up, setuid takes no capability away, and access(2), by which Postgres
        # looks at its own binaries, counts those that are kept.
        _checked(_libc().prctl(_PR_SET_SECUREBITS, _SECBIT_NO_SETUID_FIXUP, 0, 0, 0))
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
    if reaching:
        kept = 1 << _CAP_DAC_OVERRIDE
        header = (ctypes.c_uint32 * 2)(_LINUX_CAPABILITY_VERSION_3, 0)
        sets = (ctypes.c_uint32 * 6)(kept, kept, kept, 0, 0, 0)
        _checked(_libc().capset(header, sets))
        _checked(_libc().prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, _CAP_DAC_OVERRIDE, 0, 0))


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _checked(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _claim(pid_file: Path) -> None:
    """Puts our own pid into a lock file that a dead server left behind.

    Postgres would not start where the pid in it lives, be it of whom it may; its own pid it
    passes over. The file is kept, since it also names the shared memory by which Postgres finds
    processes of its own that still live.
    """
    try:
        lines = pid_file.read_bytes().split(b"\n")
    except FileNotFoundError:
        return
    if lines[0].strip().lstrip(b"-").isdigit():
        pid_file.write_bytes(b"\n".join([b"%d" % os.getpid(), *lines[1:]]))
    else:
        pid_file.unlink()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:]))
