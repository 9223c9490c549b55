"""The table of a run comes into the page of guarantees as it was counted."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.faults.accounting import Wrong
from tests.faults.published import BEGIN, END, PAGE, publish, section_of, server_of
from tests.faults.report import Row
from tests.faults.schedule import all_faults, chosen, play
from tests.faults.stage import Outcome

if TYPE_CHECKING:
    from pathlib import Path

    from redis import Redis

    from shedder.embedded import EmbeddedServer

NAMES = "worker term: claimed (fork),worker term: waiting (simple),rq empty"
COMMAND = "make faults ARGS='--minutes 30 --seed x --stock'"


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """A copy of the page."""
    return shutil.copy(PAGE, tmp_path / "guarantees.md")


def test_a_short_run_is_published(server: EmbeddedServer, redis: Redis, page: Path) -> None:
    """Rows of one kind are added up, beside what befell stock RQ; all else on the page stays."""
    faults = chosen(all_faults(["workers", "rq"]), NAMES)
    rows = [Row(fault) for fault in faults]
    for row in rows:
        for beside in (False, True):
            if not beside:
                row.add(play(row.fault, server, seed="x", size=2)[0])
            elif row.fault.beside is not None:
                row.add_stock(play(row.fault, server, seed="x", size=2, beside=True)[0])
    before = page.read_text()
    section = section_of(rows, command=COMMAND, server=server_of(redis), minutes=30.0)
    publish(section, page)
    injected = sum(row.injected for row in rows[:2])
    jobs = sum(row.jobs for row in rows[:2])
    lines = page.read_text().splitlines()
    told = [line for line in lines if line.startswith("| worker term | ")]
    assert [f"| worker term | 2 | {injected} | {jobs:,} | 0 | 0 | 0 | 0 | 0 |"] == [
        line[: len(f"| worker term | 2 | {injected} | {jobs:,} | 0 | 0 | 0 | 0 | 0 |")] for line in told
    ]
    assert f"(in {sum(row.stock_injected for row in rows)}) |" in told[0]
    assert 3 == len([line for line in lines if line.startswith(("| rq empty", "| **all", COMMAND))])
    assert outside(before) == outside(page.read_text())


def test_what_went_wrong_is_published_too(page: Path) -> None:
    """A violation is counted in its column, and named in the first sentence."""
    (fault,) = chosen(all_faults(["rq"]), "rq empty")
    row = Row(fault)
    row.add(Outcome(injected=2, kills=1000, jobs=23, wrong=[Wrong("lost", "a is gone")]))
    row.add_stock(Outcome(injected=4, ended=3, wrong=[
        Wrong("lost", "b is gone"), Wrong("stuck", "b is queued"), Wrong("failed", "c failed"),
    ]))  # fmt: skip
    section = section_of([row], command=COMMAND, server="Valkey 9", minutes=29.6)
    assert section.startswith(
        "This run took 30 minutes, ended 1,000 processes with SIGKILL, and injected 2 faults; "
        "what it found wrong: lost in rq empty."
    )
    assert (
        "| rq empty | 1 | 2 | 23 | 1 | 0 | 0 | 0 | 0 | 0 | - | 1 lost, 1 failed unrun, 3 workers ended (in 4) |"
    ) in section


def test_a_page_without_its_marks_is_left_as_it_is(tmp_path: Path) -> None:
    """Nothing is written where it is not known what may be replaced."""
    page = tmp_path / "page.md"
    page.write_text(f"text\n{BEGIN}\n")
    with pytest.raises(ValueError, match=END):
        publish("table", page)
    assert f"text\n{BEGIN}\n" == page.read_text()


def outside(text: str) -> tuple[str, str]:
    """What stands before and behind the section."""
    return text.partition(BEGIN)[0], text.partition(END)[2]
