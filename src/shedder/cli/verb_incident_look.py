"""`shedder incident show | list | timeline`: how it stands, and what was done."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from shedder.cli.options import verb

if TYPE_CHECKING:
    from shedder.cli.run import Run

_SHOW = ("shedder incident show", "shedder incident show 2026-11-25-1 --json")
_LIST = ("shedder incident list", "shedder incident list -n 5 --json")
_TIMELINE = ("shedder incident timeline", "shedder incident timeline --notes")

_incident = click.argument("incident", metavar="[INCIDENT]", required=False)


@verb("show", examples=_SHOW, short="How it stands.")
@_incident
def show(run: Run, *, incident: str | None) -> int:
    """Show the record: how far it is, who does what, what is missing, what was found."""
    found = run.shedder.incidents.measure_effects(incident)
    if run.is_json:
        run.emit("incident-record/1", found)
        return 0
    from shedder.cli.incident_view import incident_parts
    from shedder.incident.begun import with_end_unknown

    incidents = run.shedder.incidents
    begun = with_end_unknown(incidents.timeline(found.id))
    run.screen.show(*incident_parts(found, incidents.now(), begun=begun, server=run.server_option))
    return 0


@verb("list", examples=_LIST, short="The last incidents.")
@click.option("-n", "--number", "limit", type=click.IntRange(1, 1000), default=20,
              show_default=True, help="How many at most.")  # fmt: skip
def list_incidents(run: Run, *, limit: int) -> int:
    """Show the last incidents, the latest first."""
    found = run.shedder.incidents.list(limit=limit)
    if run.is_json:
        run.emit("incident-list/1", {"incidents": found})
        return 0
    from shedder.cli.incident_view import incident_table

    if not found:
        run.screen.remark("no incidents yet: shedder incident open")
        return 0
    run.screen.show(incident_table(found))
    return 0


@verb("timeline", examples=_TIMELINE, short="What was done, and its effect.")
@_incident
@click.option("--notes", "has_notes", is_flag=True, help="Findings too.")
def timeline(run: Run, *, incident: str | None, has_notes: bool) -> int:
    """Show what was done, by which role, the numbers, and the effect five minutes later."""
    incidents = run.shedder.incidents
    found = incidents.measure_effects(incident)
    events = incidents.timeline(found.id)
    if run.is_json:
        run.emit("incident-timeline/1", {"events": events, "effects": found.effects})
        return 0
    from shedder.cli.incident_view import timeline_lines

    run.screen.show(*timeline_lines(found, events, has_notes=has_notes))
    return 0
