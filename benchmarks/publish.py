"""How do figures get into the pages that tell them? By a program, so that both stay the same.

`python -m benchmarks.publish A.json [B.json ...]` writes the section "The last full table" of
`benchmarks/README.md`, and `docs/explanation/scale.md` out of `scale_page.txt`. Where several files
have rows of one question, those of the last file stand.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from string import Template
from typing import Any

from benchmarks import report
from benchmarks.progress import say
from benchmarks.rows import Row, Verdict, count, seconds

HERE = Path(__file__).parent
README = HERE / "README.md"
TEMPLATE = HERE / "scale_page.txt"
SCALE_PAGE = HERE.parent / "docs" / "explanation" / "scale.md"
SCALE = 14
_HEADING = "## The last full table\n"


def main() -> int:
    """Write both pages from the files that the command line names."""
    paths = [Path(each) for each in sys.argv[1:]]
    if not paths:
        print("which results? python -m benchmarks.publish benchmarks/results/*.json")
        return 2
    publish(paths)
    return 0


def publish(paths: Sequence[Path]) -> None:
    """Write both pages; `paths` are files that a run has left in `benchmarks/results`."""
    runs = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    pages = {README: readme(runs, README.read_text(encoding="utf-8"))}
    for run in runs:
        if figures := [row for row in run["rows"] if _is_input(row)]:
            pages[SCALE_PAGE] = scale_page(figures, run["about"])
    for path, text in pages.items():
        path.write_text(text, encoding="utf-8")
        say(f"written: {path}")


def readme(runs: Sequence[dict[str, Any]], text: str) -> str:
    """`text` with the rows of `runs` as its last section."""
    rows: dict[int, tuple[int, list[Row]]] = {}
    for number, run in enumerate(runs):
        for question in {row["question"] for row in run["rows"]}:
            found = [_row(row) for row in run["rows"] if row["question"] == question]
            rows[question] = number, found
    head, _, _ = text.partition(_HEADING)
    parts = [head + _HEADING]
    for number, run in enumerate(runs):
        kept = [row for _, (run_of, found) in sorted(rows.items()) if run_of == number
                for row in found]  # fmt: skip
        if kept:
            parts.append(report.markdown(kept, about=run["about"]))
    return "\n".join(parts)


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


def _is_input(row: dict[str, Any]) -> bool:
    return row["question"] == SCALE and "took_s" not in row["values"]


def _row(stored: dict[str, Any]) -> Row:
    return Row(**{**stored, "verdict": Verdict(stored["verdict"])})


if __name__ == "__main__":
    sys.exit(main())
