"""Do the pages tell what was measured?"""

from __future__ import annotations

import re
from typing import Any

from benchmarks.publish import README, SCALE, SCALE_PAGE, TEMPLATE, readme, scale_page

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


def run(*rows: dict[str, Any]) -> dict[str, Any]:
    return {"about": ABOUT, "rows": list(rows)}


def test_the_last_section_holds_the_rows_and_their_command() -> None:
    """What stood there before is gone, and what stands above stays."""
    page = "# Benchmarks\n\n## The last full table\n\nold figures\n"

    text = readme([run(row(1, "5 ms"))], page)

    assert text.startswith("# Benchmarks\n\n## The last full table\n")
    assert "- command: python -m benchmarks\n" in text
    assert "| 1 | case | 5 ms |" in text
    assert "old figures" not in text
    assert text == readme([run(row(1, "5 ms"))], text)


def test_a_later_run_replaces_whole_questions() -> None:
    """Two runs of one question are never mixed."""
    text = readme([run(row(1, "old"), row(2, "kept")), run(row(1, "new"))], README.read_text())

    assert "| old |" not in text
    assert re.search(r"\| 2 \| case \| kept \|", text)
    assert re.search(r"\| 1 \| case \| new \|", text)


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
    table = README.read_text(encoding="utf-8").partition("## The last full table\n")[2]
    inputs = re.findall(
        r"^\| (.+?) \| (.+?) \|", SCALE_PAGE.read_text(encoding="utf-8"), re.MULTILINE
    )

    assert len(inputs) > 4
    for case, ours in inputs[2:]:
        assert f"| {SCALE} | {case} | {ours} |" in table
