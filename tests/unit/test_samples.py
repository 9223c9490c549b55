"""Stored samples tell how a lane was, and how fast it moved."""

from __future__ import annotations

import struct
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from shedder.queues.outcomes import Counts
from shedder.queues.samples import Pace, Sample, between, combined, paces_of, samples_from, with_failed

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def sample(seconds: int, waiting: int = 0, **numbers: int) -> Sample:
    known = dict.fromkeys(("backlog", "running", "oldest", "oldest_in_backlog", "started", "ended"), 0)
    return Sample(at(seconds), waiting, **{**known, **numbers})


def stored(each: Sample) -> bytes:
    numbers = [getattr(each, name) for name in Sample.__slots__[1:8]]
    return struct.pack(">8I", int(each.at.timestamp()), *numbers)


def test_fine_samples_win_over_coarse_ones_of_the_same_time() -> None:
    """Of a time for which there are several steps only the finest is told."""
    fine = [sample(second, 9) for second in range(600, 700, 10)]
    coarse = [sample(second, 9) for second in range(0, 700, 60)]
    want = [0, 60, 120, 180, 240, 300, 360, 420, 480, 540, *range(600, 700, 10)]
    got = samples_from([[*map(stored, fine)], [*map(stored, coarse)]])
    assert [at(second) for second in want] == [each.at for each in got]


def test_what_is_no_sample_is_left_out() -> None:
    """Damaged entries cost nothing but themselves."""
    assert (sample(0, 1),) == samples_from([[b"", b"damaged", stored(sample(0, 1)), bytes(31)]])


def test_an_empty_lane_that_stayed_empty_shows_how_long() -> None:
    """The gap that an empty lane leaves ends one step before the next sample, still empty."""
    found = samples_from([[stored(sample(0, started=5)), stored(sample(3600, 7, started=5))]])
    want = [(0, 0), (3598, 0), (3600, 7)]
    assert want == [((each.at - NOON).total_seconds(), each.waiting) for each in found]
    assert 3.5 == paces_of(found)[-1].arrivals


def test_a_gap_of_a_lane_with_jobs_is_a_gap() -> None:
    """Where nobody wrote samples while jobs waited, nothing is invented."""
    found = samples_from([[stored(sample(0, 3)), stored(sample(3600, 7))]])
    assert 2 == len(found)


def test_a_time_begins_with_how_the_lane_was_before() -> None:
    """A lane that was sampled before a time began is known from its beginning, and has aged."""
    found = between([sample(0, 3, oldest=60), sample(100, 5)], at(30), at(200))
    assert (sample(30, 3, oldest=90), sample(100, 5)) == found


def test_counters_that_went_round_are_no_arrivals() -> None:
    """A counter that passed what 32 bits hold goes on from zero."""
    (pace,) = paces_of([sample(0, started=2**32 - 5, ended=0), sample(10, started=5, ended=20)])
    assert Pace(at(10), 10.0, 1.0, 1.0, 2.0) == pace


def test_what_failed_did_not_end_well() -> None:
    """A pace tells what ended, and apart from it what failed."""
    (pace,) = paces_of([sample(0), sample(10, started=30, ended=30, failed=20)])
    assert (3.0, 2.0, 1.0) == (pace.completions, pace.failing, pace.well)


def test_samples_get_the_failed_jobs_of_their_moment() -> None:
    """Those of the last count before, which holds until the next."""
    counts = [Counts(at(0)), Counts(at(60), {"mail": (9, 4)}), Counts(at(120), {"mail": (20, 7)})]
    found = with_failed([sample(second) for second in (0, 59, 60, 119, 121)], "mail", counts)
    assert [0, 0, 4, 4, 7] == [each.failed for each in found]


def test_lanes_are_told_as_if_they_were_one() -> None:
    """Sums of their last numbers, and the oldest of all; what was counted before is no news."""
    mail = [sample(0, 3, oldest=60, started=5), sample(20, 1, oldest=9, started=9)]
    low = [sample(10, 7, oldest=30, backlog=2, started=100, ended=90, failed=1)]
    found = combined([mail, [], low])
    want = [(0, 3, 60, 105, 0), (10, 10, 60, 105, 2), (20, 8, 30, 109, 2)]
    assert want == [((each.at - NOON).seconds, each.waiting, each.oldest, each.started, each.backlog) for each in found]
    assert (90, 1) == (found[0].ended, found[0].failed)


@given(st.lists(st.tuples(st.integers(1, 500), st.integers(0, 500), st.integers(0, 500)), min_size=1, max_size=30))
def test_paces_add_up_to_what_happened(steps: list[tuple[int, int, int]]) -> None:
    """Over any history, paces times seconds are the jobs that arrived, started and ended."""
    second, waiting, started = 0, 0, 0
    history = [sample(0)]
    arrived_in_all = 0
    for seconds, arrived, wanted in steps:
        starts = min(wanted, waiting + arrived)
        second, started = second + seconds, started + starts
        waiting += arrived - starts
        arrived_in_all += arrived
        history.append(sample(second, waiting, started=started, ended=started))
    paces = paces_of(samples_from([[*map(stored, history)]]))
    for name, want in (("arrivals", arrived_in_all), ("starts", started), ("completions", started)):
        got = sum(getattr(pace, name) * pace.seconds for pace in paces)
        assert abs(want - got) < 1e-6, name
