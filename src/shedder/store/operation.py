"""One change in several steps: its id, its steps, who hears of its progress."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int], None]
"""Is told how many jobs were looked at, and how many there are."""


def counter(on_progress: Progress | None, total: int) -> Callable[[int], None]:
    """What counts the jobs that were looked at, and tells `on_progress` of each few more."""
    looked_at = 0

    def count(more: int) -> None:
        nonlocal looked_at
        looked_at += more
        if on_progress is not None:
            on_progress(min(looked_at, total), total)

    return count
