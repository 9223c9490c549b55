"""The plan computes what its model says: compared with the model run in small steps of time."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shedder.response.plan import LaneLoad, Option, forecast, options_for

HIGH = LaneLoad("mail.high", 600, 120.0, 5.0, 30.0, is_urgent=True)
LOW = LaneLoad("mail", 9000, 600.0, 20.0, 3600.0)
NOTHING = Option("do nothing")


def test_a_lane_alone_is_gone_after_depth_by_net_pace() -> None:
    """1,000 jobs at 60 a second, of which 10 are new, take 20 seconds."""
    found = forecast([LaneLoad("mail", 1000, 60, 10, 30)], NOTHING, pace=60, workers=4)
    assert 20.0 == pytest.approx(found.gone_in)


def test_the_first_lane_takes_what_it_can_use() -> None:
    """High goes at the whole pace, then keeps what arrives, and the rest gets what is left."""
    found = forecast([HIGH, LOW], NOTHING, pace=65, workers=4)
    first, second, *_ = found.phases
    assert ({"mail.high": 65.0, "mail": 0.0}, 10.0) == (first.served, first.seconds)
    assert {"mail.high": 5.0, "mail": 60.0} == second.served
    assert 10 + (9000 + 200) / 40 == pytest.approx(found.gone_in)


def test_urgent_work_is_well_when_its_oldest_is_young_enough() -> None:
    """600 jobs that came over 120 s, at 65 a second: the oldest is 30 s old after 7.5 s."""
    found = forecast([HIGH, LOW], NOTHING, pace=65, workers=4)
    # at t: t + 120 - 65 t * 0.2 = 30
    assert 90 / 12 == pytest.approx(found.urgent_in)


def test_more_workers_do_more() -> None:
    """A third more workers have a third more pace."""
    found = forecast([HIGH], Option("x", more_workers=1), pace=60, workers=3)
    assert 80.0 == found.pace


def test_what_is_put_aside_is_left() -> None:
    """A diverted lane takes no pace, and its jobs are told as left."""
    option = Option("divert mail", closed=frozenset({"mail"}))
    found = forecast([replace(HIGH, depth=0.0, oldest=0.0), LOW], option, pace=65, workers=4)
    assert (9000, 0.0, 0.0) == (found.left, found.urgent_in, found.gone_in)


def test_a_limit_leaves_pace_for_what_comes_after() -> None:
    """A lane that is limited gives the rest to the next lane."""
    option = Option("limit", limits={"mail.high": 10.0})
    first = forecast([HIGH, LOW], option, pace=65, workers=4).phases[0]
    assert {"mail.high": 10.0, "mail": 55.0} == first.served


@pytest.mark.parametrize("pace", [0.0, 4.0, 24.9])
def test_what_grows_is_never_over(pace: float) -> None:
    """Where more arrives than is done there is no end, and none is promised."""
    found = forecast([HIGH, LOW], NOTHING, pace=pace, workers=4)
    assert found.gone_in is None


def test_without_workers_nothing_ends() -> None:
    """No pace is made of nothing."""
    found = forecast([HIGH], Option("more", more_workers=2), pace=0, workers=0)
    assert (None, None) == (found.urgent_in, found.gone_in)


def test_options_name_what_could_be_done() -> None:
    """Nothing, a pause, a divert, a limit and workers; none of them touches urgent work."""
    found = options_for([HIGH, LOW])
    want = ["do nothing", "pause mail", "divert mail", "limit mail to 10/second", "2 more workers"]
    assert want == [option.name for option in found]
    assert all("mail.high" not in option.closed for option in found)


_loads = st.builds(
    LaneLoad,
    st.just("x"), st.integers(0, 500).map(float), st.floats(1, 200), st.floats(0, 20),
    st.floats(1, 100), st.just(True),
)  # fmt: skip


@given(_loads, _loads, st.floats(1, 80))
def test_the_arithmetic_agrees_with_small_steps(first: LaneLoad, second: LaneLoad, pace: float) -> None:
    """A simulation of the same model in small steps of time ends at the same moments."""
    lanes = [replace(first, lane="a"), replace(second, lane="b", is_urgent=False)]
    found = forecast(lanes, NOTHING, pace=pace, workers=1)
    gone, step, now = None, 0.02, 0.0
    depths = [lane.depth for lane in lanes]
    while now < 60:
        if max(depths) <= 1e-6:
            gone = now
            break
        left = pace
        for index, lane in enumerate(lanes):
            able = depths[index] / step + lane.arrivals
            served = min(left, able)
            depths[index] += (lane.arrivals - served) * step
            depths[index] = 0.0 if depths[index] < 1e-6 else depths[index]
            left -= served
        now += step
    if gone is None:
        assert found.gone_in is None or found.gone_in > 59
    else:
        assert found.gone_in == pytest.approx(gone, abs=2 * step + 0.05 * gone)
