"""A fork of the tests begins as a fresh Python would."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tests.forked import run_module

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_a_module_that_a_test_has_written_is_not_the_one_of_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the module that was imported here, nor what is known of its folder."""
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "written_by_a_test.py").write_text(f"print({name!r})")
        (tmp_path / name / "asks.py").write_text("import written_by_a_test")
    monkeypatch.syspath_prepend(tmp_path / "here")
    __import__("written_by_a_test")

    done = run_module("asks", env=os.environ, cwd=tmp_path / "there")
    assert (0, "there\n") == (done.returncode, done.stdout)
