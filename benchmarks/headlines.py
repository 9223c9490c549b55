"""The figures that a reader needs first: at most fifteen rows out of all that were measured."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.rows import Row, Verdict

MOST = 15


@dataclass(frozen=True, slots=True)
class Headline:
    """A row of the first table, and which of the measured rows it is taken from.

    Attributes:
        question: Number of the question.
        asks: The question in words; `{jobs}` is the group `jobs` of `case`.
        bar: Its label in the chart; empty when the other side is nothing to divide by.
        case: Pattern of the rows it is about, in case and other side; the worst is shown.
        ours: Pattern of what to show of our figure.
        other: Pattern of what to show of the other figure; empty when there is none.
        against: The other side; empty when there is none.
        worst: Pattern of the figure that decides which is the worst, in case, figure and ratio.
        is_cost: The smaller figure and the smaller ratio are the better ones.
    """

    question: int
    asks: str
    bar: str
    case: str
    ours: str
    other: str = ""
    against: str = ""
    worst: str = r"([\d.e+]+)x"
    is_cost: bool = False

    def match(self, row: Row) -> re.Match[str] | None:
        """Whether it is about `row`, and with which groups."""
        is_of_it = row.question == self.question
        return re.match(self.case, f"{row.case} | {row.other}") if is_of_it else None

    def row(self, rows: Sequence[Row]) -> Row | None:
        """The worst of the rows that it is about; None when there are none."""
        worst = max if self.is_cost else min
        return worst(filter(self.match, rows), key=self._order, default=None)

    def _order(self, row: Row) -> tuple[bool, float]:
        """A goal that was not reached is worse than any figure."""
        found = re.search(self.worst, f"{row.case} | {row.ours} | {row.ratio}")
        is_missed = row.verdict is Verdict.NOT_REACHED
        return is_missed is self.is_cost, _number(found[1]) if found else 0.0


_DURATION = r"([\d.]+ (?:µs|ms|s|min))"
_PACE = r"([\d.,]+/s)"

HEADLINES = (
    Headline(
        1, "How long does a divert of a whole lane of {jobs} jobs take?", "",
        r"divert a whole lane, (?P<jobs>[\d,]+) jobs", _DURATION, r"([\d.]+ (?:s|min)) in all",
        "RQ's loop, extrapolated from 2,000", worst=r"lane, ([\d,]+) jobs", is_cost=True,
    ),
    Headline(
        2, "How long does a divert of 60 % of {jobs} jobs by function take?",
        "divert by function / a loop over the jobs",
        r"60 % of (?P<jobs>[\d,]+) jobs, by function \| RQ's loop", _DURATION, ": " + _DURATION,
        "a loop: fetch, remove, push",
    ),
    Headline(
        2, "The same, beside the fastest script?", "divert by function / the fastest script",
        r"60 % of .* anew", _DURATION, ": " + _DURATION,
        "rewrites the lists, unsafe while workers run",
    ),
    Headline(
        3, "How long does one command hold the server?", "", r"longest hold of the server",
        _DURATION, worst=r"([\d.]+) ms by", is_cost=True,
    ),
    Headline(
        3, "How long do other clients wait meanwhile (p99 of PING)?",
        "PING during a divert / on an idle server",
        r"p99 of a PING stream", "p99 " + _DURATION, "idle .*?p99 " + _DURATION,
        "the server when idle", is_cost=True,
    ),
    Headline(
        5, "How fast is a backlog merged back at once?", "", r"drain --at-once", _PACE,
        r"(\d+ messages/s)", "Amazon SQS, as published", worst=r"([\d,]+)/s",
    ),
    Headline(
        6, "How far off its rate is a drain (10 to 5,000/s)?", "", r"drain at [\d,]+/s, ",
        r"\(([\d.]+ %) off", worst=r"\(([\d.]+) % off", is_cost=True,
    ),
    Headline(
        7, "How many jobs does a producer enqueue?", "enqueue / rq.Queue",
        r"enqueue, one by one \| rq", _PACE, _PACE, "rq.Queue",
    ),
    Headline(
        8, "How many jobs does a SimpleWorker run?", "SimpleWorker / rq.SimpleWorker",
        r"SimpleWorker", _PACE, _PACE, "rq.SimpleWorker",
    ),
    Headline(
        8, "How many jobs does a forking Worker run?", "forking Worker / rq.Worker",
        r"Worker \(a fork", _PACE, _PACE, "rq.Worker",
    ),
    Headline(
        9, "How soon does an idle worker start a job (p50)?", "pickup by an idle worker / stock RQ",
        r"\d+ idle \w+, \d", "p50 " + _DURATION, "p50 " + _DURATION, "stock RQ", is_cost=True,
    ),
    Headline(
        10, "What do 100 idle workers ask of the server?", "", r"\d+ idle",
        r"([\d,]+ commands/s)", r"([\d,]+ commands/s)", "stock RQ", is_cost=True,
    ),
    Headline(
        11, "How often does a job start after the pause?", "", r"pause with",
        r"in (\d+ of \d+ trials)", r"in (\d+ of \d+ trials)", "rq suspend",
        worst=r"(\d+) starts", is_cost=True,
    ),
    Headline(
        12, "How soon are urgent jobs on time in a clogged queue?",
        "urgent jobs on time / stock RQ and a script",
        r"[\d,]+ bulk jobs", r"inside 1 s after " + _DURATION, r"inside .*after " + _DURATION,
        "stock RQ and a script",
    ),
    Headline(
        13, "How much memory does a waiting job take?", "memory of a waiting job / rq.Queue",
        r"a job that waits", r"([\d.]+ bytes)", r"([\d.]+ bytes)", "rq.Queue", is_cost=True,
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Shown:
    """One row of the first table.

    Attributes:
        headline: What it answers.
        row: The measured row that it is taken from.
        times: How many times as good as the other side shedder is; None where there is no ratio.
    """

    headline: Headline
    row: Row
    times: float | None

    @property
    def is_missed(self) -> bool:
        """Its goal was not reached."""
        return self.row.verdict is Verdict.NOT_REACHED


def shown(rows: Sequence[Row]) -> list[Shown]:
    """The rows of the first table, as far as they were measured."""
    found = ((each, each.row(rows)) for each in HEADLINES)
    return [Shown(each, row, _times(each, row)) for each, row in found if row is not None]


def table(found: Sequence[Shown]) -> str:
    """The first table, as Markdown."""
    heads = "| # | question | shedder | the other side | ratio | goal |\n" + "| --- " * 6 + "|"
    return "\n".join([heads, *map(_line, found)])


def _line(each: Shown) -> str:
    headline, row = each.headline, each.row
    match = headline.match(row)
    asks = headline.asks.format_map(match.groupdict() if match else {})
    other = f"{_part(headline.other, row.other)} ({headline.against})" if headline.other else ""
    ratio = "" if each.times is None else f"{each.times:.3g}x"
    goal = re.split("[;,] | at the same ", row.goal)[0]
    verdict = f"**{row.verdict.value}**" if each.is_missed else row.verdict.value
    cells = (str(headline.question), asks, _part(headline.ours, row.ours), other, ratio,
             f"{verdict}: {goal}")  # fmt: skip
    return "| " + " | ".join(cells) + " |"


def _part(pattern: str, text: str) -> str:
    """What `pattern` finds; the whole text where it finds nothing."""
    found = re.search(pattern, text)
    return found[1] if found else text


def _times(headline: Headline, row: Row) -> float | None:
    ratio = re.match(r"([\d.e+]+)x", row.ratio)
    if ratio is None or not headline.bar:
        return None
    return 1 / _number(ratio[1]) if headline.is_cost else _number(ratio[1])


def _number(text: str) -> float:
    return float(text.replace(",", ""))
