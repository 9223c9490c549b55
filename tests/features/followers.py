"""Processes that follow a flag: `python -m tests.features.followers SOCKET NUMBER POLL`.

Each prints a line when it is ready, and one with the time when it sees the flag `wave` degraded,
or when it waits no longer. They end with the process that started them.
They ask for the version every POLL seconds. They are forks of one process, as a web server's
workers are.
"""

from __future__ import annotations

import os
import sys
import time

from redis import Redis

from shedder import Shedder
from shedder.settings import watch
from tests.lifeline import end_with_parent
from tests.waiting import PATIENCE_SECONDS

POLL_SECONDS = 0.001


def follow(path: str, number: int) -> None:
    """Wait for the flag, and tell when it was seen."""
    shedder = Shedder(Redis(unix_socket_path=path))
    while shedder.flags.age_seconds() == float("inf"):
        assert shedder.flags.enabled("wave")
    say(f"ready {number}")
    deadline = time.time() + PATIENCE_SECONDS
    while shedder.flags.enabled("wave") and time.time() < deadline:
        time.sleep(POLL_SECONDS)
    say(f"{'late' if shedder.flags.enabled('wave') else 'seen'} {time.time()}")


def say(text: str) -> None:
    os.write(1, f"{text}\n".encode())


def main() -> None:
    end_with_parent()
    path, count = sys.argv[1], int(sys.argv[2])
    watch.POLL_SECONDS = float(sys.argv[3])
    children = []
    for number in range(count):
        child = os.fork()
        if not child:
            end_with_parent()
            try:
                follow(path, number)
            finally:
                os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)


if __name__ == "__main__":
    main()
