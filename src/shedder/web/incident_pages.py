"""The page of an incident, on which one commands it, and the plan: what brings what. They change nothing."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from shedder.errors import ShedderError
from shedder.events import Event, read_events
from shedder.incident.records import Incident
from shedder.incident.timeline import belongs
from shedder.lanes import lanes_of_target
from shedder.queues.samples import Sample
from shedder.response.plan import Option, options_for
from shedder.response.triage import Seen, checklist
from shedder.settings.flags import FlagState
from shedder.settings.limits import LimitState
from shedder.updates.posting import draft_update
from shedder.web.board import LaneRow, bar_of, lane_row, option_rows
from shedder.web.http import Response, Route, WebRequest
from shedder.web.incident_board import checklist_rows, seats_of, told_timeline
from shedder.web.pages import outlook_of, samples_for
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

MORE_WORKERS = 2


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
    """When it is over if the lanes that are chosen make way, and if they do not."""
    reading = site.read()
    rows = _offered(reading)
    known = {row.target for row in rows}
    asked = list(dict.fromkeys(each for each in request.query.get("lane", ()) if each))
    chosen = [each for each in asked if each in known]
    outlook = outlook_of(site, reading)
    usual = options_for(outlook.lanes, more_workers=MORE_WORKERS)
    own = [Option(f"divert {' '.join(chosen)}", closed=frozenset(_lanes(chosen)))] if chosen else []
    return render_page(
        site, request, visitor, "plan.html", page="plan", reading=reading, rows=rows, chosen=chosen,
        unknown=[each for each in asked if each not in known],
        plan=option_rows(outlook, (*own, usual[0])),
        others=option_rows(outlook, [each for each in usual[1:] if each.name not in {one.name for one in own}]),
        outlook=outlook, command=shlex.join(["shedder", "divert", *chosen, "-r", "REASON"]) if chosen else "",
        check=shlex.join(["shedder", "plan", *(word for each in chosen for word in ("--divert", each))]),
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


def _lanes(targets: list[str]) -> list[str]:
    return [lane.name for target in targets for lane in lanes_of_target(target)]


ROUTES = (
    Route("GET", "/incident", show_incident_page),
    Route("GET", "/plan", show_plan, is_alike=True),
)
"""The page of an incident, and the plan."""
