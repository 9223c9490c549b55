"""The pages of the benchmarks show what was measured."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import Any

from benchmarks.chart import bars, png
from benchmarks.headlines import HEADLINES, shown
from benchmarks.publish import (
    BEGIN,
    END,
    README,
    SCALE,
    SCALE_PAGE,
    TABLES,
    TEMPLATE,
    last_runs,
    merged,
    readme,
    rows_of,
    scale_page,
    tables,
)
from benchmarks.rows import Row, Verdict

ABOUT = {"server": "valkey 9", "machine": "2 cores", "command": "python -m benchmarks"}
INPUTS = {
    "job_s": 0.0005,
    "stock_job_s": 0.0004,
    "job_bytes": 500.0,
    "idle_worker_s": 0.0002,
    "connections": 2.0,
    "event_s": 0.0003,
    "event_bytes": 400.0,
    "scan_job_s": 0.000003,
}


def row(question: int, ours: str, **values: float) -> dict[str, Any]:
    rest = dict.fromkeys(("other", "ratio", "goal", "note", "verdict"), "")
    return {"question": question, "case": "case", "ours": ours, "values": values, **rest}


def line(question: int, case: str, ratio: str, verdict: Verdict = Verdict.REACHED) -> Row:
    return Row(question, case, "1/s, p50 1 ms", "p50 1 ms", ratio, verdict=verdict)


def last_rows() -> list[Row]:
    return rows_of(last_runs())


def run(*rows: dict[str, Any]) -> dict[str, Any]:
    return {"about": ABOUT, "rows": list(rows)}


def test_the_figures_stand_between_their_marks() -> None:
    """What stood there before is gone, and what stands around it stays."""
    page = f"# Benchmarks\n{BEGIN}old figures\n{END}\nrest\n"

    text = readme([run(row(4, "p50 5 ms"))], page)

    assert text.startswith(f"# Benchmarks\n{BEGIN}| # |")
    assert text.endswith(f"{END}\nrest\n")
    assert "old figures" not in text
    assert text == readme([run(row(4, "p50 5 ms"))], text)


def test_a_later_run_replaces_whole_questions() -> None:
    """Two runs of one question are never mixed, and a run that is replaced is not shown."""
    first = run(row(1, "old"), row(2, "kept"))

    text = tables(merged([first, run(row(3, "older")), run(row(1, "new"), row(3, "newest"))]))

    assert 2 == text.count("- command: python -m benchmarks\n")
    assert ["kept", "new", "newest"] == re.findall(r"^\| \d \| case \| (\w+) \|", text, re.MULTILINE)


def test_the_pages_show_the_last_runs() -> None:
    """Nobody has edited the figures by hand, where the next run would undo it."""
    runs = last_runs()
    text = README.read_text(encoding="utf-8")

    assert text == readme(runs, text)
    assert tables(runs) == TABLES.read_text(encoding="utf-8")


def test_each_headline_finds_its_row_and_its_figures() -> None:
    """The first table has fifteen rows at most, each with the figures that its patterns find."""
    found = shown(last_rows())

    assert list(HEADLINES) == [each.headline for each in found]
    assert len(found) <= 15
    for each in found:
        assert re.search(each.headline.ours, each.row.ours), each.headline.asks
        assert re.search(each.headline.other, each.row.other), each.headline.asks
        assert each.headline.match(each.row), each.headline.asks


def test_a_goal_that_was_not_reached_is_told_with_its_question() -> None:
    """Also when the first table has no row of that question."""
    missed = line(17, "a change is seen", "", Verdict.NOT_REACHED)
    runs = [{"about": ABOUT, "rows": [{**asdict(missed), "verdict": missed.verdict.value}]}]

    assert "0 goals were reached and **1 were not**: 1 of question 17." in readme(runs, BEGIN + END)


def test_the_worst_of_several_rows_is_shown() -> None:
    """A small ratio is worse for a pace, a large one for a wait, a missed goal for either."""
    paces = [line(8, "SimpleWorker", ratio) for ratio in ("1.6x", "1.5x", "1.7x")]
    waits = [line(9, "1 idle Worker, 1 queue", ratio) for ratio in ("0.9x", "1.1x")]
    missed = line(9, "1 idle Worker, 3 queues", "1x", Verdict.NOT_REACHED)

    assert [1.5, 1 / 1.1] == [each.times for each in shown([*paces, *waits])]
    assert [missed] == [each.row for each in shown([*waits, missed])]


def test_the_chart_has_a_bar_for_each_ratio() -> None:
    """A bar says whether its goal was reached; a row without a ratio has none."""
    found = shown([
        line(8, "SimpleWorker", "1.5x"),
        line(9, "1 idle Worker, 1 queue", "2x", Verdict.NOT_REACHED),
        line(10, "100 idle SimpleWorkers", "1.44e+04x"),
    ])  # fmt: skip

    assert [(1.5, True), (0.5, False)] == [tuple(bar[1:]) for bar in bars(found)]
    assert png(found).startswith(b"\x89PNG")


def test_the_arithmetic_follows_from_its_inputs() -> None:
    """Half a millisecond a job is two thousand jobs a second, and so on."""
    page = scale_page([row(SCALE, "500 µs", **INPUTS)], ABOUT)

    assert "1 s / 500 µs = 2,000 jobs a second" in page
    assert "1 GB / 500 bytes = 2,000,000 small jobs" in page
    assert "10 % of a core / 200 µs = 500 idle workers" in page
    assert "${" not in page


def test_the_page_is_the_template_filled_in() -> None:
    """Nobody has edited the page by hand, where the next run would undo it."""
    parts = re.split(r"\$\{\w+\}", TEMPLATE.read_text(encoding="utf-8"))
    pattern = ".+?".join(re.escape(part) for part in parts)

    assert re.fullmatch(pattern, SCALE_PAGE.read_text(encoding="utf-8"), re.DOTALL)


def test_the_inputs_of_the_arithmetic_stand_in_the_table() -> None:
    """Page and table come from one run."""
    table = TABLES.read_text(encoding="utf-8")
    inputs = re.findall(r"^\| (.+?) \| (.+?) \|", SCALE_PAGE.read_text(encoding="utf-8"), re.MULTILINE)

    assert len(inputs) > 4
    for case, ours in inputs[2:]:
        assert f"| {SCALE} | {case} | {ours} |" in table
