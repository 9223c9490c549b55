"""The table that a run shows in the end."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from statistics import median

from tests.faults.schedule import Fault
from tests.faults.stage import Outcome

COUNTED = ("lost", "doubled", "twice", "leaked")

STOCK_KINDS = {
    "lost": "lost",
    "stuck": "stuck",
    "failed": "failed unrun",
    "twice": "run twice",
    "doubled": "pushed twice",
    "paused": "started although suspended",
}
"""What befalls jobs of stock RQ under the same faults, and how the table calls it."""


@dataclass(slots=True)
class Row:
    """All trials of one fault."""

    fault: Fault
    trials: int = 0
    injected: int = 0
    kills: int = 0
    jobs: int = 0
    restarted: int = 0
    wrong: Counter[str] = field(default_factory=Counter)
    recovered: list[float] = field(default_factory=list)
    stock_injected: int = 0
    stock_ended: int = 0
    stock_wrong: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        """Take in a trial."""
        self.trials += 1
        self.injected += outcome.injected
        self.kills += outcome.kills
        self.jobs += outcome.jobs
        self.restarted += outcome.restarted
        self.recovered += outcome.recovered
        self.wrong.update(wrong.kind for wrong in outcome.wrong)
        skipped = [f"not played: {outcome.skipped}"] if outcome.skipped else []
        told = [*outcome.notes, *skipped]
        self.notes += [note for note in told if note not in self.notes]

    def add_stock(self, outcome: Outcome) -> None:
        """Take in a trial with stock RQ."""
        self.stock_injected += outcome.injected
        self.stock_ended += outcome.ended
        # a job that is lost is stuck as well: what was found first says most
        found = reversed(outcome.wrong)
        jobs = {wrong.what.partition(" ")[0]: wrong.kind for wrong in found}
        self.stock_wrong.update(jobs.values())

    def take_in(self, other: Row) -> None:
        """Add up what another row has counted."""
        for name in _SUMMED:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    @property
    def others(self) -> int:
        """What else went wrong."""
        return sum(count for kind, count in self.wrong.items() if kind not in COUNTED)


_SUMMED = (
    "trials", "injected", "kills", "jobs", "restarted", "wrong", "recovered", "stock_injected",
    "stock_ended", "stock_wrong", "notes",
)  # fmt: skip

HEADER = (
    "fault",
    "trials",
    "injected",
    "jobs",
    "lost",
    "doubled",
    "twice",
    "leaked",
    "other",
    "run again",
    "back after p50 / max",
    "stock RQ",
)


def table(rows: list[Row]) -> str:
    """All rows as a table in Markdown, with a line of totals."""
    lines = [_cells(row) for row in rows if row.trials]
    total = [sum(int(line[column]) for line in lines) for column in range(1, 10)]
    lines.append(["**all**", *map(str, total), "", ""])
    widths = [max(len(line[i]) for line in (HEADER, *lines)) for i in range(len(HEADER))]
    rule = ["-" * width for width in widths]
    shown = [HEADER, rule, *lines]
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in shown
    )


def remarks(rows: list[Row]) -> str:
    """What is told under the table: how many processes were killed, and what trials noted."""
    lines = [f"{sum(row.kills for row in rows):,} processes were ended with SIGKILL."]
    lines += [f"- {row.fault.name}: {note}" for row in rows for note in row.notes]
    return "\n".join(lines)


def _cells(row: Row) -> list[str]:
    wrong = [str(row.wrong[kind]) for kind in COUNTED]
    back = "-"
    if row.recovered:
        back = f"{median(row.recovered):.2f} s / {max(row.recovered):.2f} s"
    counts = [str(each) for each in (row.trials, row.injected, row.jobs)]
    return [
        row.fault.name, *counts, *wrong, str(row.others), str(row.restarted), back, stock_of(row)
    ]  # fmt: skip


def stock_of(row: Row) -> str:
    """What befell jobs of stock RQ in as many faults; `-` where nobody looked."""
    if not row.stock_injected:
        return "-"
    told = [f"{row.stock_wrong[kind]} {what}" for kind, what in STOCK_KINDS.items() if row.stock_wrong[kind]]
    if row.stock_ended:
        told.append(f"{row.stock_ended} workers ended")
    return f"{', '.join(told) or 'nothing lost'} (in {row.stock_injected})"
