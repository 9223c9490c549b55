"""The plan computes what its model says: compared with the model run in small steps of time."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shedder.lanes import lane_of
from shedder.policy.model import Policy, Rule
from shedder.queues.controls import Divert, Drain
from shedder.queues.outcomes import LabelOutcomes, Outcomes
from shedder.queues.preview import FunctionMix
from shedder.queues.samples import Sample
from shedder.response.plan import (
    FAILS,
    HELD,
    SLOW,
    UNKNOWN,
    LaneLoad,
    Option,
    Outlook,
    forecast,
    options_for,
    read_outlook,
)
from shedder.selection import Selection
from shedder.status.readings import LaneStatus, Status
from shedder.units import Rate

NOW = datetime(2026, 11, 25, 2, 30, tzinfo=UTC)

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
    assert (9000, 0.0, None, HELD) == (found.left, found.urgent_in, found.gone_in, found.gone_never)


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
    assert (UNKNOWN, UNKNOWN) == (found.urgent_never, found.gone_never)


def test_work_that_fails_is_not_done() -> None:
    """However fast it goes: neither it nor all that is open is over, but with its lane held the rest is."""
    failing = replace(LOW, failing=0.96, is_urgent_failing=True)
    found = forecast([HIGH, failing], NOTHING, pace=65, workers=4)
    assert (7.5, None, FAILS) == (pytest.approx(found.urgent_in), found.gone_in, found.gone_never)
    assert (None, FAILS) == _never(replace(HIGH, failing=0.3, is_urgent_failing=True), LOW)
    stop = next(each for each in options_for([HIGH, failing]) if each.closed)
    held = forecast([HIGH, failing], stop, pace=65, workers=4)
    assert ("pause mail", 10.0, 9000.0) == (stop.name, pytest.approx(held.gone_in), held.left)


def _never(*lanes: LaneLoad) -> tuple[float | None, str]:
    found = forecast(lanes, NOTHING, pace=65, workers=4)
    return found.urgent_in, found.urgent_never


def test_what_is_paused_stays_so() -> None:
    """It is not well now, and nothing of it is done, though no open lane has jobs."""
    paused = forecast([replace(HIGH, is_closed=True)], NOTHING, pace=65, workers=4)
    assert (None, HELD, None, HELD, 600.0) == (
        paused.urgent_in, paused.urgent_never, paused.gone_in, paused.gone_never, paused.left,
    )  # fmt: skip


def test_a_drain_that_burns_is_to_be_stopped() -> None:
    """What is in its backlog stays aside, and so does what arrives behind it."""
    drain = replace(LOW, draining=9000.0, failing=1.0, limit=50.0)
    (stop,) = [each for each in options_for([HIGH, drain]) if each.stopped]
    found = forecast([HIGH, drain], stop, pace=65, workers=4)
    assert ("drain mail --stop", 9000.0, 0.0) == (stop.name, found.left, found.phases[0].served["mail"])
    part = replace(drain, depth=9500.0)
    served = forecast([HIGH, part], stop, pace=65, workers=4).phases[0].depths["mail"]
    assert served == 500.0


def test_what_fills_an_urgent_lane_can_be_put_aside() -> None:
    """The function of which most jobs wait, and that may wait; the rest is done without it."""
    lane = LaneLoad("mail", 1000, 600.0, 0.0, 30.0, is_urgent=True, movable={"app.news": 0.9, "app.ads": 0.05})
    (divert,) = [each for each in options_for([lane]) if each.taken]
    assert ("divert news of mail", {"mail": 0.9}) == (divert.name, divert.taken)
    assert ("divert", "mail", "--function", "app.news") == divert.command
    found = forecast([lane], divert, pace=10, workers=1)
    assert (900.0, pytest.approx(10.0)) == (found.left, found.gone_in)


def test_options_name_what_could_be_done() -> None:
    """Nothing, a pause, a divert, a limit and workers; none of them touches urgent work."""
    found = options_for([HIGH, LOW])
    want = ["do nothing", "pause mail", "divert mail", "limit mail to 10/second", "2 more workers"]
    assert want == [option.name for option in found]
    assert all("mail.high" not in option.closed for option in found)


# from what was read to the model


def lane_status(name: str, waiting: int = 0, **more: Any) -> LaneStatus:
    found = lane_of(name)
    oldest = NOW - timedelta(seconds=600) if waiting else None
    return LaneStatus(name, found.queue, found.priority, **{"waiting": waiting, "oldest": oldest, "workers": 2, **more})


def outlook(*lanes: LaneStatus, policy: Policy | None = None, labels: tuple[LabelOutcomes, ...] = (),
            **more: Any) -> Outlook:  # fmt: skip
    samples = more.pop("samples", {})
    return read_outlook(Status(NOW, lanes, labels=labels, **more), samples, policy or Policy())


def test_a_queue_that_is_declared_critical_is_served_first() -> None:
    """Its own lane is `normal`; workers serve it before a lane of high priority, and so does the model."""
    policy = Policy(rules=(Rule(queue="charges", priority="critical"),))
    found = outlook(lane_status("mail.high", 9000), lane_status("charges", 20), policy=policy)
    assert [("charges", True), ("mail.high", True)] == [(each.lane, each.is_urgent) for each in found.lanes]
    low = outlook(lane_status("mail", 9000), lane_status("charges", 20), policy=policy)
    assert [("charges", True), ("mail", False)] == [(each.lane, each.is_urgent) for each in low.lanes]


def _samples(arrived: list[int]) -> tuple[Sample, ...]:
    """One every two seconds up to now, of a lane in which so many jobs arrived between two."""
    depths = [sum(arrived[:number]) for number in range(len(arrived) + 1)]
    first = NOW - timedelta(seconds=2 * len(arrived))
    return tuple(Sample(first + timedelta(seconds=2 * number), depth, 0, 0, 0, 0, 0, 0)
                 for number, depth in enumerate(depths))  # fmt: skip


@pytest.mark.parametrize(
    ("arrived", "rate"),
    [
        ([20] * 30, 10.0),
        ([200] * 20 + [0] * 10, 0.0),
        ([0] * 28 + [5000, 0], 0.0),
        ([20] * 28 + [5000, 20], 10.0),
        ([0] * 30, 0.0),
    ],
    ids=["steady", "a burst that is over", "many at once", "many at once among others", "none"],
)
def test_a_burst_that_is_over_is_no_arrival_rate(arrived: list[int], rate: float) -> None:
    """What arrives steadily goes on; what came at once, or has ended, does not."""
    found = outlook(lane_status("mail", 5000, arrivals=83.0), samples={"mail": _samples(arrived)})
    assert rate == pytest.approx(found.lanes[0].arrivals)


def test_what_is_put_aside_already_is_not_open() -> None:
    """A whole divert closes its lane; one that drains, or a limit, does not."""
    whole = Divert("mail", "o", "b", "r", NOW, Selection(), backlog=30)
    drain = Drain(Rate(5.0), "b", "r", NOW)
    (aside,) = outlook(lane_status("mail", backlog=30, diverts=(whole,))).lanes
    assert (True, 0.0, 30.0, 0.0) == (aside.is_closed, aside.depth, aside.aside, aside.draining)
    (drains,) = outlook(lane_status("mail", backlog=30, diverts=(replace(whole, drain=drain),))).lanes
    assert (False, 30.0, 0.0, 30.0, 5.0) == (
        drains.is_closed, drains.depth, drains.aside, drains.draining, drains.limit,
    )  # fmt: skip
    limit = replace(whole, is_limit=True, most=1)
    (limited,) = outlook(lane_status("mail", backlog=30, completions=8.0, diverts=(limit,))).lanes
    assert (False, 30.0, 0.0, 4.0) == (limited.is_closed, limited.depth, limited.draining, limited.limit)
    (suspended,) = outlook(lane_status("mail", 9), is_suspended=True).lanes
    assert suspended.is_closed


FAILED = Outcomes(1.0, 49.0, ended_lately=1850, failed_lately=1776)


def test_which_kind_fails_is_told_by_its_label() -> None:
    """Newsletters fail in the lane of receipts that do well; or the few receipts fail, unseen by the lane."""
    policy = Policy(rules=(
        Rule(selection=Selection(functions=("app.receipt",)), label="receipts", tolerance=timedelta(minutes=5)),
        Rule(selection=Selection(functions=("app.news",)), label="news", tolerance=timedelta(hours=1)),
    ))  # fmt: skip
    good, bad = Outcomes(5.0, 0.0, ended_lately=90), Outcomes(0.0, 5.0, ended_lately=90, failed_lately=90)
    busy = lane_status("mail", 500, outcomes=FAILED)
    (lane,) = outlook(busy, policy=policy, labels=(LabelOutcomes("receipts", good),)).lanes
    assert (True, False) == (lane.failing > 0.9, lane.is_urgent_failing)
    calm = lane_status("mail", 500, outcomes=Outcomes(50.0, 5.0, ended_lately=9000, failed_lately=90))
    (lane,) = outlook(calm, policy=policy, labels=(LabelOutcomes("receipts", bad),)).lanes
    assert (True, True) == (lane.failing > 0.9, lane.is_urgent_failing)


def test_what_the_policy_calls_urgent_is_not_put_aside() -> None:
    """The kind with the shortest tolerance stays; what may be shed goes, and what nobody named."""
    policy = Policy(rules=(
        Rule(selection=Selection(functions=("app.receipt",)), label="receipts", tolerance=timedelta(minutes=5)),
        Rule(selection=Selection(functions=("app.news",)), shed=1, label="news"),
    ))  # fmt: skip
    mix = FunctionMix(500, 100, {"app.receipt": 50, "app.news": 30, "app.other": 15, "": 5})
    status = Status(NOW, (lane_status("mail", 500),))
    (lane,) = read_outlook(status, {}, policy, {"mail": mix}).lanes
    assert {"app.news": 0.3, "app.other": 0.15} == lane.movable


def test_the_pace_of_stock_workers_is_what_rq_keeps() -> None:
    """They count nothing; how much arrives is not known then, and named as that."""
    kept = Outcomes(20.0, 5.0, ended_lately=40, is_counted=False)
    found = outlook(lane_status("mail", 500, workers=0, stock_workers=2, outcomes=kept))
    assert (25.0, 2, ("mail",)) == (found.pace, found.workers, found.unmeasured)


# the sentences in random states

_NAMES = ("a.high", "a", "a.low", "b")


def _load_of(name: str) -> st.SearchStrategy[LaneLoad]:
    @st.composite
    def build(draw: Any) -> LaneLoad:
        depth = float(draw(st.one_of(st.just(0), st.integers(1, 300))))
        fails = draw(st.sampled_from([0.0, 0.0, 0.0, 0.4, 1.0]))
        draining = draw(st.sampled_from([0.0, 0.0, 0.5, 1.0])) * depth
        return LaneLoad(
            name, depth, draw(st.floats(0.5, 100)) if depth else 0.0, draw(st.sampled_from([0.0, 0.0, 1.0, 6.0])),
            draw(st.floats(1, 60)), is_urgent=draw(st.booleans()), is_closed=draw(st.integers(0, 3)) == 0,
            draining=draining, aside=float(draw(st.sampled_from([0, 0, 50]))), failing=fails,
            is_urgent_failing=fails > 0, movable=draw(st.sampled_from([{}, {"f": 0.75, "g": 0.25}])),
        )  # fmt: skip

    return build()


_states = st.tuples(*map(_load_of, _NAMES))


@given(_states, st.sampled_from([0.0, 3.0, 20.0, 80.0]))
def test_no_sentence_of_the_plan_is_false(lanes: tuple[LaneLoad, ...], pace: float) -> None:
    """For each option: what is over is done, what is held or fails is never told as over, no job gets lost."""
    for option in options_for(lanes):
        found = forecast(lanes, option, pace=pace, workers=2)
        held = {each.lane for each in lanes if each.is_closed} | option.closed
        whole = {each.lane for each in lanes if each.lane in option.stopped and each.draining == each.depth}
        held |= whole
        depths = dict(found.phases[0].depths)
        before = sum(each.depth + each.aside for each in lanes)
        assert before == pytest.approx(sum(depths[each] for each in depths if each not in held) + found.left)
        _check_gone(lanes, found, held)
        _check_urgent(lanes, found, held)


def _check_gone(lanes: tuple[LaneLoad, ...], found: Any, held: set[str]) -> None:
    depths = found.phases[0].depths
    open_lanes = [each for each in lanes if each.lane not in held]
    burning = [each for each in open_lanes if each.failing and (depths[each.lane] > 1e-6 or each.arrivals)]
    assert (found.gone_in is None) == (found.gone_never != "")
    assert (found.gone_never == FAILS) == bool(burning)
    if found.gone_never == HELD:
        assert found.left > 0
        assert all(depths[each.lane] <= 1e-6 for each in open_lanes)
    if found.gone_in is not None:
        last = found.phases[-1].depths
        assert all(last[each.lane] <= 1e-6 for each in open_lanes)
        assert found.left == 0 or found.gone_in > 0
    if found.gone_never == SLOW:
        assert any(found.phases[-1].depths[each.lane] > 1e-6 for each in open_lanes)


def _check_urgent(lanes: tuple[LaneLoad, ...], found: Any, held: set[str]) -> None:
    depths = found.phases[0].depths
    urgent = [each for each in lanes if each.is_urgent]
    assert (found.urgent_in is None) == (found.urgent_never != "")
    if any(each.lane in held and (depths[each.lane] > 1e-6 or each.aside or each.arrivals) for each in urgent):
        assert found.urgent_never == HELD
    if found.urgent_in is not None:
        at_work = [each for each in urgent if each.lane not in held and depths[each.lane] > 1e-6]
        assert not any(each.is_urgent_failing for each in at_work)
        late = [each for each in at_work if each.oldest > each.tolerance]
        assert not late or found.urgent_in > 0
        # nothing of what is late is served by nobody
        assert not late or found.pace > 0


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
