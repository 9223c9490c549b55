"""One change in several steps: its id, its steps, and how far it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import uuid4

Progress = Callable[[int, int], None]
"""Is told how many jobs were looked at, and how many there are."""


def new_id() -> str:
    """An id that nothing else has."""
    return uuid4().hex


@dataclass(slots=True)
class Operation:
    """One change in one step or in several, each of which the server does once.

    Attributes:
        on_progress: Is told how far it is.
        total: Jobs that it has to look at.
        id: Its id, by which the server knows a step that is sent again.
        step: Number of its last step.
        looked_at: Jobs that it has looked at.
    """

    on_progress: Progress | None = None
    total: int = 0
    id: str = field(default_factory=new_id)
    step: int = 0
    looked_at: int = 0

    def next_step(self) -> int:
        """Begin the next step; its number."""
        self.step += 1
        return self.step

    def count(self, jobs: int) -> None:
        """Tell that `jobs` more were looked at."""
        self.looked_at += jobs
        if self.on_progress is not None:
            self.on_progress(min(self.looked_at, self.total), self.total)
