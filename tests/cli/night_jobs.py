"""The jobs of the bad night: they need a database, and write down how they ended."""

from __future__ import annotations

import time
from pathlib import Path

FLOOD = "flood"
"""While this file is there newsletters take long, so that a slow machine is not too late to put them aside."""


class DatabaseDown(Exception):
    """The database does not answer."""


def charge(log: str, database: str, key: str) -> None:
    _work(log, database, "charge", key)


def send_receipt(log: str, database: str, key: str) -> None:
    _work(log, database, "receipt", key)


def send_newsletter(log: str, database: str, key: str) -> None:
    _work(log, database, "newsletter", key)


def _work(log: str, database: str, kind: str, key: str) -> None:
    is_slow = kind == "newsletter" and Path(database).with_name(FLOOD).exists()
    time.sleep(0.3 if is_slow else 0.005)
    is_up = Path(database).exists()
    with Path(log).open("a", encoding="utf-8") as file:
        file.write(f"{time.time()} {kind} {key} {'well' if is_up else 'failed'}\n")
    if not is_up:
        raise DatabaseDown
