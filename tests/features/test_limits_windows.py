"""A window lets through what the rates allow, no more and no less, whatever operators do."""

from __future__ import annotations

import itertools
import time
from collections import deque
from dataclasses import dataclass, field

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from shedder.engine.names import rq_keys
from shedder.settings.windows import SharedWindows, StableItem

LONGEST_SECONDS = 0.5  # below a second, what the test itself takes decides nothing
PATIENCE = 10.0
counters = itertools.count()


@dataclass
class Exact:
    """A window that forgets nothing: all hits that were let through, at which second."""

    hits: deque[int] = field(default_factory=deque)

    def within(self, now: int, period: int) -> int:
        return sum(each > now - period for each in self.hits)

    def hit(self, now: int, amount: int, period: int, cost: int) -> bool:
        if self.within(now, period) + cost > amount:
            return False
        self.hits.extend([now] * cost)
        return True


STEPS = st.lists(
    st.tuples(
        st.integers(1, 12),  # amount from now on
        st.sampled_from([1, 2, 5, 30, 60]),  # in so many seconds
        st.integers(1, 4),  # cost of each hit
        st.integers(1, 6),  # hits
        st.sampled_from([0, 0, 1, 3, 10, 29, 60]),  # seconds that pass before
    ),
    min_size=1, max_size=40,
)  # fmt: skip


@given(STEPS)
@example([(5, 1, 1, 5, 0), (5, 1, 1, 5, 3), (12, 60, 1, 6, 0)])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_changes_of_rate_are_decided_as_by_one_who_forgets_nothing(redis, steps):
    """Amount and period change at random: never more than the rate in force allows, never less.

    Never more: whenever a hit is let through, the period before it holds no more than the amount.
    Never less: a hit is refused only when it would be more than that.
    """
    windows, exact, now = SharedWindows(redis, rq_keys(), patience=PATIENCE), Exact(), 0
    name = f"any-{next(counters)}"
    for amount, period, cost, times, passed in in_time(steps):
        now += passed
        pass_time(redis, name, passed)
        for _ in range(times):
            expected = exact.hit(now, amount, period, cost)
            assert expected is windows.hit(name, "", StableItem(amount, period), cost)
            assert not expected or exact.within(now, period) <= amount
    windows.close()


@given(STEPS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_window_holds_more_than_the_highest_rate_in_force_in_it(redis, steps):
    """With one period, wherever a window of that length begins, however the amounts changed."""
    windows, now, admitted, amounts = SharedWindows(redis, rq_keys(), patience=PATIENCE), 0, [], []
    name, period = f"highest-{next(counters)}", 30
    for amount, _, cost, times, passed in in_time(steps):
        now += passed
        pass_time(redis, name, passed)
        amounts.append((now, amount))
        hits = [windows.hit(name, "", StableItem(amount, period), cost) for _ in range(times)]
        admitted += [(now, cost)] * sum(hits)
    windows.close()
    for end, _ in admitted:
        held = sum(cost for at, cost in admitted if end - period < at <= end)
        highest = max(amount for at, amount in amounts if end - period < at <= end)
        assert held <= highest


def test_an_hour_is_remembered_over_a_time_of_seconds(redis):
    """100 an hour, then 1 a second for most of an hour, then 100 an hour again: nothing is left."""
    windows = SharedWindows(redis, rq_keys(), patience=PATIENCE)
    hour, second, name = StableItem(100, 3600), StableItem(1, 1), f"hour-{next(counters)}"
    assert 60 == sum(windows.hit(name, "", hour, 1) for _ in range(60))
    for _ in range(59):
        pass_time(redis, name, 60)
        assert windows.hit(name, "", second, 1)
    assert not windows.hit(name, "", hour, 1)
    pass_time(redis, name, 61)  # the first sixty have left the hour
    assert 41 == sum(windows.hit(name, "", hour, 1) for _ in range(100))
    windows.close()


def test_what_no_rate_needs_is_forgotten(redis):
    """Under a fast rate spare hits are bounded by number, and under any rate by a minute."""
    windows, name = SharedWindows(redis, rq_keys(), patience=PATIENCE), f"spare-{next(counters)}"
    fast, window = StableItem(10_000, 1), rq_keys().limit_window(name)
    for _ in range(4):
        assert windows.hit(name, "", fast, 9_000)
        pass_time(redis, name, 2)
    for _ in range(100):
        windows.hit(name, "", fast, 1)
    assert redis.llen(window) <= 10_000
    pass_time(redis, name, 60)
    for _ in range(20):
        windows.hit(name, "", fast, 1)
    assert 20 == redis.llen(window)
    windows.close()


def in_time(steps):
    """As many of the steps as a busy machine manages while the real clock hardly moves."""
    began = time.monotonic()
    return itertools.takewhile(lambda _: time.monotonic() - began < LONGEST_SECONDS, steps)


def pass_time(redis, name, seconds):
    """Let time pass for a window: its hits move into the past, and its end comes closer."""
    window = rq_keys().limit_window(name)
    times, left = redis.lrange(window, 0, -1), redis.pttl(window)
    with redis.pipeline() as pipeline:
        for index, text in enumerate(times):
            pipeline.lset(window, index, int(text) - seconds * 1_000_000)
        if times:
            pipeline.pexpire(window, max(left - seconds * 1000, 0))
        pipeline.execute()
