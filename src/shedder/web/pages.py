"""The views that show: the verdict and the lanes, one lane, drains, work, the journal, settings, a breakdown.

They change nothing. What moves they take from the reading that all pages share; what else they ask
Redis for does not depend on how many jobs there are, and a breakdown looks at a sample.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from shedder.api.shedder import Shedder
from shedder.errors import InvalidInput, RecordUnreadable, RedisUnreachable
from shedder.events import Event
from shedder.lanes import PRIORITIES, Lane, lane_of, lanes_of_target, target_of, why_refused
from shedder.policy.applied import AppliedPolicy
from shedder.policy.lateness import lateness_sentence
from shedder.postmortem.narrative import event_sentence
from shedder.queues.preview import FunctionMix, look_at_functions
from shedder.queues.samples import Sample, read_samples
from shedder.response.plan import Outlook, lanes_to_look_at, read_outlook
from shedder.status.readings import LaneStatus
from shedder.store.store import Store
from shedder.web.board import Board, PlanRow, because_of, board_of, lane_row, late_sentence, plan_rows
from shedder.web.charts import ChartMark, ChartWindow, age_curve, chart, depth_curves, rate_curves
from shedder.web.flows import JournalLine, drains_of, journal_of, sampled_lanes
from shedder.web.http import Refusal, Response, Route, WebRequest
from shedder.web.reading import FINE_FOR, SharedReading
from shedder.web.rendering import render_head, render_page
from shedder.web.words import plain_text

if TYPE_CHECKING:
    from markupsafe import Markup

    from shedder.web.site import Site, Visitor

SPANS = {
    "10m": timedelta(minutes=10), "1h": timedelta(hours=1), "3d": timedelta(days=3), "14d": timedelta(days=14),
}  # fmt: skip
"""The times that the charts of a lane show."""

SHOWN_LATELY = 6
"""Lines of the journal below the lanes."""

EVENTS_FOR_MARKS = 200
MOST_MARKS = 20

JOURNAL_SIZES = (50, 200, 500)

EFFECTS_OF = timedelta(hours=6)
"""The effects of older changes are left to the review of their incident: their samples are many."""

EFFECT_LANES = 20
"""Of at most so many lanes samples are read for the journal."""

BREAKDOWN_SAMPLE = 2_000
"""Jobs that a breakdown looks at."""

MOST_RUNNING = 50

STALE_LOOKED_AT = 20
"""Of the lanes of which most was set aside it is told how old that is."""

PLAN_GOOD_FOR = timedelta(seconds=5)


def show_lanes(site: Site, request: WebRequest, visitor: Visitor) -> Response:
    """The verdict, and all lanes, those in trouble first."""
    reading = site.read()
    board = board_of(reading.status, reading.policy, reading.samples)
    lines = journal_of(reading.events, reading.samples, reading.incident, reading.at)
    return render_page(
        site, request, visitor, "lanes.html", page="lanes", reading=reading, board=board, lately=lines[:SHOWN_LATELY],
        plan=_plan_of_board(site, reading, board), to_pause=_to_pause(board), to_undo=_to_undo(lines, visitor),
    )  # fmt: skip


def _to_pause(board: Board) -> str:
    """The lane of the verdict, as a command names it; empty where it is about none, or it is paused."""
    row = next((each for each in board.lanes if each.name == board.verdict.lane), None)
    return row.target if row is not None and not row.is_paused else ""


def _to_undo(lines: Sequence[JournalLine], visitor: Visitor) -> JournalLine | None:
    """The visitor's last change that can be taken back; without one anybody's."""
    found = [each for each in lines if each.can_undo]
    return next((each for each in found if each.by == visitor.name), next(iter(found), None))


def show_drains(site: Site, request: WebRequest, visitor: Visitor) -> Response:
    """What is in backlogs, what comes back from them and when that will be over."""
    reading = site.read()
    rows = drains_of(reading.status, reading.samples)
    return render_page(
        site, request, visitor, "drains.html", page="drains", reading=reading,
        drains=[row for row in rows if not row.is_limit], limits=[row for row in rows if row.is_limit],
    )  # fmt: skip


def show_journal(site: Site, request: WebRequest, visitor: Visitor) -> Response:
    """What was done, the newest first, with its effect and its way back."""
    reading = site.read()
    limit = _one_of(request.asked("limit"), JOURNAL_SIZES)
    wanted = request.asked("lane")
    events = site.shedder.events(limit=limit) if reading.is_known else ()
    samples = samples_for(site, events, reading.at)
    lines = journal_of(events, samples, reading.incident, reading.at)
    shown = [line for line in lines if not wanted or _concerns(line, wanted)]
    return render_page(
        site, request, visitor, "journal.html", page="journal", reading=reading, lines=shown, wanted=wanted,
        limit=limit, sizes=JOURNAL_SIZES, looked_at=len(lines),
    )  # fmt: skip


def show_settings(site: Site, request: WebRequest, visitor: Visitor) -> Response:
    """Flags, limits, and the policy in force."""
    reading = site.read()
    return render_page(
        site, request, visitor, "settings.html", page="settings", reading=reading,
        flags=site.shedder.flag_states(), limits=site.shedder.limit_states(), applied=_applied(site.shedder),
    )  # fmt: skip


def show_work(site: Site, request: WebRequest, visitor: Visitor) -> Response:
    """Failed work by lane, on request by error too; and what was set aside because it is old."""
    reading = site.read()
    failed = sorted(
        (lane for lane in reading.status.lanes if lane.outcomes.failed_in_hour or lane.outcomes.failed_kept),
        key=lambda lane: -lane.outcomes.failed_lately,
    )
    labels = [each for each in reading.status.labels if each.outcomes.failed_in_hour]
    of, is_live = request.asked("of"), request.is_live  # what moves are the numbers of lanes
    groups = site.shedder.failed_lately(_known(reading, of).queue) if of and not is_live else None
    stale = sorted((lane for lane in reading.status.lanes if lane.stale), key=lambda lane: -lane.stale)
    return render_page(
        site, request, visitor, "work.html", page="work", reading=reading, failed=failed, labels=labels, of=of,
        groups=groups, stale=stale, oldest={} if is_live else _oldest_stale(site, stale[:STALE_LOOKED_AT]),
    )  # fmt: skip


def show_lane(site: Site, request: WebRequest, visitor: Visitor) -> Response:
    """One lane: charts, what stands on it, what runs in it and who serves it."""
    reading = site.read()
    lane = _known(reading, request.asked("name"))
    row = lane_row(lane, reading.status, reading.policy, reading.samples.get(lane.lane, ()))
    told = {lateness_sentence(each, reading.at) for each in lane.late if each.is_certain}
    row = replace(row, warnings=tuple(each for each in row.warnings if each not in told))
    span = request.asked("span") if request.asked("span") in SPANS else "10m"
    siblings = [each for each in reading.status.lanes if each.queue == lane.queue]
    return render_page(
        site, request, visitor, "lane.html", page="lane", reading=reading, lane=lane, row=row, span=span, spans=SPANS,
        siblings=siblings,
        late=[(late_sentence(each, reading.at), because_of(lane, reading.at)) for each in lane.late if each.is_certain],
        drawn=_drawn(site, reading, lane, span, row.tolerance),
        plan=_plan_of_lane(site, reading, lane, siblings),
        **_in_hand(site, request, lane),
    )  # fmt: skip


def head_of_lane(site: Site, request: WebRequest, visitor: Visitor) -> str:
    """The head of the page of a lane.

    Raises:
        Refusal: it was not there when Redis was read last, so that there may be no such page.
    """
    lane = _known(site.last_reading or site.read(), request.asked("name"))
    return render_head(site, request, visitor, template="lane.html", page="lane", lane=lane)


def show_breakdown(site: Site, request: WebRequest, visitor: Visitor) -> Response:
    """What is in a queue, by function, priority or a field of the meta, told from a sample."""
    reading = site.read()
    lane = _known(reading, request.asked("name"))
    by = [each for each in request.query.get("by", ()) if each][:2]
    field = request.asked("meta").strip()
    found, refused = None, ""
    if (by or field) and not request.is_live:  # nothing of it moves
        try:
            wanted = [f"meta.{field}" if each == "meta" else each for each in by]
            found = site.shedder.breakdown(lane.queue, by=wanted, sample=BREAKDOWN_SAMPLE)
        except InvalidInput as error:
            refused = str(error)
    return render_page(
        site, request, visitor, "breakdown.html", page="lane", reading=reading, lane=lane, found=found, by=by,
        field=field, refused=refused, sample=BREAKDOWN_SAMPLE,
    )  # fmt: skip


# what views share


def _known(reading: SharedReading, name: str) -> LaneStatus:
    """The lane called so; a queue is its normal lane.

    Raises:
        Refusal: there is none.
    """
    if not reading.is_known:
        raise Refusal(503, "Redis has not answered yet, so nothing is known of this lane.", reading.trouble)
    wanted = name if why_refused(name) else _lane_name(name)
    for lane in reading.status.lanes:
        if lane.lane == wanted:
            return lane
    raise Refusal(404, "No queue or lane is called so, or it is empty and nobody serves it.", f"Asked for: {name}")


def _lane_name(name: str) -> str:
    if name.endswith(".normal"):
        name = name.removesuffix(".normal")
    return lane_of(name).name


def _oldest_stale(site: Site, lanes: Sequence[LaneStatus]) -> dict[str, datetime | None]:
    """By lane when the first job that was set aside of it was enqueued."""
    found = site.shedder.stale(*(target_of(lane.lane) for lane in lanes)) if lanes else ()
    return {each.lane: each.oldest for each in found}


def _one_of(text: str, sizes: Sequence[int]) -> int:
    return next((size for size in sizes if str(size) == text), sizes[0])


def _applied(shedder: Shedder) -> AppliedPolicy | None:
    try:
        return shedder.policies.applied()
    except RecordUnreadable:
        return None


def _concerns(line: JournalLine, wanted: str) -> bool:
    return wanted in line.lanes or wanted in line.targets or any(lane_of(each).queue == wanted for each in line.lanes)


def samples_for(site: Site, events: Sequence[Event], at: datetime) -> Mapping[str, tuple[Sample, ...]]:
    """The samples that tell the effects of `events`, which come oldest first."""
    young = [each for each in events if each.at >= at - EFFECTS_OF]
    lanes = sampled_lanes(young, most=EFFECT_LANES)
    if not lanes:
        return {}
    since = max(young[0].at - timedelta(minutes=2), at - EFFECTS_OF)
    return read_samples(site.shedder.store, lanes, since=since, now=at)


# one lane


@dataclass(frozen=True, slots=True)
class DrawnLane:
    """The charts of a lane.

    Attributes:
        charts: Title, look of each curve and the picture.
        marks: What was done meanwhile: sign, when, who, what.
        is_partial: Older marks are left out.
        has_samples: Anything was drawn.
    """

    charts: tuple[tuple[str, tuple[tuple[str, str], ...], Markup], ...]
    marks: tuple[tuple[str, Event, str], ...]
    is_partial: bool
    has_samples: bool


def _drawn(site: Site, reading: SharedReading, lane: LaneStatus, span: str, tolerance: timedelta | None) -> DrawnLane:
    window = ChartWindow(reading.at - SPANS[span], reading.at)
    samples, events = _history(site, reading, lane.lane, span)
    own = [each for each in events if lane.lane in each.lanes and each.at >= window.since][-MOST_MARKS:]
    told = tuple((str(number), each, event_sentence(each)) for number, each in enumerate(own, start=1))
    marks = [ChartMark(each.at, sign, plain_text(f"{each.by} {what}")) for sign, each, what in told]
    limit = tolerance.total_seconds() if tolerance else None
    drawn = []
    for title, curves, unit, line in (
        ("Jobs that have not started", depth_curves(samples, window), "", None),
        ("In and out", rate_curves(samples, window), "/s", None),
        ("How long the oldest has waited", (age_curve(samples, window),), "seconds", limit),
    ):
        legend = tuple((each.name, each.look) for each in curves)
        drawn.append((title, legend, chart(title, curves, window, unit=unit, marks=marks, limit=line)))
    is_partial = len(events) >= EVENTS_FOR_MARKS and events[0].at > window.since
    return DrawnLane(tuple(drawn), told, is_partial, bool(samples))


def _history(site: Site, reading: SharedReading, lane: str, span: str) -> tuple[Sequence[Sample], Sequence[Event]]:
    """The samples and the events of a time; those of ten minutes are in the reading."""
    if span == "10m" or reading.trouble:
        return reading.samples.get(lane, ()), reading.events
    try:
        since = reading.at - SPANS[span]
        samples = read_samples(site.shedder.store, [lane], since=since, now=reading.at).get(lane, ())
        return samples, site.shedder.events(limit=EVENTS_FOR_MARKS)
    except RedisUnreachable:
        return reading.samples.get(lane, ()), reading.events


def _in_hand(site: Site, request: WebRequest, lane: LaneStatus) -> dict[str, Any]:
    """What runs and who serves; what moves does without."""
    if request.is_live:
        return {"running": (), "workers": (), "more_running": 0}
    try:
        running = site.shedder.running(target_of(lane.lane))
        workers = site.shedder.workers(target_of(lane.lane))
    except RedisUnreachable:
        return {"running": (), "workers": (), "more_running": 0}
    return {
        "running": running[:MOST_RUNNING],
        "more_running": max(len(running) - MOST_RUNNING, 0),
        "workers": sorted(workers, key=lambda each: (not each.is_stock, each.name))[:MOST_RUNNING],
    }


# the plan


class KeptPlans:
    """What the plan says, which is good for some seconds, unless somebody pauses or diverts something meanwhile."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._at: datetime | None = None
        self._held: frozenset[str] = frozenset()
        self._outlook: Outlook | None = None
        self._looks: Mapping[str, FunctionMix] = {}
        self._rows: dict[str, tuple[PlanRow, ...]] = {}

    def outlook(self, reading: SharedReading, lanes: Collection[str] = ()) -> Outlook:
        """What the plan begins with; with `lanes`, the plan of these alone, which is not kept."""
        if lanes:
            status = replace(reading.status, lanes=tuple(each for each in reading.status.lanes if each.lane in lanes))
            return _outlook_of(replace(reading, status=status), self._looks)
        with self._lock:
            return self._outlook_now(reading)

    def look(self, store: Store, reading: SharedReading) -> None:
        """Look at some of the jobs that wait, for the option to put a function of them aside.

        Raises:
            ShedderError: Redis does not answer, or refuses.
        """
        looks = look_at_functions(store, lanes_to_look_at(reading.status))
        with self._lock:
            self._looks, self._outlook = looks, None

    def rows(self, reading: SharedReading, options: Sequence[tuple[str, Sequence[str]]]) -> tuple[PlanRow, ...]:
        """What would be if each of `options` were done, and if nothing were."""
        name = repr(options)
        with self._lock:
            outlook = self._outlook_now(reading)
            if name not in self._rows:
                self._rows[name] = plan_rows(outlook, options)
            return self._rows[name]

    def _outlook_now(self, reading: SharedReading) -> Outlook:
        held = frozenset(each.lane for each in reading.status.lanes if each.pause or each.diverts)
        is_good = self._at is not None and abs(reading.at - self._at) < PLAN_GOOD_FOR and held == self._held
        if self._outlook is None or not is_good:
            self._at, self._held, self._rows, self._outlook = reading.at, held, {}, _outlook_of(reading, self._looks)
        return self._outlook


