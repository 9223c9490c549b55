"""Records are read as the scripts write them, and everything else is refused."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shedder.errors import RecordUnreadable
from shedder.queues.controls import Divert, Drain, Pause, diverts_from, pause_from, rate_from
from shedder.selection import Selection
from shedder.store.codec import ms_from_time, text_of, time_from_ms
from shedder.units import Rate

SINCE = datetime(2026, 11, 23, 9, 0, 0, 123_000, UTC)
PAUSE = {"v": 1, "by": "oncall", "why": "db at 99 %", "since": ms_from_time(SINCE)}
SELECTION = Selection.parse(functions=["app.*"], meta=["tenant=acme"], older_than="1h")
ORDER = {
    "v": 1,
    "id": "o1",
    "by": "oncall",
    "why": "db",
    "since": ms_from_time(SINCE),
    "whole": False,
    "selection": json.dumps(SELECTION.to_record()),
    "select": {"what": "scripts need"},
    "front": "f",
    "rest": "r",
    "slot": "s",
    "bucket": "b",
    "skipped": "k",
}
DRAIN = {"rate": 0.2, "burst": 20, "stay": False, "by": "lead", "why": "ok", "since": PAUSE["since"]}


def as_json(record: Any, **changes: Any) -> bytes:
    return json.dumps({**record, **changes}).encode()


def orders_as_json(**changes: Any) -> bytes:
    return json.dumps([{**ORDER, **changes}]).encode()


def test_a_pause_is_read() -> None:
    """Every field of a stored pause arrives, times as UTC datetimes."""
    until = SINCE + timedelta(minutes=5)
    text = as_json(PAUSE, until=ms_from_time(until), parked=True)
    assert Pause("mail", "oncall", "db at 99 %", SINCE, until, True) == pause_from("mail", text)


@pytest.mark.parametrize("text", [None, "", b""])
def test_no_record_is_no_control(text: bytes | str | None) -> None:
    """A lane without a record is neither paused nor diverted."""
    assert pause_from("mail", text) is None
    assert () == diverts_from("mail", text)


def test_an_empty_array_of_the_scripts_is_no_divert() -> None:
    """The scripts' encoder writes an empty array as an empty object."""
    assert () == diverts_from("mail", b"{}")


@pytest.mark.parametrize(("later_ms", "in_force"), [(-1, True), (0, False), (1, False)])
def test_a_pause_ends_at_its_time(later_ms: int, in_force: bool) -> None:
    """A pause holds up to the millisecond before its end, as in the scripts."""
    until = SINCE + timedelta(minutes=5)
    pause = Pause("mail", "oncall", "db", SINCE, until)
    assert in_force == pause.holds_at(until + timedelta(milliseconds=later_ms))


def test_a_pause_without_end_is_always_in_force() -> None:
    """A pause that somebody must end does not end by itself."""
    assert Pause("mail", "oncall", "db", SINCE).holds_at(SINCE + timedelta(days=100_000))


def test_an_order_is_read() -> None:
    """Every field of a stored divert arrives, with its keys and its drain."""
    (order,) = diverts_from("mail", orders_as_json(drain=DRAIN, scanning=True))
    drain = Drain(Rate(200), "lead", "ok", SINCE)
    expected = Divert("mail", "o1", "oncall", "db", SINCE, SELECTION, drain=drain, is_scanning=True)
    assert expected == order.divert
    assert (("s", "f", "r"), "b", "k") == (order.backlog_keys, order.bucket, order.skipped)


def test_an_order_is_counted() -> None:
    """The numbers of a divert come from its lists and from the hash of its drain."""
    (order,) = diverts_from("mail", orders_as_json(drain=DRAIN, restoring=True))
    counts = {b"released": b"7", b"skipped:gone": b"2", b"tokens": b"0.5", b"skipped:x": b"?"}
    counted = order.counted(backlog=3, counts=counts)
    assert (3, True) == (counted.backlog, counted.is_restoring)
    assert counted.drain is not None
    assert (7, {"gone": 2, "x": 0}) == (counted.drain.released, dict(counted.drain.skipped))


