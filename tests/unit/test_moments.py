"""A point in time is read as the tired person who wrote it meant it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from shedder.errors import InvalidInput
from shedder.units import parse_past

AFTER_MIDNIGHT = datetime(2026, 11, 25, 0, 30, tzinfo=UTC)
EVENING = datetime(2026, 11, 25, 22, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "now", "expected"),
    [
        ("23:50", AFTER_MIDNIGHT, "2026-11-24T23:50:00"),
        ("00:29:30", AFTER_MIDNIGHT, "2026-11-25T00:29:30"),
        ("12:31", AFTER_MIDNIGHT, "2026-11-24T12:31:00"),
        ("21:59", EVENING, "2026-11-25T21:59:00"),
        ("00:01", EVENING, "2026-11-25T00:01:00"),
        ("38m", AFTER_MIDNIGHT, "2026-11-24T23:52:00"),
        ("2026-11-24T01:00", EVENING, "2026-11-24T01:00:00"),
    ],
)
def test_a_time_is_the_last_that_was_so_called(text: str, now: datetime, expected: str) -> None:
    """Incidents like midnight: a time of half a day ahead is that of the day before."""
    assert datetime.fromisoformat(f"{expected}+00:00") == parse_past(text, now=now, name="x")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("23:50", "2026-11-24T23:50:00"), ("00:20", "2026-11-25T00:20:00"), ("12:15", "2026-11-25T12:15:00"),
     ("2026-11-23T01:00", "2026-11-23T01:00:00")],
)  # fmt: skip
def test_a_time_of_another_day_is_that_of_the_incident(text: str, expected: str) -> None:
    """A correction in the review, two days later, means the night of the incident."""
    later = datetime(2026, 11, 27, 10, 0, tzinfo=UTC)
    found = parse_past(text, now=later, name="x", near=AFTER_MIDNIGHT)
    assert datetime.fromisoformat(f"{expected}+00:00") == found


@pytest.mark.parametrize(("text", "now"), [("00:31", AFTER_MIDNIGHT), ("12:29", AFTER_MIDNIGHT), ("23:59", EVENING)])
def test_a_time_a_little_ahead_is_refused(text: str, now: datetime) -> None:
    """Nobody means yesterday by what is to come within hours."""
    with pytest.raises(InvalidInput, match="not in the future"):
        parse_past(text, now=now, name="x")
