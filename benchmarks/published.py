"""What others say of themselves: figures from their documentation, not measured here."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Published:
    """A published cap.

    Attributes:
        name: Of the product and what it does.
        per_second: Messages a second at most; None when none is published.
        words: What its documentation says.
    """

    name: str
    per_second: float | None
    words: str


CAPS = (
    Published("Amazon SQS, dead-letter queue redrive", 500, "at most 500 messages/s; no filter"),
    Published("Google Cloud Tasks, dispatch of one queue", 500, "at most 500 tasks/s per queue"),
    Published("RabbitMQ, shovel", None, "no rate is published; moves everything, no filter"),
)


def text(jobs: int) -> str:
    """How long each would take for so many messages."""
    parts = [
        f"{each.name}: {each.words}" + (f", so {jobs / each.per_second / 60:.1f} min" if each.per_second else "")
        for each in CAPS
    ]
    return "; ".join(parts)
