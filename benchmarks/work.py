"""What the jobs of the benchmarks do: as little as possible; they leave a mark when asked."""

from __future__ import annotations

import os
import time
from functools import lru_cache

MARKS = "SHEDDER_BENCH_MARKS"
"""Environment variable: the file to which a job's start is written."""


def nothing(number: int = 0) -> None:
    """The smallest job."""


def mark(number: int = 0) -> None:
    """Write down when it began."""
    leave_mark(str(number))


def mark_and_wait(number: int = 0, seconds: float = 0.002) -> None:
    """Write down when it began, and be busy with something outside for a while."""
    leave_mark(str(number))
    time.sleep(seconds)


def send_newsletter(number: int = 0, body: str = "") -> None:
    """Bulk work that can wait."""
    time.sleep(0.005)


def send_digest(number: int = 0, body: str = "") -> None:
    """More bulk work that can wait."""
    time.sleep(0.005)


def build_report(number: int = 0, body: str = "") -> None:
    """Work that is neither bulk nor urgent."""
    time.sleep(0.005)


def charge_card(number: int = 0, body: str = "") -> None:
    """A customer waits for this."""
    leave_mark(str(number))
    time.sleep(0.005)


def leave_mark(text: str) -> None:
    """Add a line to the file of marks, if there is one."""
    path = os.environ.get(MARKS)
    if path:
        os.write(_opened(path, os.getpid()), f"{text} {time.monotonic_ns()}\n".encode())


@lru_cache(maxsize=4)
def _opened(path: str, process: int) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
