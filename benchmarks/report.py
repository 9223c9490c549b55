"""The table, as it is written."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any

from benchmarks.rows import Row, Verdict

RESULTS = Path(__file__).parent / "results"
_HEADS = ("#", "what", "shedder", "the other side", "ratio", "goal", "reached?", "note")


def markdown(rows: Sequence[Row], *, about: dict[str, str]) -> str:
    """The table and what it was measured on."""
    lines = [f"- {name}: {value}" for name, value in about.items()]
    lines += ["", _line(_HEADS), _line(["---"] * len(_HEADS))]
    lines += [
        _line((str(row.question), row.case, row.ours, row.other, row.ratio, row.goal,
               row.verdict.value, row.note))
        for row in rows
    ]  # fmt: skip
    return "\n".join([*lines, "", summary(rows), ""])


def summary(rows: Sequence[Row]) -> str:
    """How many goals were reached, and which were not."""
    missed = [row for row in rows if row.verdict is Verdict.NOT_REACHED]
    reached = sum(row.verdict is Verdict.REACHED for row in rows)
    lines = [f"{reached} goals reached, {len(missed)} NOT reached."]
    lines += [f"- NOT reached, {row.question}: {row.case}: {row.ours} (goal: {row.goal})"
              for row in missed]  # fmt: skip
    return "\n".join(lines)


def write(rows: Sequence[Row], *, about: dict[str, str]) -> tuple[Path, Path]:
    """Both files, named by the time."""
    RESULTS.mkdir(exist_ok=True)
    stem = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    table, numbers = RESULTS / f"{stem}.md", RESULTS / f"{stem}.json"
    table.write_text(markdown(rows, about=about), encoding="utf-8")
    document = {"about": about, "rows": [asdict(row) for row in rows]}
    numbers.write_text(json.dumps(document, indent=1, default=_plain), encoding="utf-8")
    return table, numbers


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, Enum) else str(value)
