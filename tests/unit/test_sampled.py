"""Is a lane read from its samples as it was at a moment, and only where it was sampled?"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from shedder.incident.readings import Reading
from shedder.incident.sampled import reading_from
from shedder.samples import Sample

AT = datetime(2026, 11, 25, 2, 30, tzinfo=UTC)


def sample(seconds: float, waiting: int, ended: int) -> Sample:
    return Sample(AT + timedelta(seconds=seconds), waiting, 7, 1, 30, 60, ended, ended)


def test_the_sample_nearest_to_the_moment_tells_how_it_was() -> None:
    """Numbers from the last one, rates over the minute before."""
    samples = [sample(-40, 100, 0), sample(-20, 90, 20), sample(0, 60, 60), sample(40, 1, 1)]
    assert Reading(60, 7, 30.0, 0.5, 1.5) == reading_from(samples, AT)


def test_one_sample_tells_no_rate_and_an_empty_lane_no_age() -> None:
    """What is not known is None."""
    assert Reading(0, 7) == reading_from([sample(5, 0, 9)], AT)


@pytest.mark.parametrize("seconds", [-90, -20, 16])
def test_without_a_sample_nearby_nothing_is_told(seconds: float) -> None:
    """A minute is too early, and too late is too late."""
    assert None is reading_from([sample(seconds, 5, 0)], AT)
