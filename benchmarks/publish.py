"""Writes the figures of runs into the pages that show them, so that nobody copies them by hand.

`python -m benchmarks.publish A.json [B.json ...]` puts the rows of these files beside those of
`last_runs.json`; where several have rows of one question, those of the last file stand. Out of that
it writes the first table and the chart of `README.md`, all rows into `TABLES.md`, and
`docs/explanation/scale.md` out of `scale_page.txt`. Without a file it writes the same pages anew.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from string import Template
from typing import Any

from benchmarks import chart, headlines, report
from benchmarks.progress import say
from benchmarks.rows import Row, Verdict, count, seconds

HERE = Path(__file__).parent
LAST_RUNS = HERE / "last_runs.json"
README = HERE / "README.md"
TABLES = HERE / "TABLES.md"
TEMPLATE = HERE / "scale_page.txt"
SCALE_PAGE = HERE.parent / "docs" / "explanation" / "scale.md"
CHART = HERE.parent / "docs" / "pictures" / "benchmarks.png"
SCALE = 14
BEGIN, END = "<!-- figures: begin -->\n", "<!-- figures: end -->\n"


def main() -> int:
    """Write the pages, with the figures of the files that the command line names."""
    publish([Path(each) for each in sys.argv[1:]])
    return 0


def publish(paths: Sequence[Path]) -> None:
    """Write the pages; `paths` are files that a run has left in `benchmarks/results`."""
    runs = merged([*last_runs(), *(json.loads(path.read_text(encoding="utf-8")) for path in paths)])
    pages = {
        LAST_RUNS: json.dumps(runs, indent=1, ensure_ascii=False) + "\n",
        README: readme(runs, README.read_text(encoding="utf-8")),
        TABLES: tables(runs),
    }
    for run in runs:
        if figures := [row for row in run["rows"] if _is_input(row)]:
            pages[SCALE_PAGE] = scale_page(figures, run["about"])
    for path, text in pages.items():
        path.write_text(text, encoding="utf-8")
        say(f"written: {path}")
    CHART.write_bytes(chart.png(headlines.shown(rows_of(runs))))


def last_runs() -> list[dict[str, Any]]:
    """The runs that the pages show."""
    runs: list[dict[str, Any]] = json.loads(LAST_RUNS.read_text(encoding="utf-8"))
    return runs


def merged(runs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """`runs`, each with the questions that no later run has measured; none without a question."""
    last = {row["question"]: number for number, run in enumerate(runs) for row in run["rows"]}
    kept = [{**run, "rows": [row for row in run["rows"] if last[row["question"]] == number]}
            for number, run in enumerate(runs)]  # fmt: skip
    return [run for run in kept if run["rows"]]


def readme(runs: Sequence[dict[str, Any]], text: str) -> str:
    """`text` with the first table of `runs` and its chart between the marks."""
    head, _, rest = text.partition(BEGIN)
    return head + BEGIN + _figures(rows_of(runs)) + END + rest.partition(END)[2]


def tables(runs: Sequence[dict[str, Any]]) -> str:
    """The page with all rows of `runs`."""
    head = ("# All rows of the benchmarks\n\n"
            "Written by `benchmarks/publish.py` from `last_runs.json`. What each question means, "
            "and how it is measured, is in [Benchmarks](README.md).\n")  # fmt: skip
    parts = [report.markdown(rows_of([run]), about=run["about"]) for run in runs]
    return "\n## A run\n\n".join([head, *parts])


def rows_of(runs: Sequence[dict[str, Any]]) -> list[Row]:
    """All rows of `runs`, as the questions gave them."""
    return [Row(**{**row, "verdict": Verdict(row["verdict"])}) for run in runs for row in run["rows"]]


def scale_page(rows: Sequence[dict[str, Any]], about: dict[str, str]) -> str:
    """The page of the arithmetic, with the figures of question 14."""
    values = {name: value for row in rows for name, value in row["values"].items()}
    job, idle, event = values["job_s"], values["idle_worker_s"], values["event_s"]
    lines = [f"| {row['case']} | {row['ours']} | {row['other']} |" for row in rows]
    table = "\n".join(["| input | shedder | stock RQ |", "| --- | --- | --- |", *lines])
    words = {
        "where": f"{about['server'].capitalize()} on one core of a machine with {about['machine']}",
        "inputs": table,
        "server_job": seconds(job),
        "server_stock": seconds(values["stock_job_s"]),
        "jobs_per_s": count(round(1 / job, -1)),
        "jobs_half": count(round(0.5 / job, -1)),
        "per_day": count(round(0.5 / job * 86_400 / 1e6)),
        "bytes": count(round(values["job_bytes"])),
        "jobs_per_gb": count(round(1e9 / values["job_bytes"], -4)),
        "big_gb": f"{(values['job_bytes'] + 2000) / 1000:.1f}",
        "scan_job": seconds(values["scan_job_s"]),
        "scan_million": seconds(values["scan_job_s"] * 1e6),
        "idle_worker": seconds(idle),
        "idle_workers": count(round(0.1 / idle)),
        "connections": f"{values['connections']:.0f}",
        "event_cost": seconds(event),
        "event_bytes": count(round(values["event_bytes"])),
        "journal_mb": count(round(values["event_bytes"] * 0.1)),
    }
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(words)


def _figures(rows: Sequence[Row]) -> str:
    found = headlines.shown(rows)
    bare = [each for each in found if each.times is None and each.is_missed]
    words = "Above 1x shedder is better, below it the other side is."
    if bare:
        words += " NOT reached and without a bar, because there is no ratio: " + "; ".join(
            f"question {each.headline.question}" for each in bare) + "."  # fmt: skip
    picture = f"![{_in_words(found)}](../docs/pictures/{CHART.name})"
    return "\n\n".join([headlines.table(found), _goals(rows), picture, words]) + "\n"


def _goals(rows: Sequence[Row]) -> str:
    """How many goals of all rows were reached, and of which questions some were not."""
    reached = sum(row.verdict is Verdict.REACHED for row in rows)
    missed = Counter(row.question for row in rows if row.verdict is Verdict.NOT_REACHED)
    of = ", ".join(f"{number} of question {each}" for each, number in sorted(missed.items()))
    words = f"In [all rows](TABLES.md) {reached} goals were reached and **{missed.total()} were not**"
    return words + (f": {of}." if of else ".")


def _in_words(found: Sequence[headlines.Shown]) -> str:
    """The chart for somebody who cannot see it."""
    return "; ".join(f"{label}: {times:.3g}x" + ("" if is_reached else " (goal NOT reached)")
                     for label, times, is_reached in chart.bars(found))  # fmt: skip


def _is_input(row: dict[str, Any]) -> bool:
    return row["question"] == SCALE and "took_s" not in row["values"]


if __name__ == "__main__":
    sys.exit(main())
