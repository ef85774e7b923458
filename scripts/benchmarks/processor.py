"""Processor time, which a busy machine disturbs less than the time on the wall."""

import os
import time
from pathlib import Path


def parent_of(pid: int) -> int | None:
    """The process that started `pid`; None where there is no /proc to read it in."""
    fields = _fields(Path(f"/proc/{pid}/stat"))
    return int(fields[1]) if fields else None


def used(postmaster: int | None) -> float | None:
    """The seconds that this process and all of that Postgres have used so far."""
    if postmaster is None:
        return None
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        fields = _fields(stat)
        if fields and postmaster in (int(fields[1]), int(stat.parent.name)):
            ticks += sum(int(one) for one in fields[11:13])  # utime, stime of proc(5)
            if int(stat.parent.name) == postmaster:
                ticks += sum(int(one) for one in fields[13:15])  # of its children that have ended
    return time.process_time() + ticks / os.sysconf("SC_CLK_TCK")


def _fields(stat: Path) -> list[str]:
    """What stands behind the process's name: its state, its parent, and so on."""
    try:
        return stat.read_text().rpartition(")")[2].split()
    except OSError:
        return []
