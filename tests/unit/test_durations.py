"""Durations are read and written the way that an operator types them."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shedder.errors import InvalidInput
from shedder.units import LONGEST, SHORTEST, format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90s", timedelta(seconds=90)),
        ("30m", timedelta(minutes=30)),
        ("1h30m", timedelta(hours=1, minutes=30)),
        ("2h 5m", timedelta(hours=2, minutes=5)),
        (" 2d ", timedelta(days=2)),
        ("1w", timedelta(weeks=1)),
        ("500ms", timedelta(milliseconds=500)),
        ("1.5h", timedelta(minutes=90)),
        ("1w2d3h4m5s6ms", timedelta(days=9, hours=3, minutes=4, seconds=5, milliseconds=6)),
        ("3650d", LONGEST),
        ("1ms", SHORTEST),
    ],
)
def test_parse(text: str, expected: timedelta) -> None:
    """Units from weeks to milliseconds add up, with fractions and spaces where they help."""
    assert expected == parse_duration(text)


@pytest.mark.parametrize("text", ["90", " 90 ", "1.5"])
def test_a_plain_number_is_refused_with_the_units(text: str) -> None:
    """A number without a unit is refused, and the message shows it with three of them."""
    number = text.strip()
    with pytest.raises(InvalidInput) as refused:
        parse_duration(text, name="older_than")
    assert ("older_than", text) == (refused.value.name, refused.value.value)
    expected = f"a unit after the number, such as {number}s, {number}m or {number}h"
    assert expected == refused.value.accepted


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "h", "-5s", "+5s", "1e3s", "1h30", "30m1h", "1m1m", "1 h", "5M", "1mon", "inf"),
        *(".5h", "1.h", "\u0661s", "1h\n1m", "1h,5m"),
        pytest.param("9" * 5000 + "s", id="too many digits"),
        pytest.param("1." + "0" * 5000 + "s", id="too many decimals"),
    ],
)
def test_garbage_is_refused(text: str) -> None:
    """What is not a sum of units, longest first, is refused with examples of what is."""
    with pytest.raises(InvalidInput, match="use a duration such as 500ms, 90s, 30m, 1h30m, 2d or"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["0s", "0h0m", "0.9ms", "3651d", "999999999999999w"])
def test_nothing_and_the_absurd_are_refused(text: str) -> None:
    """A duration of nothing, or of more than 10 years, is refused with the range."""
    with pytest.raises(InvalidInput, match="use a duration from 1ms to 10 years"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "short", "exact"),
    [
        (0, "0s", "0s"),
        (0.0004, "0s", "0s"),
        (0.35, "350ms", "350ms"),
        (0.9996, "1s", "1s"),
        (1.59, "1.5s", "1.59s"),
        (12.345, "12s", "12.345s"),
        (38 * 60, "38m", "38m"),
        (38 * 60 + 12, "38m 12s", "38m 12s"),
        (2 * 3600 + 5 * 60 + 59, "2h 5m", "2h 5m 59s"),
        (2 * 3600 + 59, "2h", "2h 59s"),
        (25 * 3600 + 90, "1d 1h", "1d 1h 1m 30s"),
        (400 * 86400, "400d", "400d"),
        (-3.27, "-3.2s", "-3.27s"),
        (-0.0001, "0s", "0s"),
    ],
)
def test_format(seconds: float, short: str, exact: str) -> None:
    """Two units are enough to read, all of them when exactness is asked for."""
    assert (short, exact) == (format_duration(seconds), format_duration(seconds, exact=True))


def test_format_takes_a_timedelta() -> None:
    """A timedelta reads as its seconds do."""
    assert "2h 5m" == format_duration(timedelta(hours=2, minutes=5))


@given(st.integers(min_value=1, max_value=LONGEST // SHORTEST))
def test_the_exact_form_is_read_back(milliseconds: int) -> None:
    """What format_duration writes exactly, parse_duration reads as the same duration."""
    duration = timedelta(milliseconds=milliseconds)
    assert duration == parse_duration(format_duration(duration, exact=True))


@given(st.integers(min_value=1, max_value=LONGEST // SHORTEST))
def test_the_short_form_never_says_more_than_there_is(milliseconds: int) -> None:
    """The short form is at most the duration, and less by under a tenth of it or 100 ms."""
    duration = timedelta(milliseconds=milliseconds)
    shown = parse_duration(format_duration(duration))
    assert timedelta(0) <= duration - shown < max(duration / 10, 100 * SHORTEST)


@given(st.text(max_size=20))
def test_any_text_is_a_duration_or_an_invalid_input(text: str) -> None:
    """No text makes parse_duration raise anything but InvalidInput."""
    with suppress(InvalidInput):
        assert SHORTEST <= parse_duration(text) <= LONGEST
