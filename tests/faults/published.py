"""The table of a long run, put into the page of guarantees.

Rows of one kind (what stands before the colon of their names) are added up.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from tests.faults.report import COUNTED, Row, stock_of

if TYPE_CHECKING:
    from redis import Redis

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "guarantees.md"
BEGIN, END = "<!-- the last run: begin -->", "<!-- the last run: end -->"

_HEADER = (
    "faults", "trials", "injected", "jobs", *COUNTED, "other", "run again", "back after, at most",
    "stock RQ",
)  # fmt: skip
_NUMBERS = range(1, 10)


def publish(section: str, page: Path = PAGE) -> None:
    """Put `section` between the marks of `page`, in place of what stood there."""
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, mark, after = rest.partition(END)
    if not mark:
        raise ValueError(f"{page} has not the lines {BEGIN} and {END}")
    page.write_text(f"{before}{BEGIN}\n\n{section}\n\n{END}{after}", encoding="utf-8")


def section_of(rows: Sequence[Row], *, command: str, server: str, minutes: float) -> str:
    """What the page says of a run."""
    played = [row for row in rows if row.trials]
    totals = [sum(numbers) for numbers in zip(*map(_numbers, added_up(played)), strict=True)]
    kills = sum(row.kills for row in played)
    told = (
        f"This run took {minutes:.0f} minutes, ended {kills:,} processes with SIGKILL, and "
        f"injected {totals[1]:,} faults; what it found wrong: {_found(played)}."
    )
    made = f"It was made with {server} and RQ {version('rq')} on {os.cpu_count()} cores. Rows of one kind are added up."
    lines = [
        told, "", "```text", command, "```", "", made, "",
        *_table(added_up(played), totals), "", *_notes(played),
    ]  # fmt: skip
    return "\n".join(lines).rstrip()


def server_of(client: Redis) -> str:
    """Product and version of a server, such as `Valkey 9.1.2`."""
    info = client.info("server")
    valkey = info.get("valkey_version")
    return f"Valkey {valkey}" if valkey else f"Redis {info['redis_version']}"


def added_up(rows: Sequence[Row]) -> list[Row]:
    """One row for each kind of fault."""
    kinds: dict[str, Row] = {}
    for row in rows:
        kind = kinds.setdefault(kind_of(row), Row(row.fault))
        kind.take_in(row)
    return list(kinds.values())


def kind_of(row: Row) -> str:
    """What stands before the colon, and before the class of workers."""
    return row.fault.name.partition(":")[0].partition(" (")[0]


def _numbers(row: Row) -> list[int]:
    wrong = [row.wrong[kind] for kind in COUNTED]
    return [row.trials, row.injected, row.jobs, *wrong, row.others, row.restarted]


def _found(rows: Sequence[Row]) -> str:
    found = [f"{kind} in {row.fault.name}" for row in rows for kind in row.wrong]
    return "; ".join(found) or "nothing"


def _table(kinds: Sequence[Row], totals: Sequence[int]) -> Iterator[str]:
    yield _line(_HEADER)
    yield _line(["---:" if number in _NUMBERS else "---" for number in range(len(_HEADER))])
    for row in kinds:
        back = f"{max(row.recovered):.1f} s" if row.recovered else "-"
        yield _line([kind_of(row), *(f"{each:,}" for each in _numbers(row)), back, stock_of(row)])
    yield _line(["**all**", *(f"{each:,}" for each in totals), "", ""])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _notes(rows: Sequence[Row]) -> Iterator[str]:
    for row in rows:
        for note in row.notes:
            yield f"- {row.fault.name}: {note}"