def test_a_drain_that_is_not_there_counts_nothing() -> None:
    """What an earlier drain left in its hash is not told of a divert that does not drain."""
    (order,) = diverts_from("mail", orders_as_json())
    assert order.counted(backlog=0, counts={b"released": b"7"}).drain is None


DAMAGED = [
    b"\xff\xfe",
    b"nonsense",
    b"null",
    b"5",
    b"[" * 100_000,
    *(as_json(PAUSE, v=version) for version in (0, 2, "1", None, True)),
    *(as_json(PAUSE, since=since) for since in ("now", None, 1e300, float("nan"), float("inf"))),
    as_json(PAUSE, until="soon"),
    as_json(PAUSE, by=7),
    b'{"v": 1}',
]


@pytest.mark.parametrize("text", DAMAGED)
def test_a_damaged_or_newer_pause_is_refused(text: bytes) -> None:
    """A pause that cannot be read whole is refused with its lane, and never half read."""
    with pytest.raises(RecordUnreadable, match=r"the record of the pause of mail cannot be read"):
        pause_from("mail", text)


@pytest.mark.parametrize(
    "text",
    [
        *DAMAGED[:5],
        as_json(ORDER),
        b"[5]",
        *(orders_as_json(v=version) for version in (0, 3, "1", None)),
        orders_as_json(id=5),
        orders_as_json(front=None),
        orders_as_json(selection={}),
        orders_as_json(selection='{"weekday": "monday"}'),
        orders_as_json(drain=[]),
        orders_as_json(drain={**DRAIN, "rate": 0}),
        orders_as_json(drain={**DRAIN, "rate": float("inf")}),
    ],
)
def test_a_damaged_or_newer_divert_is_refused(text: bytes) -> None:
    """A divert that cannot be read whole is refused with its lane, and never half read."""
    with pytest.raises(RecordUnreadable, match=r"the record of the diverts of mail cannot be read"):
        diverts_from("mail", text)


def test_the_refusal_of_a_newer_record_tells_its_version() -> None:
    """Who meets a record of a newer shedder learns that this one is too old."""
    with pytest.raises(RecordUnreadable, match="it is of version 2; this shedder reads 1"):
        pause_from("mail", as_json(PAUSE, v=2))


@given(st.sampled_from(["second", "minute", "hour", "day"]), st.integers(1, 100_000))
def test_a_rate_comes_back_as_it_was_ordered(unit: str, amount: int) -> None:
    """A whole number per unit outlives the scripts' 14 digits, at least as the same pace."""
    rate = Rate.parse(f"{amount}/{unit}")
    stored = float(f"{rate.per_second / 1000:.14g}")
    assert rate.per_second == pytest.approx(rate_from(stored).per_second, rel=1e-12)
    assert rate_from(stored).amount == round(rate_from(stored).amount)


@pytest.mark.parametrize("text", ["200/second", "100/minute", "7/hour", "1/day", "1.25/second"])
def test_a_rate_reads_as_people_write_it(text: str) -> None:
    """A stored rate is shown in the unit in which it is a whole number."""
    rate = Rate.parse(text)
    shown = rate_from(float(f"{rate.per_second / 1000:.14g}"))
    assert {"1.25/second": "75/minute"}.get(text, text) == str(shown)


def test_a_rate_that_is_no_whole_number_in_any_unit_is_told_per_second() -> None:
    """Any positive pace can be read."""
    assert Rate(1.23456789) == rate_from(0.00123456789)


@given(st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1)))  # noqa: DTZ001
def test_times_survive_to_the_millisecond(when: datetime) -> None:
    """A time is the same after it was written as milliseconds and read again."""
    exact = when.replace(microsecond=when.microsecond // 1000 * 1000, tzinfo=UTC)
    assert exact == time_from_ms(ms_from_time(exact))


def test_text_that_is_no_utf_8_is_still_shown() -> None:
    """Bytes that are no text do not make a command fail."""
    assert ("ä", "a\N{REPLACEMENT CHARACTER}") == (text_of("ä".encode()), text_of(b"a\xff"))
