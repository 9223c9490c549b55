"""Plots of the lanes over the time of an incident, for a page and for a phone."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from shedder.errors import ShedderError
from shedder.later import later
from shedder.queues.samples import Sample, paces_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
    from matplotlib.figure import Figure
else:
    globals().update(later([("matplotlib.dates", "AutoDateLocator ConciseDateFormatter date2num")]))


INCHES = (6.2, 3.8)
DOTS_PER_INCH = 140
MOST_LANES = 6
"""More than that are not told apart; the deepest are shown."""

COLOURS = ("#2a78d6", "#1baf7a", "#eda100", "#4a3aa7", "#e34948", "#008300")
_INK, _QUIET, _GRID = "#1a1a19", "#6b6a64", "#e4e2da"


@dataclass(frozen=True, slots=True)
class Plot:
    """One picture.

    Attributes:
        name: Its file's name without the ending: `depth`, `oldest` or `rates`.
        title: What it shows.
        text: The same in words, for readers who cannot see it.
        png: The picture.
    """

    name: str
    title: str
    text: str
    png: bytes


def plots_of(samples: Mapping[str, Sequence[Sample]], marks: Sequence[tuple[str, datetime]]) -> tuple[Plot, ...]:
    """The pictures of these lanes, with a line where somebody acted; none without two samples.

    Raises:
        ShedderError: matplotlib is not installed.
    """
    deep = {lane: each for lane, each in samples.items() if len(each) > 1}
    by_depth = sorted(deep, key=lambda lane: max(each.depth for each in deep[lane]), reverse=True)
    lanes = {lane: deep[lane] for lane in sorted(by_depth[:MOST_LANES])}
    if not lanes:
        return ()
    unit, seconds = _unit(max(each.age for found in lanes.values() for each in found))
    return (
        _plot("depth", "Jobs that have not started", _draw_depth, lanes, marks),
        _plot("oldest", f"Wait of the oldest job, in {unit}", partial(_draw_oldest, seconds=seconds), lanes, marks),
        _plot("rates", "Jobs a second: arriving (dotted) and done", _draw_rates, lanes, marks),
    )


def _plot(
    name: str, title: str, draw: Callable[[Axes, str, Sequence[Sample], str], float],
    lanes: Mapping[str, Sequence[Sample]], marks: Sequence[tuple[str, datetime]],
) -> Plot:  # fmt: skip
    figure = _new_figure()
    axes = figure.add_subplot()
    highest = {}
    for colour, (lane, each) in zip(COLOURS, lanes.items(), strict=False):
        highest[lane] = draw(axes, lane, each, colour)
    _dress(axes, title, lanes, marks)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", metadata={"Software": None})
    told = "; ".join(f"{lane} up to {most:,.0f}" for lane, most in highest.items())
    return Plot(name, title, f"{title}: {told}", stream.getvalue())


def _new_figure() -> Figure:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        needed = "plots need matplotlib; install shedder[incident], or leave them out with --no-plots"
        raise ShedderError(needed) from error
    return Figure(figsize=INCHES, dpi=DOTS_PER_INCH, layout="constrained", facecolor="white")


def _draw_depth(axes: Axes, lane: str, samples: Sequence[Sample], colour: str) -> float:
    times: Any = [each.at for each in samples]
    depths = [each.depth for each in samples]
    axes.plot(times, depths, color=colour, label=lane, linewidth=2)
    backlog = [each.backlog for each in samples]
    if any(backlog):
        axes.fill_between(times, backlog, color=colour, alpha=0.15, linewidth=0, label=f"{lane}, put aside")
    return max(depths)


def _unit(longest: float) -> tuple[str, int]:
    """In what a wait is told that is so long (seconds), and how many seconds that has."""
    units = (("seconds", 1), ("minutes", 60), ("hours", 3600))
    return next((each for each in units if longest < 240 * each[1]), units[-1])


def _draw_oldest(axes: Axes, lane: str, samples: Sequence[Sample], colour: str, *, seconds: int) -> float:
    ages = [each.age / seconds for each in samples]
    times: Any = [each.at for each in samples]
    axes.plot(times, ages, color=colour, label=lane, linewidth=2)
    return max(ages)


def _draw_rates(axes: Axes, lane: str, samples: Sequence[Sample], colour: str) -> float:
    paces = paces_of(samples)
    times: Any = [each.at for each in paces]
    ended = [each.completions for each in paces]
    arrived = [each.arrivals for each in paces]
    # a pace is that of the time until its moment
    axes.step(times, ended, color=colour, label=lane, linewidth=2, where="pre")
    axes.step(times, arrived, color=colour, linestyle=":", linewidth=1.5, where="pre")
    # one burst would hide all the rest
    axes.set_yscale("symlog", linthresh=10)
    return max([*ended, 0.0])


def _dress(
    axes: Axes, title: str, lanes: Mapping[str, Sequence[Sample]], marks: Sequence[tuple[str, datetime]]
) -> None:
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
    if len(lanes) > 1 or axes.get_legend_handles_labels()[1][1:]:
        axes.figure.legend(loc="outside lower left", ncols=3, frameon=False, fontsize=10, labelcolor=_INK)


def _mark(axes: Axes, marks: Sequence[tuple[str, datetime]]) -> None:
    """A line at each intervention; letters that would stand on one another share a place."""
    left, right = axes.get_xlim()
    least = (right - left) / 40
    shown: list[tuple[float, list[str]]] = []
    for letter, at in marks:
        place = float(date2num(at))  # type: ignore[no-untyped-call]
        axes.axvline(place, color=_QUIET, linewidth=0.8, linestyle="--", alpha=0.7)
        if shown and place - shown[-1][0] < least:
            shown[-1][1].append(letter)
        else:
            shown.append((place, [letter]))
    for place, letters in shown:
        axes.annotate(
            letters[0] if len(letters) == 1 else f"{letters[0]}-{letters[-1]}",
            (place, 1.0), xycoords=("data", "axes fraction"), xytext=(0, 3),
            textcoords="offset points", ha="center", fontsize=10, color=_INK,
        )  # fmt: skip
