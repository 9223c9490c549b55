"""The page of an incident, on which one commands it, and the plan: what brings what. They change nothing."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from shedder.errors import InvalidInput, ShedderError
from shedder.events import Event, read_events
from shedder.incident.records import Incident
from shedder.incident.timeline import belongs
from shedder.lanes import lanes_of_target, targets_of
from shedder.queues.samples import Sample
from shedder.response.plan import MORE_WORKERS, Option, options_asked, options_for
from shedder.response.triage import Seen, checklist
from shedder.settings.flags import FlagState
from shedder.settings.limits import LimitState
from shedder.updates.posting import draft_update
from shedder.web.board import LaneRow, bar_of, lane_row, option_rows
from shedder.web.http import Response, Route, WebRequest
from shedder.web.incident_board import ActLink, act_of_command, checklist_rows, seats_of, told_timeline
from shedder.web.pages import KeptPlans, samples_for
from shedder.web.reading import SharedReading
from shedder.web.rendering import render_page

if TYPE_CHECKING:
    from shedder.web.site import Site, Visitor

logger = logging.getLogger("shedder.web")

EVENTS_OF_INCIDENT = 200
"""The last so many events stand in the timeline, and tell the checklist what was done."""

LINES_SHOWN = 12
"""Lines of the timeline that stand open; the others are folded."""

EARLIER_SHOWN = 5
"""Incidents that are over, which the page shows while none is open."""

LANES_OFFERED = 40
"""Lanes that the plan offers, the fullest first."""

MOST_WORKERS = 10_000
MOST_ASKED = 40
"""Of each thing that the plan is asked about so many are taken."""


def show_incident_page(site: Site, request: WebRequest, visitor: Visitor) -> Response:
    """The open incident; without one the form that opens one."""
    reading = site.read()
    incident = reading.incident
    found = site.part(IncidentReadings).read(site, reading)
    triage = checklist(
        Seen(reading.status, found.flags, found.limits, reading.policy, found.events, incident)
    )  # fmt: skip
    shown: dict[str, Any] = {"page": "incident", "reading": reading, "found": found, "rows": checklist_rows(triage)}
    if incident is None:
        earlier = () if request.is_live else _earlier(site)
        return render_page(site, request, visitor, "incident_none.html", **shown, earlier=earlier)
    return render_page(
        site, request, visitor, "incident.html", **shown, incident=incident,
        bar=bar_of(incident, reading.policy, reading.at), seats=seats_of(incident, visitor.name),
        timeline=told_timeline(incident, found.events, found.samples, reading.at), lately=LINES_SHOWN,
        most=EVENTS_OF_INCIDENT,
        draft="" if request.is_live or not visitor.may_act else _draft(site, reading, incident),
    )  # fmt: skip


def show_plan(site: Site, request: WebRequest, visitor: Visitor) -> Response:
    """When it is over with what is asked about, if nothing is done, and with what else there is."""
    reading, asked = site.read(), _asked(request)
    plans = site.part(KeptPlans)
    if asked.is_looking and not request.is_live and not reading.trouble:
        plans.look(site.shedder.store, reading)
    known = {lane.lane for lane in reading.status.lanes}
    outlook = plans.outlook(reading, known.intersection(_lanes(asked.names)))
    own = [each for each in asked.options if each.concerns(outlook.lanes)]
    usual = options_for(outlook.lanes, more_workers=asked.more)
    first = [*_together(own), *own, usual[0]]
    others = [each for each in usual[1:] if each.name not in {one.name for one in own}]
    return render_page(
        site, request, visitor, "plan.html", page="plan", reading=reading, rows=_offered(reading), asked=asked,
        unknown=[*(each for each in asked.names if known.isdisjoint(_lanes([each]))),
                 *(each.name for each in asked.options if each not in own)],
        plan=option_rows(outlook, first, is_explained=asked.is_explained),
        others=option_rows(outlook, others, is_explained=asked.is_explained),
        links=list(filter(None, map(_act_of, (*own, *others)))), outlook=outlook,
    )  # fmt: skip


# what they read


@dataclass(frozen=True, slots=True)
class IncidentReading:
    """What the page of an incident needs besides the reading that all pages share.

    Attributes:
        number: Of that reading.
        events: The last events of the incident, or lately without one, oldest first.
        samples: By lane, what tells the effects of the events.
        flags: All flags.
        limits: All limits.
        is_partial: Earlier events are left out.
    """

    number: int = 0
    events: tuple[Event, ...] = ()
    samples: Mapping[str, tuple[Sample, ...]] = field(default_factory=dict)
    flags: tuple[FlagState, ...] = ()
    limits: tuple[LimitState, ...] = ()
    is_partial: bool = False


class IncidentReadings:
    """Reads once for each shared reading, however many pages are open."""

    def __init__(self) -> None:
        self._last = IncidentReading()

    def read(self, site: Site, reading: SharedReading) -> IncidentReading:
        """What belongs to `reading`; while Redis is away, what was read last."""
        if self._last.number != reading.number:
            self._last = self._next(site, reading)
        return self._last

    def _next(self, site: Site, reading: SharedReading) -> IncidentReading:
        if reading.trouble:
            return replace(self._last, number=reading.number)
        try:
            return read_incident(site, reading)
        except ShedderError as error:
            logger.warning("the page of the incident shows what was read last: %s", error)
            return replace(self._last, number=reading.number)


def read_incident(site: Site, reading: SharedReading) -> IncidentReading:
    """What the page of an incident needs, at a cost that does not depend on how many jobs there are.

    Raises:
        ShedderError: Redis does not answer, or refuses.
    """
    events, incident = reading.events, reading.incident
    if incident is not None:
        since = min(filter(None, (incident.began_at, incident.detected_at, incident.opened_at)))
        events = read_events(
            site.shedder.store, limit=EVENTS_OF_INCIDENT, since=since, wanted=lambda each: belongs(each, incident)
        )
    return IncidentReading(
        reading.number, events, samples_for(site, events, reading.at) if incident else {},
        tuple(site.shedder.flag_states()), tuple(site.shedder.limit_states()),
        is_partial=incident is not None and len(events) >= EVENTS_OF_INCIDENT,
    )  # fmt: skip


def _earlier(site: Site) -> tuple[Incident, ...]:
    try:
        return tuple(site.shedder.incidents.list(limit=EARLIER_SHOWN))
    except ShedderError:
        return ()


def _draft(site: Site, reading: SharedReading, incident: Incident) -> str:
    """The update as it would be posted now; empty where it cannot be told."""
    if reading.trouble:
        return ""
    try:
        return draft_update(site.shedder, reading.policy, incident, audience="stakeholders", now=reading.at).text
    except ShedderError as error:
        logger.warning("no update could be drafted: %s", error)
        return ""


def _offered(reading: SharedReading) -> tuple[LaneRow, ...]:
    """The lanes that could make way, the fullest first."""
    found = [lane_row(lane, reading.status, reading.policy) for lane in reading.status.lanes
             if lane.waiting or lane.backlog or lane.running]  # fmt: skip
    return tuple(sorted(found, key=lambda row: -row.waiting)[:LANES_OFFERED])


def _lanes(targets: Iterable[str]) -> list[str]:
    return [lane.name for target in targets for lane in lanes_of_target(target)]


# what the plan is asked


@dataclass(frozen=True, slots=True)
class PlanAsked:
    """What somebody wants to know of the plan, as `shedder plan` takes it.

    Attributes:
        names: The queues and lanes that it is about; empty for all.
        pauses: Lanes that would be paused.
        diverts: Lanes whose jobs would be put aside.
        limits: Lanes whose starts would be limited, `LANE=RATE` each.
        more: Workers that would be added.
        is_explained: The arithmetic is shown.
        is_looking: Some of the jobs that wait are looked at.
        options: What follows from these.
        refused: Why it cannot be planned; empty where it can.
    """

    names: tuple[str, ...] = ()
    pauses: tuple[str, ...] = ()
    diverts: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()
    more: int = MORE_WORKERS
    is_explained: bool = False
    is_looking: bool = False
    options: tuple[Option, ...] = ()
    refused: str = ""

    @property
    def command(self) -> str:
        """The command line that asks the same."""
        named = (("--pause", self.pauses), ("--divert", self.diverts), ("--limit", self.limits))
        words = [*self.names, *(word for option, values in named for each in values for word in (option, each))]
        more = ["--more", str(self.more)] if self.more != MORE_WORKERS else []
        return shlex.join(["shedder", "plan", *words, *more, *(["--explain"] if self.is_explained else [])])


def _asked(request: WebRequest) -> PlanAsked:
    pauses, diverts, limits, names = (_said(request, name) for name in ("pause", "divert", "limit", "of"))
    try:
        _lanes(names)
        return PlanAsked(
            names, pauses, diverts, limits, _number(request.asked("more")), bool(request.asked("explain")),
            bool(request.asked("look")), options_asked(pauses, diverts, limits),
        )  # fmt: skip
    except InvalidInput as error:
        return PlanAsked(refused=str(error))


def _said(request: WebRequest, name: str) -> tuple[str, ...]:
    found = (each.strip() for each in request.query.get(name, ()))
    return tuple(dict.fromkeys(each for each in found if each))[:MOST_ASKED]


def _number(text: str) -> int:
    if not text:
        return MORE_WORKERS
    if not (text.isascii() and text.isdigit() and len(text) < 6 and 1 <= int(text) <= MOST_WORKERS):
        raise InvalidInput(name="more workers", value=text, accepted=f"a number up to {MOST_WORKERS:,}")
    return int(text)


def _together(own: Sequence[Option]) -> list[Option]:
    """All that is asked about at once, if that is several things."""
    closed = frozenset(lane for each in own for lane in each.closed)
    limits = {lane: pace for each in own for lane, pace in each.limits.items()}
    return [Option("do all of these", closed=closed, limits=limits)] if len(own) > 1 else []


def _act_of(option: Option) -> ActLink | None:
    """The act that does it; None where none does."""
    verb, label = option.name.partition(" ")[0], f"{option.name[:1].upper()}{option.name[1:]} …"
    if option.command:
        found = act_of_command(option.command)
        return None if found is None else replace(found, label=label)
    if option.limits:
        rate = f"{min(option.limits.values()):g}/second"
        return ActLink("limit-starts", label, {"target": targets_of(option.limits), "rate": (rate,)})
    if option.stopped:
        return ActLink("stop-drain", label, {"target": targets_of(option.stopped)})
    return ActLink(verb, label, {"target": targets_of(sorted(option.closed))}) if option.closed else None


ROUTES = (
    Route("GET", "/incident", show_incident_page),
    Route("GET", "/plan", show_plan, is_alike=True),
)
"""The page of an incident, and the plan."""
