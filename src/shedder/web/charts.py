"""Charts as SVG: a spark line for a table, and a chart with an axis, marks and a limit for a page.

Only presentation attributes and classes are in them, since the pages allow no style of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from markupsafe import Markup, escape

from shedder.queues.samples import Sample, paces_of
from shedder.units import format_duration
from shedder.wording import counted

MOST_POINTS = 200
"""Points of a curve; of those in one step the highest is shown, so that no peak is lost."""

LONGEST_GAP = timedelta(seconds=75)
"""Where jobs waited and no sample was taken for longer, a curve has a gap (steps of a minute are none)."""

WIDTH, HEIGHT = 1000.0, 100.0

Point = tuple[datetime, float]


@dataclass(frozen=True, slots=True)
class Curve:
    """A line of a chart.

    Attributes:
        name: What it shows.
        look: Its class in the style sheet, such as `waiting`.
        parts: Its points, oldest first; a new part begins behind a gap.
    """

    name: str
    look: str
    parts: tuple[tuple[Point, ...], ...]

    @property
    def highest(self) -> float:
        """Its highest value; 0 without points."""
        return max((value for part in self.parts for _, value in part), default=0.0)

    @property
    def last(self) -> float | None:
        """Its last value."""
        return self.parts[-1][-1][1] if self.parts and self.parts[-1] else None


@dataclass(frozen=True, slots=True)
class ChartMark:
    """An event in a chart.

    Attributes:
        at: When.
        sign: What stands at it, such as `1`.
        title: What happened.
    """

    at: datetime
    sign: str
    title: str


@dataclass(frozen=True, slots=True)
class ChartWindow:
    """The time that a chart shows."""

    since: datetime
    until: datetime

    def place(self, at: datetime) -> float:
        """Where a moment is, 0 to 1."""
        return (at - self.since) / (self.until - self.since)


def spark(samples: Sequence[Sample], until: datetime, *, span: timedelta = timedelta(minutes=10)) -> Markup:
    """Jobs that wait and those in backlogs over ten minutes; empty without samples."""
    window = ChartWindow(until - span, until)
    depth = curve("", "depth", [(each.at, float(each.depth)) for each in _held_on(samples, until)], window, most=60)
    if not depth.parts:
        return Markup("")
    top = max(depth.highest, 1.0)
    said = f"{counted(round(depth.last or 0), 'job')} now, at most {depth.highest:,.0f} in ten minutes"
    shapes = Markup("").join(Markup('<path class="area" d="{}"/><path class="line" d="{}"/>').format(
        _area(part, window, top), _line(part, window, top)) for part in depth.parts)  # fmt: skip
    return Markup(
        '<svg class="spark" role="img" aria-label="{}" viewBox="0 0 1000 100" preserveAspectRatio="none">{}</svg>'
    ).format(said, shapes)


def chart(
    title: str, curves: Sequence[Curve], window: ChartWindow, *, unit: str = "", marks: Sequence[ChartMark] = (),
    limit: float | None = None,
) -> Markup:  # fmt: skip
    """`curves` over a time; `limit` is a line that they should not cross."""
    top = _round_up(max([each.highest for each in curves] + ([limit * 1.1] if limit else []) + [1.0]))
    shapes = [
        Markup('<path class="line {}" d="{}"/>').format(each.look, _line(part, window, top))
        for each in curves
        for part in each.parts
    ]
    if limit is not None:
        height = HEIGHT * (1 - limit / top)
        shapes.append(Markup('<path class="limit" d="M0 {:.1f}H1000"/>').format(height))
    return Markup(
        '<svg class="chart" role="img" aria-label="{label}" width="100%" height="150">'
        '<svg viewBox="0 0 1000 100" preserveAspectRatio="none" x="0" y="12" width="100%" height="116">'
        '<path class="grid" d="M0 0H1000M0 50H1000M0 100H1000"/>{shapes}</svg>{marks}'
        '<text x="0" y="10" class="tick">{top}</text><text x="0" y="67" class="tick">{middle}</text>'
        '<text x="0" y="147" class="tick">{since}</text>'
        '<text x="50%" y="147" class="tick" text-anchor="middle">{half}</text>'
        '<text x="100%" y="147" class="tick" text-anchor="end">{until}</text></svg>'
    ).format(
        label=_label(title, curves, unit, marks),
        shapes=Markup("").join(shapes),
        marks=Markup("").join(_mark(each, window) for each in marks),
        top=_tick(top, unit), middle=_tick(top / 2, unit),
        since=_clock(window.since, window), half=_clock(window.since + (window.until - window.since) / 2, window),
        until=_clock(window.until, window),
    )  # fmt: skip


def curve(
    name: str, look: str, points: Sequence[Point], window: ChartWindow, *, most: int = MOST_POINTS,
    breaks: Iterable[tuple[datetime, datetime]] = (),
) -> Curve:  # fmt: skip
    """The `points` of a time, at most `most` of them, in parts without the times `breaks`."""
    inside = [each for each in points if window.since <= each[0] <= window.until]
    ends = {begin for begin, _ in breaks}
    parts: list[list[Point]] = [[]]
    for point in inside:
        parts[-1].append(point)
        if point[0] in ends:
            parts.append([])
    return Curve(name, look, tuple(tuple(_thinned(part, window, most)) for part in parts if part))


def depth_curves(samples: Sequence[Sample], window: ChartWindow) -> tuple[Curve, ...]:
    """Jobs that waited, and those in backlogs."""
    known = _held_on(samples, window.until)
    breaks = _breaks(known, window)
    waiting = [(each.at, float(each.waiting)) for each in known]
    aside = [(each.at, float(each.backlog)) for each in known]
    return (
        curve("waiting", "waiting", waiting, window, breaks=breaks),
        curve("backlog", "backlog", aside, window, breaks=breaks),
    )


def age_curve(samples: Sequence[Sample], window: ChartWindow) -> Curve:
    """Seconds for which the oldest job had waited."""
    known = _held_on(samples, window.until)
    points = [(each.at, float(each.age)) for each in known]
    return curve("oldest", "oldest", points, window, breaks=_breaks(known, window))


def rate_curves(samples: Sequence[Sample], window: ChartWindow) -> tuple[Curve, ...]:
    """Jobs that came, ended well and failed a second, each the mean of a step."""
    paces = [each for each in paces_of(samples) if window.since <= each.at <= window.until]
    steps: dict[int, list[tuple[datetime, float, tuple[float, float, float]]]] = {}
    for each in paces:
        number = int(window.place(each.at) * MOST_POINTS / 2)
        steps.setdefault(number, []).append((each.at, each.seconds, (each.arrivals, each.well, each.failing)))
    curves = []
    for place, (name, look) in enumerate((("in", "arrivals"), ("out", "completions"), ("failing", "failing"))):
        points = [(step[-1][0], _mean([(seconds, numbers[place]) for _, seconds, numbers in step]))
                  for step in steps.values()]  # fmt: skip
        curves.append(Curve(name, look, (tuple(points),) if points else ()))
    return tuple(each for each in curves if each.look != "failing" or each.highest)


def _mean(weighted: Sequence[tuple[float, float]]) -> float:
    seconds = sum(each for each, _ in weighted)
    return sum(each * value for each, value in weighted) / seconds if seconds else 0.0


def _held_on(samples: Sequence[Sample], until: datetime) -> list[Sample]:
    """The samples, with the last one again at `until` where the lane was empty: such a lane writes none."""
    known = list(samples)
    if known and not known[-1].depth and known[-1].at < until:
        last = known[-1]
        known.append(Sample(until, 0, 0, last.running, 0, 0, last.started, last.ended, last.failed))
    return known


def _breaks(samples: Sequence[Sample], window: ChartWindow) -> list[tuple[datetime, datetime]]:
    step = max((window.until - window.since) / 100, LONGEST_GAP)
    return [(one.at, other.at) for one, other in pairwise(samples) if one.depth and other.at - one.at > step]


def _thinned(points: Sequence[Point], window: ChartWindow, most: int) -> list[Point]:
    """The highest point of each step; all where there are few."""
    if len(points) <= most:
        return list(points)
    steps: dict[int, Point] = {}
    for point in points:
        number = int(window.place(point[0]) * (most - 2))
        if number not in steps or point[1] >= steps[number][1]:
            steps[number] = point
    found = list(steps.values())
    return found if found[-1] == points[-1] else [*found, points[-1]]


def _places(points: Sequence[Point], window: ChartWindow, top: float) -> list[tuple[float, float]]:
    return [(WIDTH * window.place(at), HEIGHT * (1 - min(value / top, 1.0))) for at, value in points]


def _line(points: Sequence[Point], window: ChartWindow, top: float) -> str:
    places = [f"{x:.0f} {y:.1f}" for x, y in _places(points, window, top)]
    # a part of one point would not be seen
    return f"M{'L'.join(places)}" if len(places) > 1 else f"M{places[0]}h2"


def _area(points: Sequence[Point], window: ChartWindow, top: float) -> str:
    places = _places(points, window, top)
    return f"{_line(points, window, top)}V100H{places[0][0]:.0f}Z"


def _mark(mark: ChartMark, window: ChartWindow) -> Markup:
    share = f"{100 * window.place(mark.at):.2f}%"
    return Markup(
        '<g class="mark"><title>{title}</title><line x1="{x}" x2="{x}" y1="12" y2="128"/>'
        '<text x="{x}" y="9" text-anchor="middle">{sign}</text></g>'
    ).format(title=mark.title, x=share, sign=mark.sign)


def _label(title: str, curves: Sequence[Curve], unit: str, marks: Sequence[ChartMark]) -> str:
    told = [f"{each.name} {_tick(each.last, unit)} now, at most {_tick(each.highest, unit)}"
            for each in curves if each.last is not None]  # fmt: skip
    events = f"; {counted(len(marks), 'event')}" if marks else ""
    return f"{title}: {'; '.join(told) or 'no samples'}{events}"


def _tick(value: float, unit: str) -> str:
    if unit == "seconds":
        return format_duration(value) if value >= 1 else "0"
    number = f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:,.1f}"
    return f"{number}{unit}"


def _round_up(value: float) -> float:
    """The next number that is round: 1, 2 or 5 with zeros."""
    step = 1.0
    while True:
        for factor in (1, 2, 5):
            if value <= step * factor:
                return step * factor
        step *= 10


def _clock(at: datetime, window: ChartWindow) -> str:
    is_long = window.until - window.since > timedelta(days=1)
    return at.strftime("%d %b %H:%M" if is_long else "%H:%M:%S" if _is_short(window) else "%H:%M")


def _is_short(window: ChartWindow) -> bool:
    return window.until - window.since <= timedelta(minutes=10)


def meter(share: float, words: str) -> Markup:
    """A bar that is filled by a share, 0 to 1."""
    width = 100 * min(max(share, 0.0), 1.0)
    return Markup(
        '<svg class="meter" role="img" aria-label="{}" width="100%" height="8">'
        '<rect class="rail" width="100%" height="8" rx="4"/><rect class="done" width="{}%" height="8" rx="4"/></svg>'
    ).format(escape(words), f"{width:.1f}")
