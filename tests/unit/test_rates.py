"""Rates are read and written the way that an operator types them."""

from __future__ import annotations

import math
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shedder.errors import InvalidInput
from shedder.units import FASTEST_PER_SECOND, SLOWEST_PER_SECOND, Rate, burst_of


@pytest.mark.parametrize(
    ("text", "rate", "canonical"),
    [
        ("200/second", Rate(200), "200/second"),
        ("200/s", Rate(200), "200/second"),
        ("1/sec", Rate(1), "1/second"),
        ("0.5/s", Rate(0.5), "0.5/second"),
        ("100/minute", Rate(100, 60), "100/minute"),
        ("100/min", Rate(100, 60), "100/minute"),
        ("100/m", Rate(100, 60), "100/minute"),
        ("1/h", Rate(1, 3600), "1/hour"),
        ("1.50/hour", Rate(1.5, 3600), "1.5/hour"),
        ("3/day", Rate(3, 86400), "3/day"),
        ("3/d", Rate(3, 86400), "3/day"),
        (" 200 / second ", Rate(200), "200/second"),
        ("1000000000/s", Rate(1e9), "1000000000/second"),
        ("0.000001/s", Rate(1e-6), "0.000001/second"),
    ],
)
def test_parse_and_str(text: str, rate: Rate, canonical: str) -> None:
    """Every accepted spelling gives its rate, which is written in one canonical way."""
    assert (rate, canonical) == (Rate.parse(text), str(Rate.parse(text)))


def test_per_second() -> None:
    """The pace of a rate is its amount over its seconds."""
    assert 200.0 == Rate.parse("200/s").per_second
    assert 2.0 == Rate.parse("120/minute").per_second


def test_a_rate_in_a_unit_without_a_name_is_written_per_second() -> None:
    """Ten in five seconds reads as two a second."""
    assert "2/second" == str(Rate(10, per=5))


@pytest.mark.parametrize("text", ["0/s", "0.0/day", "000/hour"])
def test_zero_is_refused_in_favour_of_pause(text: str) -> None:
    """A rate of zero would stop everything for ever, so the message names the pause."""
    with pytest.raises(InvalidInput) as refused:
        Rate.parse(text, name="pace")
    expected = (
        f"pace: {text!r} is not accepted; use a positive rate such as 200/second, or `shedder pause` to stop altogether"
    )
    assert expected == str(refused.value)


@pytest.mark.parametrize(
    "text",
    [
        *("", "200", "/s", "200/", "-1/s", "+1/s", "nan/s", "inf/s", "1e3/s", "1/week", "1/S"),
        *("1/5s", "1,000/s", "1//s", "1/s/s", "\u0661/s", "1/s\n2", ".5/s"),
        pytest.param("9" * 5000 + "/s", id="too many digits"),
    ],
)
def test_garbage_is_refused(text: str) -> None:
    """What is not a number per unit is refused with examples of what is."""
    with pytest.raises(InvalidInput, match="use a positive rate such as 200/second, 100/minute"):
        Rate.parse(text)


@pytest.mark.parametrize("text", ["1000000001/s", "0.00001/day"])
def test_an_absurd_pace_is_refused(text: str) -> None:
    """A pace that no queue has is refused with the range."""
    with pytest.raises(InvalidInput, match="use a rate from one in 30 years to 1000000000/second"):
        Rate.parse(text)


@pytest.mark.parametrize(
    ("amount", "per"),
    [
        *((0, 1), (-1, 1), (1, 0), (1, -1), (-1, -1), (1e10, 1), (1e-10, 1)),
        *((math.nan, 1), (1, math.nan), (math.inf, 1), (1, math.inf), (math.inf, math.inf)),
        *(("5/s", 1), (None, 1), (True, 1), (1, "minute"), (1, timedelta(minutes=1)), (10**400, 1)),
    ],
)
def test_no_record_holds_a_rate_that_is_not_positive_and_finite(amount: Any, per: Any) -> None:
    """A Rate made without parsing is checked too, its types among it."""
    with pytest.raises(InvalidInput):
        Rate(amount, per=per)


@given(
    st.floats(min_value=SLOWEST_PER_SECOND, max_value=FASTEST_PER_SECOND), st.sampled_from([1.0, 60.0, 3600.0, 86400.0])
)
def test_what_str_writes_is_read_back(per_second: float, per: float) -> None:
    """The canonical form is read as the very same rate."""
    amount = per_second * per
    if not SLOWEST_PER_SECOND <= amount / per <= FASTEST_PER_SECOND:
        amount = per  # rounding pushed it over the edge
    assert Rate(amount, per=per) == Rate.parse(str(Rate(amount, per=per)))


@given(st.text(max_size=20))
def test_any_text_is_a_rate_or_an_invalid_input(text: str) -> None:
    """No text makes parse raise anything but InvalidInput."""
    with suppress(InvalidInput):
        assert Rate.parse(text).per_second > 0


@pytest.mark.parametrize(
    ("text", "burst"), [("1/minute", 1 + 1 / 600), ("1/s", 1.1), ("10/s", 2), ("20/s", 2), ("50/s", 5)]
)
def test_a_burst_is_a_tenth_of_a_second_and_one_at_least(text: str, burst: float) -> None:
    """A slow rate has room beside its one token for what comes in a tenth of a second."""
    assert burst == pytest.approx(burst_of(Rate.parse(text)))
