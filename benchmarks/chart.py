"""The ratios of the first table as bars.

The background is opaque, so that the chart can be read on a light and on a dark page.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from benchmarks.headlines import Shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_REACHED, _MISSED = "#2a78d6", "#d95f02"
_INK, _QUIET, _GRID, _PAPER = "#1a1a19", "#6b6a64", "#e4e2da", "#fbfaf7"


def bars(found: Sequence[Shown]) -> list[tuple[str, float, bool]]:
    """For each row that has a ratio: its label, how many times as good we are, goal reached."""
    return [(each.headline.bar, each.times, not each.is_missed) for each in found if each.times is not None]


def png(found: Sequence[Shown]) -> bytes:
    """The picture."""
    from matplotlib.figure import Figure

    rows = bars(found)
    size = (10, 1.4 + 0.42 * len(rows))
    figure = Figure(figsize=size, dpi=110, layout="constrained", facecolor=_PAPER)
    axes = figure.add_subplot()
    for place, (_, times, is_reached) in enumerate(rows):
        axes.barh(place, times - 1, left=1, height=0.6, color=_REACHED if is_reached else _MISSED)
        _mark(axes, place, times, is_reached=is_reached)
    _dress(axes, [label for label, _, _ in rows])
    stream = io.BytesIO()
    figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()


def _mark(axes: Axes, place: int, times: float, *, is_reached: bool) -> None:
    """The figure beside its bar."""
    words = f"{times:.3g}x" + ("" if is_reached else "  goal NOT reached")
    axes.annotate(words, (max(times, 1), place), xytext=(5, 0), textcoords="offset points",
                  va="center", fontsize=10, color=_INK if is_reached else _MISSED)  # fmt: skip


def _dress(axes: Axes, labels: Sequence[str]) -> None:
    from matplotlib.ticker import FuncFormatter

    axes.set_title("How many times as good as the other side (logarithmic)",
                   fontsize=12, fontweight="bold", color=_INK)  # fmt: skip
    axes.set_facecolor(_PAPER)
    axes.set_xscale("log")
    axes.set_xlim(0.1, 1000)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}x"))
    axes.set_yticks(range(len(labels)), labels, fontsize=10, color=_INK)
    axes.invert_yaxis()
    axes.tick_params(which="both", colors=_QUIET, length=0)
    axes.tick_params(axis="y", colors=_INK)
    axes.grid(axis="x", color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.axvline(1, color=_QUIET, linewidth=1)
    for side in axes.spines.values():
        side.set_visible(False)
