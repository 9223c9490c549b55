"""Plots of the work over the time of an incident, for a page and for a phone."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from itertools import cycle
from math import nan
from typing import TYPE_CHECKING, Any, TypeVar

from shedder.errors import ShedderError
from shedder.later import later
from shedder.postmortem.facts import WorkOverTime
from shedder.queues.samples import Pace, Sample, combined, paces_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
    from matplotlib.figure import Figure
else:
    globals().update(later([("matplotlib.dates", "AutoDateLocator ConciseDateFormatter date2num")]))


_Curve = TypeVar("_Curve")

INCHES = (6.2, 3.8)
DOTS_PER_INCH = 140
MOST_CURVES = 6
"""More than that are not told apart; those with most jobs are shown."""

RATES_SHOWN = 100
"""A rate is that of at least this part of the time, so that slow work shows no row of spikes."""

LEAST_SHOWN = 0.1
"""What is less stands on a linear part of a scale that is logarithmic."""

HIDES = 30
"""A curve that is so many times as high as another one hides it on a linear scale."""

AXES_POINTS = 330.0
"""The width of the axes, at least, in points."""

LETTER_POINTS = 7.5
"""The width of a letter of a mark, at most, in points."""

LONGEST_NOUNS = ((3, 18), (2, 32), (1, 10_000))
"""How many nouns stand side by side in the legend, up to which length of the longest."""

COLOURS = ("#2a78d6", "#1baf7a", "#eda100", "#4a3aa7", "#e34948", "#008300")
_INK, _QUIET, _GRID = "#1a1a19", "#6b6a64", "#e4e2da"


@dataclass(frozen=True, slots=True)
class Plot:
    """One picture.

    Attributes:
        name: Its file's name without the ending: `depth`, `oldest`, `rates` or `failing`.
        title: What it shows.
        text: The same in words, for readers who cannot see it.
        png: The picture.
    """

    name: str
    title: str
    text: str
    png: bytes


def plots_of(
    samples: Mapping[str, Sequence[Sample]], marks: Sequence[tuple[str, datetime]], works: Sequence[WorkOverTime] = ()
) -> tuple[Plot, ...]:
    """The pictures of the kinds of work in these lanes, with a line where somebody acted.

    There are none without two samples. What belongs to no kind of work is called by its lane.

    Raises:
        ShedderError: matplotlib is not installed.
    """
    found = _by_work(samples, works)
    curves = {noun: each for noun, each in found.items() if len(each) > 1}
    if not curves:
        return ()
    shown = _busiest(curves, lambda each: max(sample.depth for sample in each))
    paces = {noun: each for noun, each in _paces_by_work(found, works).items() if each}
    paces = _busiest(paces, lambda each: sum(pace.completions * pace.seconds for pace in each))
    failing = {noun: each for noun, each in paces.items() if any(pace.failing for pace in each)}
    colours = dict(zip(dict.fromkeys([*shown, *paces]), cycle(COLOURS), strict=False))
    unit, seconds = _unit(max(max(each.oldest, each.oldest_in_backlog) for own in shown.values() for each in own))
    rate, per = _rate_unit(max((_usual(each) for each in paces.values()), default=1.0))
    begin = partial(_plot, marks=marks, colours=colours)
    dashed = "; put aside: dashed" if any(each.backlog for own in shown.values() for each in own) else ""
    plots = [
        begin("depth", f"Jobs that wait{dashed}", _draw_depth, shown),
        begin("oldest", f"Wait of the oldest job, in {unit}{dashed}", partial(_draw_oldest, seconds=seconds), shown),
    ]
    if paces:
        draw = partial(_draw_rates, per=per)
        plots.append(begin("rates", f"Jobs {rate}: arriving (dotted), and ended well", draw, paces))
    if failing:
        plots.append(begin("failing", f"Jobs {rate} that failed", partial(_draw_failing, per=per), failing))
    return tuple(plots)


def _by_work(samples: Mapping[str, Sequence[Sample]], works: Sequence[WorkOverTime]) -> dict[str, tuple[Sample, ...]]:
    own = {work.noun: [samples[lane] for lane in work.lanes if lane in samples] for work in works}
    taken = {lane for work in works for lane in work.lanes}
    alone = {lane: [each] for lane, each in samples.items() if lane not in taken}
    return {noun: combined(each) for noun, each in {**own, **alone}.items() if each}


def _paces_by_work(
    curves: Mapping[str, Sequence[Sample]], works: Sequence[WorkOverTime]
) -> dict[str, tuple[Pace, ...]]:
    """How fast each kind of work moved; one that shares lanes as it was counted by its label."""
    by_label = {work.noun: work.ends for work in works if work.ends}
    found = {noun: paces_of(_thinned(each)) for noun, each in curves.items() if noun not in by_label}
    for ends in by_label.values():
        found |= {noun: _paces_of_ends(points) for noun, points in ends.items()}
    return found


def _thinned(samples: Sequence[Sample]) -> list[Sample]:
    """Those of `samples` that lie far enough apart, and the last."""
    if not samples:
        return []
    least = (samples[-1].at - samples[0].at) / RATES_SHOWN
    kept = [samples[0]]
    for each in samples[1:]:
        if each.at - kept[-1].at >= least:
            kept.append(each)
    return kept if kept[-1] is samples[-1] else [*kept, samples[-1]]


def _paces_of_ends(points: Sequence[tuple[datetime, int, int]]) -> tuple[Pace, ...]:
    """Paces without arrivals, which nobody counts by label."""
    nothing = Sample(points[0][0], 0, 0, 0, 0, 0, 0, 0)
    counted = [replace(nothing, at=at, ended=ended, failed=failed) for at, ended, failed in points]
    return tuple(replace(each, arrivals=nan) for each in paces_of(_thinned(counted)))


def _busiest(curves: Mapping[str, _Curve], jobs: Callable[[_Curve], float]) -> dict[str, _Curve]:
    most = sorted(curves, key=lambda noun: jobs(curves[noun]), reverse=True)[:MOST_CURVES]
    return {noun: curves[noun] for noun in sorted(most)}


def _plot(
    name: str, title: str, draw: Callable[[Axes, str, Any, str], str], curves: Mapping[str, Any], *,
    marks: Sequence[tuple[str, datetime]], colours: Mapping[str, str],
) -> Plot:  # fmt: skip
    figure = _new_figure()
    axes = figure.add_subplot()
    told = "; ".join(f"{noun} {draw(axes, noun, each, colours[noun])}" for noun, each in curves.items())
    _show_small(axes)
    _dress(axes, title, marks)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", metadata={"Software": None})
    return Plot(name, title, f"{title}: {told}", stream.getvalue())


def _new_figure() -> Figure:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        needed = "plots need matplotlib; install shedder[incident], or leave them out with --no-plots"
        raise ShedderError(needed) from error
    return Figure(figsize=INCHES, dpi=DOTS_PER_INCH, layout="constrained", facecolor="white")


def _draw_depth(axes: Axes, noun: str, samples: Sequence[Sample], colour: str) -> str:
    times: Any = [each.at for each in samples]
    waiting, aside = [each.waiting for each in samples], [each.backlog for each in samples]
    axes.plot(times, waiting, color=colour, label=noun, linewidth=2)
    if not any(aside):
        return f"up to {max(waiting):,}"
    axes.plot(times, aside, color=colour, linewidth=1.5, linestyle="--")
    axes.fill_between(times, aside, color=colour, alpha=0.1, linewidth=0)
    return f"up to {max(waiting):,}, up to {max(aside):,} put aside"


def _unit(longest: float) -> tuple[str, int]:
    """In what a wait is told that is so long (seconds), and how many seconds that has."""
    units = (("seconds", 1), ("minutes", 60), ("hours", 3600))
    return next((each for each in units if longest < 240 * each[1]), units[-1])


def _rate_unit(usual: float) -> tuple[str, int]:
    """In what rates are told of which this one is usual (a second), and how many seconds that has."""
    units = (("a second", 1), ("a minute", 60), ("an hour", 3600))
    return next((each for each in units if usual * each[1] >= 1), units[-1])


def _usual(paces: Sequence[Pace]) -> float:
    """Jobs that ended a second over all the time."""
    return sum(each.completions * each.seconds for each in paces) / sum(each.seconds for each in paces)


def _draw_oldest(axes: Axes, noun: str, samples: Sequence[Sample], colour: str, *, seconds: int) -> str:
    times: Any = [each.at for each in samples]
    ages = [each.oldest / seconds for each in samples]
    aside = [each.oldest_in_backlog / seconds for each in samples]
    axes.plot(times, ages, color=colour, label=noun, linewidth=2)
    if not any(aside):
        return f"up to {max(ages):,.0f}"
    axes.plot(times, aside, color=colour, linewidth=1.5, linestyle="--")
    return f"up to {max(ages):,.0f}, up to {max(aside):,.0f} put aside"


def _draw_rates(axes: Axes, noun: str, paces: Sequence[Pace], colour: str, *, per: int) -> str:
    times: Any = [each.at for each in paces]
    well = [each.well * per for each in paces]
    # a pace is that of the time until its moment
    axes.step(times, well, color=colour, label=noun, linewidth=2, where="pre")
    axes.step(times, [each.arrivals * per for each in paces], color=colour, linestyle=":", linewidth=1.5, where="pre")
    return f"up to {max(well):,.3g}"


def _draw_failing(axes: Axes, noun: str, paces: Sequence[Pace], colour: str, *, per: int) -> str:
    times: Any = [each.at for each in paces]
    failed = [each.failing * per for each in paces]
    axes.step(times, failed, color=colour, label=noun, linewidth=2, where="pre")
    axes.fill_between(times, failed, color=colour, alpha=0.15, linewidth=0, step="pre")
    jobs = sum(each.failing * each.seconds for each in paces)
    return f"up to {max(failed):,.3g}, {jobs:,.0f} in all"


def _show_small(axes: Axes) -> None:
    """Make the scale logarithmic where one curve, or one burst of it, would hide another."""
    lines: list[Any] = [line.get_ydata() for line in axes.lines]
    # a rate that is not known is no number, and equals nothing
    highest = [max((float(each) for each in line if each == each), default=0.0) for line in lines]
    seen = [each for each in highest if each > 0]
    if seen and min(seen) * HIDES < max(seen):
        axes.set_yscale("symlog", linthresh=1.0 if min(seen) >= 1 else LEAST_SHOWN, linscale=0.4)


def _dress(axes: Axes, title: str, marks: Sequence[tuple[str, datetime]]) -> None:
    axes.set_title(title, loc="left", fontsize=12, color=_INK, fontweight="bold", pad=20)
    axes.grid(axis="y", color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(_QUIET)
    axes.tick_params(colors=_QUIET, labelsize=10, length=0)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.10g}")
    axes.set_ylim(bottom=0)
    locator = AutoDateLocator(tz=UTC, minticks=3, maxticks=7)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    formatter = ConciseDateFormatter(locator, tz=UTC)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_formatter(formatter)
    _mark(axes, marks)
    nouns = axes.get_legend_handles_labels()[1]
    longest = max(map(len, nouns), default=0)
    columns = next(columns for columns, most in LONGEST_NOUNS if longest <= most)
    axes.figure.legend(loc="outside lower left", ncols=columns, frameon=False, fontsize=10, labelcolor=_INK)


def _mark(axes: Axes, marks: Sequence[tuple[str, datetime]]) -> None:
    """A line at each intervention, and above the lines their letters."""
    places = [(letter, float(date2num(at))) for letter, at in marks]  # type: ignore[no-untyped-call]
    for _, place in places:
        axes.axvline(place, color=_QUIET, linewidth=0.8, linestyle="--", alpha=0.7)
    left, right = axes.get_xlim()
    axes.set_xlim(left, right)
    for letters, place in letters_at(places, point=(right - left) / AXES_POINTS):
        axes.annotate(
            letters, (place, 1.0), xycoords=("data", "axes fraction"), xytext=(0, 3),
            textcoords="offset points", ha="center", fontsize=10, color=_INK,
        )  # fmt: skip


def letters_at(places: Sequence[tuple[str, float]], *, point: float) -> list[tuple[str, float]]:
    """Where letters stand, from left to right; those that would touch share a place, such as `C-F`.

    `point` is the width of a point in the unit of the places.
    """
    groups: list[list[tuple[str, float]]] = []
    for each in sorted(places, key=lambda named: named[1]):
        groups.append([each])
        while len(groups) > 1 and _touch(groups[-2], groups[-1], point):
            last = groups.pop()
            groups[-1] += last
    return [(_letters(group), _middle(group)) for group in groups]


def _touch(one: Sequence[tuple[str, float]], other: Sequence[tuple[str, float]], point: float) -> bool:
    letters = len(_letters(one)) + len(_letters(other)) + 1
    return _middle(other) - _middle(one) < letters / 2 * LETTER_POINTS * point


def _letters(group: Sequence[tuple[str, float]]) -> str:
    return group[0][0] if len(group) == 1 else f"{group[0][0]}-{group[-1][0]}"


def _middle(group: Sequence[tuple[str, float]]) -> float:
    return (group[0][1] + group[-1][1]) / 2
