"""How much is measured in this run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Settings:
    """What the command line says.

    Attributes:
        jobs: Jobs that wait in the queue; None for each question's own number.
        latency_ms: Milliseconds that the network adds to a round trip, 0 for none.
        repeat: Pairs of measurements for each comparison; None for each question's own number.
        is_full: The long form of every question.
        with_bullmq: Install BullMQ with npm into a temporary folder and measure it too.
    """

    jobs: int | None = None
    latency_ms: float = 0.0
    repeat: int | None = None
    is_full: bool = False
    with_bullmq: bool = False

    def size(self, *, short: int, full: int) -> int:
        """The number of waiting jobs, which `--jobs` sets."""
        return self.jobs or self.pick(short=short, full=full)

    def times(self, *, short: int, full: int) -> int:
        """The number of repetitions, which `--repeat` sets."""
        return self.repeat or self.pick(short=short, full=full)

    def pick(self, *, short: int, full: int) -> int:
        """A number that only the form of the run decides."""
        return full if self.is_full else short
