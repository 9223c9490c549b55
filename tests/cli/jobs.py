"""What the jobs of these tests do."""

from __future__ import annotations

import time
from pathlib import Path


def send_receipt(order: int = 0) -> int:
    return order


def send_newsletter(user: int = 0) -> int:
    return user


def lose_database(order: int = 0) -> None:
    """Fail as work does whose database is away."""
    raise ConnectionError(f"no database for {order}")


def run_until_gone(path: str) -> None:
    """Run for as long as the file at `path` is there."""
    while Path(path).exists():
        time.sleep(0.01)


def charge_card(_order: int = 0) -> None:
    raise ConnectionError("of ana@example.com")


def break_down() -> None:
    raise LookupError("the database is down")


def need(path: str) -> None:
    """Fail until there is a file at `path`."""
    if not Path(path).exists():
        raise ConnectionError("no database at 10.0.0.7")