def _outlook_of(reading: SharedReading, looks: Mapping[str, FunctionMix]) -> Outlook:
    """What the samples of the last minute tell; where nothing moves now, those of all ten: all would take long."""
    busy = {lane.lane for lane in reading.status.lanes if lane.waiting or lane.backlog or lane.running}
    samples = {lane: each for lane, each in reading.samples.items() if lane in busy}
    since = reading.at - FINE_FOR
    lately = {lane: each[bisect_left(each, since, key=lambda sample: sample.at) :] for lane, each in samples.items()}
    found = read_outlook(reading.status, lately, reading.policy, looks)
    return found if found.is_pace_now else read_outlook(reading.status, samples, reading.policy, looks)


def _plan_of_lane(
    site: Site, reading: SharedReading, lane: LaneStatus, siblings: Sequence[LaneStatus]
) -> tuple[PlanRow, ...]:
    """What would be if the lane, or its queue, were held back, beside what is if nothing is done."""
    if not (lane.waiting or lane.backlog) or not reading.is_known:
        return ()
    if lane.pause is not None or lane.diverts:
        return site.part(KeptPlans).rows(reading, ())
    others = [each for each in siblings if each.waiting and each.lane != lane.lane]
    whole = [(f"pause or divert all of {lane.queue}", [Lane(lane.queue, each).name for each in PRIORITIES])]
    return site.part(KeptPlans).rows(
        reading, [(f"pause or divert {target_of(lane.lane)}", [lane.lane]), *(whole if others else [])]
    )


