"""The application that the pages speak of."""

from __future__ import annotations


def send_receipt(order: int) -> None:
    """A customer waits for it."""


def send_newsletter(reader: int) -> None:
    """Nobody waits for it."""


def send_to_nobody(order: int) -> None:
    """It fails."""
    raise LookupError(f"nobody has ordered {order}")
