"""Compares two sides on a machine that is never quite quiet.

They take turns under the same conditions, each pair gives a ratio, and the median of the ratios is
reported with its spread. Many short pairs stand a noisy machine better than a few long ones.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.progress import say

TOLD_ONE_BY_ONE = 25
MANY = 9


@dataclass(frozen=True, slots=True)
class Ratio:
    """Ours beside theirs, over several pairs.

    Attributes:
        ours: Median of our measurements.
        theirs: Median of their measurements.
        ratios: Ours divided by theirs, pair by pair.
    """

    ours: float
    theirs: float
    ratios: tuple[float, ...]

    @property
    def median(self) -> float:
        """The median of the ratios."""
        return statistics.median(self.ratios)

    @property
    def spread(self) -> tuple[float, float]:
        """The smallest and the largest ratio; of many pairs those that leave 5 % out each."""
        if len(self.ratios) <= MANY:
            return min(self.ratios), max(self.ratios)
        return quantile(self.ratios, 0.05), quantile(self.ratios, 0.95)

    def inverse(self) -> Ratio:
        """Theirs divided by ours, for measurements where less is better."""
        return Ratio(self.ours, self.theirs, tuple(1 / each for each in self.ratios))

    def __str__(self) -> str:
        if len(self.ratios) == 1:
            return f"{_short(self.median)}x (once)"
        low, high = self.spread
        return f"{_short(self.median)}x ({_short(low)} to {_short(high)})"


def compare(ours: Callable[[], float], theirs: Callable[[], float], *, repeat: int, what: str) -> Ratio:
    """Measure both sides `repeat` times in turns; who is first changes with every pair."""
    pairs = []
    for number in range(repeat):
        if number % 2:
            their_value = theirs()
            our_value = ours()
        else:
            our_value = ours()
            their_value = theirs()
        pairs.append((our_value, their_value))
        if repeat <= TOLD_ONE_BY_ONE or (number + 1) % TOLD_ONE_BY_ONE == 0:
            say(f"{what}: pair {number + 1} of {repeat}: {our_value:.4g} beside {their_value:.4g}")
    return Ratio(
        ours=statistics.median(our for our, _ in pairs),
        theirs=statistics.median(their for _, their in pairs),
        ratios=tuple(our / their for our, their in pairs),
    )


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of `values` are, such as 0.99; nearest rank."""
    ordered = sorted(values)
    return ordered[min(len(ordered), max(1, math.ceil(share * len(ordered)))) - 1]


def median(values: Sequence[float]) -> float:
    """The median."""
    return statistics.median(values)


def exponent(sizes: Sequence[float], times: Sequence[float]) -> float:
    """The slope of time over size when both are logarithms: 1 is linear, 2 quadratic."""
    slope = statistics.linear_regression([math.log(size) for size in sizes], [math.log(time) for time in times]).slope
    return float(slope)


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
