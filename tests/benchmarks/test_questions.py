"""What a run of the benchmarks does with a question that fails."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import TYPE_CHECKING

from benchmarks.__main__ import FAILED, _rows_of
from benchmarks.rows import Row, Verdict
from benchmarks.settings import Settings

if TYPE_CHECKING:
    import pytest


def test_a_question_that_fails_keeps_what_it_had_measured(caplog: pytest.LogCaptureFixture) -> None:
    """Its rows stand, one more says what failed, and the next question gets its turn."""
    program = ModuleType("question")

    def run(settings: Settings) -> Iterator[Row]:
        yield Row(1, "first", "1 ms")
        raise TimeoutError("waited in vain")

    program.run = run  # type: ignore[attr-defined]
    rows = list(_rows_of(program, 1, Settings()))
    assert ["first", FAILED] == [row.case for row in rows]
    assert ("failed: TimeoutError: waited in vain", Verdict.NOT_REACHED) == (
        rows[1].ours, rows[1].verdict,
    )  # fmt: skip
    assert "question 1 failed" in caplog.text