def _plan_of_board(site: Site, reading: SharedReading, board: Board) -> tuple[tuple[PlanRow, ...], str]:
    """The plan and the lane to divert, where jobs are late and other work could make way; else nothing."""
    late = next((row for row in board.lanes if row.is_late and not row.controls), None)
    others = [row for row in (*board.lanes, *board.quiet) if row.waiting and not row.controls and not row.is_late]
    if late is None or not others:
        return (), ""
    heaviest = max(others, key=lambda row: row.waiting)
    lanes = [lane.name for lane in lanes_of_target(heaviest.target)]
    return site.part(KeptPlans).rows(reading, [(f"divert {heaviest.target}", lanes)]), heaviest.target


def _head(page: str) -> Callable[[Site, WebRequest, Visitor], str]:
    return partial(render_head, template=f"{page}.html", page=page)


ROUTES = (
    Route("GET", "/", show_lanes, is_alike=True, is_own_to_act=True, head=_head("lanes")),
    Route("GET", "/lane/(?P<name>.+)", show_lane, is_alike=True, head=head_of_lane),
    Route("GET", "/drains", show_drains, is_alike=True, head=_head("drains")),
    Route("GET", "/journal", show_journal, is_alike=True),
    Route("GET", "/settings", show_settings, is_alike=True),
    Route("GET", "/work", show_work, is_alike=True),
    Route("GET", "/breakdown/(?P<name>.+)", show_breakdown, is_alike=True),
)
"""The pages that show."""
