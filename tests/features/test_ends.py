"""Ends of what an operator sets: a duration, and nothing that would stand for ever."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from shedder import Rate
from shedder.errors import InvalidInput

if TYPE_CHECKING:
    from shedder import Shedder
    from tests.features.scene import Scene

WRONG = [
    timedelta(0), timedelta(seconds=-1), timedelta(microseconds=1), timedelta.max, 5, 1.5,
    math.nan, "30m", True,
]  # fmt: skip


def changes(shedder: Shedder, end: Any) -> list[Any]:
    """What takes an end; each is called by the test."""
    return [
        lambda: shedder.pause("mail", reason="r", expires_in=end),
        lambda: shedder.limit_starts("mail", rate=Rate(1.0), reason="r", expires_in=end),
        lambda: shedder.degrade_flag("hints", reason="r", expires_in=end, force=True),
        lambda: shedder.set_limit("search", Rate(1.0), reason="r", expires_in=end, force=True),
    ]


@pytest.mark.parametrize("end", WRONG, ids=repr)
def test_an_end_that_is_no_duration_is_refused_before_anything_is_stored(scene: Scene, end: Any) -> None:
    """Zero and negative durations made a pause, a limit or a flag that stood for ever."""
    for change in changes(scene.shedder, end):
        with pytest.raises(InvalidInput, match=r"10 years|a timedelta"):
            change()
    assert [] == list(scene.redis.scan_iter("*:shedder:events"))
