"""Which parts are receipts made of?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from shedder.cli.screen import Verbatim
from shedder.cli.text import age, escaped, listed, number
from shedder.counts import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from rich.console import RenderableType

    from shedder.records import RunningJob, WorkerSeen

RUNNING_SHOWN = 10
WORKERS_SHOWN = 3

Parts = list["RenderableType"]


def headline(text: str, *, style: str = "bold") -> Text:
    """The fact, in plain words, with numbers."""
    return Text(text, style=style)


def plain(text: str) -> Text:
    """A line of text."""
    return Text(text)


def blank() -> Text:
    """An empty line."""
    return Text("")


def table(*columns: str) -> Table:
    """An empty table; a column whose heading begins with `>` holds numbers."""
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for column in columns:
        name = column.removeprefix(">")
        if column != name:
            made.add_column(name, justify="right", no_wrap=True)
        else:
            made.add_column(name, overflow="fold")
    return made


def row(made: Table, *cells: str | Text) -> None:
    """Add a row; what is no `Text` is escaped."""
    made.add_row(*(cell if isinstance(cell, Text) else Text(escaped(cell)) for cell in cells))


def lane_table(columns: Sequence[str], rows: Iterable[tuple[str, int, int]]) -> Parts:
    """Lanes with two numbers each, when more than one lane has something."""
    filled = [each for each in rows if any(each[1:])]
    if len(filled) < 2:
        return []
    made = table("lane", *(f">{column}" for column in columns))
    for name, *counts in filled:
        row(made, name, *(number(count) for count in counts[: len(columns)]))
    return [blank(), made]


def running_part(running: Sequence[RunningJob], now: datetime) -> Parts:
    """The jobs that still run."""
    if not running:
        return []
    made = table("still runs", ">for", "function", "worker")
    for job in running[:RUNNING_SHOWN]:
        mark = "" if job.is_certain else " ?"
        row(made, job.job_id, age(job.since, now) + mark, job.function or "-", job.worker or "-")
    parts: Parts = [blank(), made]
    if len(running) > RUNNING_SHOWN:
        parts.append(plain(f"and {counted(len(running) - RUNNING_SHOWN, 'more job')}"))
    uncertain = sum(not job.is_certain for job in running)
    if uncertain:
        parts.append(plain(
            f"? {counted(uncertain, 'job')} passed the gate in a process that has not been heard "
            "of since: if it was frozen, its job may still begin."
        ))  # fmt: skip
    return parts


def workers_part(workers: Sequence[WorkerSeen], *, stock: str) -> Parts:
    """Who obeys, who does not, and what that means (`stock`)."""
    if not workers:
        return [blank(), plain("No worker serves this now.")]
    ours = [worker.name for worker in workers if not worker.is_stock]
    theirs = [worker.name for worker in workers if worker.is_stock]
    parts: Parts = [blank()]
    if ours:
        obeys = "obeys" if len(ours) == 1 else "obey"
        parts.append(plain(f"{counted(len(ours), 'worker')} {obeys}: {_names(ours)}."))
    if theirs:
        knows = "knows" if len(theirs) == 1 else "know"
        who = (
            f"{counted(len(theirs), 'stock RQ worker')} {knows} nothing of this: {_names(theirs)}."
        )
        parts.append(Text(f"{who} {stock}", style="yellow"))
    return parts


def commands_part(*commands: tuple[str, str]) -> Parts:
    """What to type next: what for, and the command."""
    width = max(len(purpose) for purpose, _ in commands)
    lines = [Verbatim(f"{purpose:<{width}}  ", style="dim") for purpose, _ in commands]
    for made, (_, line) in zip(lines, commands, strict=True):
        made.append(line, style="not dim bold")
    return [blank(), *lines]


def _names(workers: Sequence[str]) -> str:
    return listed(workers, most=WORKERS_SHOWN)
