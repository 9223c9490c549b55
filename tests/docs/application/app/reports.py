"""The application that the pages speak of."""

from __future__ import annotations

import time
from pathlib import Path

LONGEST_SECONDS = 600.0


def rebuild(name: str) -> None:
    """Runs until the page lets it end, by writing a file of this name."""
    deadline = time.monotonic() + LONGEST_SECONDS
    while not Path(name).exists() and time.monotonic() < deadline:
        time.sleep(0.01)
