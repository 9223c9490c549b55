"""Waits for something that another process does."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE_SECONDS = 600.0
"""How long a test waits for anything: a machine can be slow, and stand still for minutes.

Only a test that fails waits so long. pytest's `faulthandler_timeout` shows before where it waits.
"""

_LONGEST_PAUSE_SECONDS = 0.25


def wait_until(
    predicate: Callable[[], object],
    *,
    timeout: float = PATIENCE_SECONDS,
    interval: float = 0.005,
    what: str = "the condition",
) -> None:
    """Return as soon as ``predicate`` gives something true.

    Args:
        predicate: called again and again; what it raises goes to the caller.
        timeout: seconds after which to give up.
        interval: seconds between two calls; after one that took long, twice as long as it took.
        what: what is awaited, for the message.

    Raises:
        AssertionError: it did not become true in time.
    """
    began = time.monotonic()
    deadline = began + timeout
    while not predicate():
        if (ended := time.monotonic()) > deadline:
            raise AssertionError(f"waited {timeout:g} s in vain for {what}")
        time.sleep(max(interval, min(2 * (ended - began), _LONGEST_PAUSE_SECONDS)))
        began = time.monotonic()


def is_quick(action: Callable[[], object], *, seconds: float, attempts: int = 5) -> bool:
    """Whether ``action`` takes less than ``seconds`` at least once.

    A machine may hold any one attempt, for minutes even; what waits for something waits each time.
    """
    for _ in range(attempts):
        began = time.monotonic()
        action()
        if time.monotonic() - began < seconds:
            return True
    return False
