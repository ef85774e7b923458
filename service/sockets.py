"""What the system allows this process for its connections."""

import resource
import socket
from contextlib import suppress

MOST_FILES = 65_536


def allow_many() -> int:
    """Lifts this process's limit of open files, each connection one of them, as far as it may be
    lifted (up to 65,536); returns the limit then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft == resource.RLIM_INFINITY or soft >= most:
        return MOST_FILES if soft == resource.RLIM_INFINITY else soft
    with suppress(ValueError, OSError):  # macOS has a lower limit of its own
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        return most
    return soft


def drop_stuck(listening: socket.socket, seconds: float) -> None:
    """Lets the system drop each connection that `listening` will take where the other side takes
    nothing of what was sent for so long: closing it would first wait for that (tcp(7))."""
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        milliseconds = round(seconds * 1000)
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
