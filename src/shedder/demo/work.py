"""What do the demo's jobs do? They wait a few milliseconds, as if for a database.

Each writes its id and the time to a file first. The file is no part of Redis: what it says about
who ran, and how often, is evidence that neither RQ nor shedder has touched.
"""

from __future__ import annotations

import os
import time
from functools import lru_cache

LOG_VARIABLE = "SHEDDER_DEMO_LOG"
"""Names the file. Without it the functions only wait."""


def job_id(kind: str, number: int) -> str:
    """The id of a job, such as `newsletter-000017`, which its function knows too."""
    return f"{kind}-{number:06d}"


def send_newsletter(number: int) -> None:
    """Work that can wait."""
    _work("newsletter", number, seconds=0.010)


def rebuild_report(number: int) -> None:
    """More work that can wait."""
    _work("report", number, seconds=0.010)


def send_receipt(number: int) -> None:
    """A customer looks for this mail now."""
    _work("receipt", number, seconds=0.005)


def charge_card(number: int) -> None:
    """A customer waits for this at the till."""
    _work("charge", number, seconds=0.005)


def reset_password(number: int) -> None:
    """A customer cannot get in before this is done."""
    _work("password", number, seconds=0.002)


def _work(kind: str, number: int, *, seconds: float) -> None:
    path = os.environ.get(LOG_VARIABLE)
    if path:
        # One small append is one piece, however many processes write at once.
        os.write(_opened(path), f"{job_id(kind, number)} {time.time_ns()}\n".encode())
    time.sleep(seconds)


@lru_cache(maxsize=1)
def _opened(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
