"""What a benchmark says: one row for each thing that it measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum


class Verdict(Enum):
    """Whether a goal was reached; a row without a goal only informs."""

    REACHED = "reached"
    NOT_REACHED = "NOT reached"
    NO_GOAL = ""

    @classmethod
    def of(cls, is_reached: bool) -> Verdict:
        """The verdict on a goal."""
        return cls.REACHED if is_reached else cls.NOT_REACHED


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.

    Attributes:
        question: Number of the question.
        case: What was measured.
        ours: shedder's figure, with its unit.
        other: The other side's figure, and who that is; empty when there is none.
        ratio: Ours beside theirs; empty when there is none.
        goal: What was to be reached; empty for a row that only informs.
        verdict: Whether it was.
        note: What the figures do not say by themselves.
        values: The same figures as numbers, for programs.
    """

    question: int
    case: str
    ours: str
    other: str = ""
    ratio: str = ""
    goal: str = ""
    verdict: Verdict = Verdict.NO_GOAL
    note: str = ""
    values: Mapping[str, object] = field(default_factory=dict)


def seconds(value: float) -> str:
    """A duration in the unit that suits it."""
    for factor, unit in ((1e-3, "µs"), (1.0, "ms")):
        if value * 1e3 < factor * 1e3:
            return f"{_short(value * 1e3 / factor)} {unit}"
    return f"{_short(value)} s" if value < 120 else f"{_short(value / 60)} min"


def count(value: float) -> str:
    """A number with thousands separated."""
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"


def per_second(value: float) -> str:
    """A pace."""
    return f"{count(value)}/s"


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
