"""Each mistake that the runner plants is still one that can be made."""

from __future__ import annotations

from pathlib import Path

import pytest

import shedder
from tests.planted.__main__ import BUGS
from tests.planted.bug import Bug

PACKAGE = Path(shedder.__file__).parent
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("bug", BUGS, ids=[bug.name for bug in BUGS])
def test_the_text_of_a_planted_bug_stands_once(bug: Bug) -> None:
    """A change of the package that moves the text changes the bug too."""
    text = (PACKAGE / bug.path).read_text(encoding="utf-8")
    assert (1, True) == (text.count(bug.old), bug.new != bug.old)
    assert [] == [path for path in bug.tests if not (ROOT / path).exists()]
