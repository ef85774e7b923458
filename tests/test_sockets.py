"""service/sockets.py: as many connections as the system allows, and none that is stuck for ever."""

import resource
import socket
import subprocess
import sys

import pytest

from service.sockets import MOST_FILES, allow_many, drop_stuck

LIFT = """
import resource
from service.sockets import allow_many
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (100, hard))
print(allow_many(), resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


def test_the_limit_of_open_files_is_lifted() -> None:
    ran = subprocess.run([sys.executable, "-c", LIFT], capture_output=True, text=True, check=True)
    told, limit = map(int, ran.stdout.split())
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    most = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    assert told == limit == most


def test_a_limit_that_is_high_enough_is_left() -> None:
    limit = allow_many()
    assert allow_many() == limit == resource.getrlimit(resource.RLIMIT_NOFILE)[0]


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="Linux only")
def test_every_connection_that_is_taken_is_dropped_where_it_is_stuck() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        drop_stuck(listening, 7.5)
        with socket.create_connection(listening.getsockname()), listening.accept()[0] as taken:
            assert taken.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 7500
