"""`shedder incident`: open one, say how far it is, note what was found, close it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from shedder.cli.groups import verb_group
from shedder.cli.incident_options import (
    TIMES,
    also_option,
    changing,
    finish,
    incident_option,
    moments,
    task_option,
)
from shedder.cli.options import Asked, cause_options, verb
from shedder.cli.verb_incident_action import action
from shedder.cli.verb_incident_copy import export_incident, import_incident
from shedder.cli.verb_incident_look import list_incidents, show, timeline
from shedder.cli.verb_incident_review import close, review
from shedder.cli.verb_incident_roles import accept, assign, hand_over, leave, take
from shedder.cli.verb_incident_tell import postmortem, update, watch

if TYPE_CHECKING:
    from shedder.cli.run import Run

_OPEN = (
    'shedder incident open "receipts are late" --severity 2 --commander ana@desk',
    'shedder incident open "search is down" --severity 1 --began 38m --also',
)
_MITIGATED = ("shedder incident mitigated", "shedder incident mitigated --at 02:40")
_RESOLVE = ('shedder incident resolve -r "backlog is empty"',)
_REOPEN = ('shedder incident reopen -r "it is back"',)
_CORRECT = (
    "shedder incident correct --severity 3",
    "shedder incident correct --began 2026-11-25T01:33 --detected 02:09",
)
_NOTE = (
    'shedder incident note "replica lags by 40 s"',
    'shedder incident note "no slow queries since 02:20" --task "database logs"',
)


@verb("open", examples=_OPEN, short="Open an incident.")
@click.argument("title")
@click.option("-s", "--severity", type=int, required=True, help="1 (worst) to 5.")
@click.option("--commander", metavar="NAME", default="", help="Who coordinates.")
@click.option("--began", metavar="TIME", help="When the trouble began, such as 38m or 02:11.")
@click.option("--detected", metavar="TIME", help="When it was noticed; now if absent.")
@click.option("--opened", metavar="TIME", help="When it was opened; now if absent.")
@also_option("Although another one is open.")
@cause_options
def open_incident(
    run: Run, *, asked: Asked, title: str, severity: int, commander: str, also: bool,
    began: str | None, detected: str | None, opened: str | None,
) -> int:  # fmt: skip
    """Open an incident: from now on every change of a queue belongs to it."""
    times = moments(run, began=began, detected=detected, opened=opened)
    receipt = changing(run).open(
        title, severity=severity, commander=commander, times=times, also=also,
        reason=asked.reason or "", by=asked.by,
    )  # fmt: skip
    return finish(run, receipt, f"Incident {receipt.incident.id} is open.")


@verb("mitigated", examples=_MITIGATED, short="Say that customers are helped.")
@click.option("--at", metavar="TIME", help="Since when; now if absent.")
@incident_option
@cause_options
def mitigated(run: Run, *, asked: Asked, at: str | None, incident: str | None) -> int:
    """Say that customers are helped, though it is not over yet."""
    when = moments(run, at=at).get("at")
    said = asked.reason or "customers are helped"
    receipt = changing(run).mitigated(at=when, incident=incident, reason=said, by=asked.by)
    return finish(run, receipt, f"Incident {receipt.incident.id} is mitigated.")


@verb("resolve", examples=_RESOLVE, short="Say that it is over.")
@click.option("--at", metavar="TIME", help="Since when; now if absent.")
@incident_option
@cause_options
def resolve(run: Run, *, asked: Asked, at: str | None, incident: str | None) -> int:
    """Say that it is over; its review is due in 48 hours."""
    when = moments(run, at=at).get("at")
    said = asked.reason or "it is over"
    receipt = changing(run).resolve(at=when, incident=incident, reason=said, by=asked.by)
    return finish(run, receipt, f"Incident {receipt.incident.id} is resolved.")


@verb("reopen", examples=_REOPEN, short="Say that it was not over.")
@incident_option
@also_option("Although another one is open.")
@cause_options
def reopen(run: Run, *, asked: Asked, incident: str | None, also: bool) -> int:
    """Say that it was not over; one that is closed stays closed."""
    said = asked.reason or "it is not over"
    receipt = changing(run).reopen(also=also, incident=incident, reason=said, by=asked.by)
    return finish(run, receipt, f"Incident {receipt.incident.id} is open again.")


@verb("correct", examples=_CORRECT, short="Correct its title, severity or times.")
@click.option("--title", metavar="TEXT", help="What happens.")
@click.option("-s", "--severity", type=int, help="1 (worst) to 5, from now on.")
@click.option("--began", metavar="TIME", help="When the trouble began.")
@click.option("--detected", metavar="TIME", help="When it was noticed.")
@click.option("--opened", metavar="TIME", help="When it was opened.")
@click.option("--mitigated", metavar="TIME", help="When customers were helped.")
@click.option("--resolved", metavar="TIME", help="When it was over.")
@incident_option
@cause_options
def correct(
    run: Run, *, asked: Asked, title: str | None, severity: int | None, incident: str | None,
    **times: str | None,
) -> int:  # fmt: skip
    """Correct what was written down; the event has what it was before."""
    given = moments(run, **{name: times[name] for name in TIMES})
    receipt = changing(run).correct(
        title=title, severity=severity, times=given, incident=incident,
        reason=asked.reason or "it was written down wrongly", by=asked.by,
    )  # fmt: skip
    return finish(run, receipt, f"Incident {receipt.incident.id} is corrected.")


@verb("note", examples=_NOTE, short="Note a finding.")
@click.argument("text")
@task_option
@incident_option
@cause_options
def note(run: Run, *, asked: Asked, text: str, task: str, incident: str | None) -> int:
    """Note a finding, apart from decisions, so that the main channel stays quiet."""
    receipt = changing(run).note(text, task=task, incident=incident, by=asked.by)
    return finish(run, receipt, f"Note {len(receipt.incident.notes)} is kept.")


incident = verb_group(
    "incident", open_incident, show, list_incidents, timeline, note, take, assign, hand_over,
    accept, leave, update, watch, mitigated, resolve, reopen, correct, postmortem, review, action,
    close, export_incident, import_incident,
    text="Keep the record of an incident: who does what, what was found, how far it is.",
    examples=(_OPEN[0], "shedder incident take operations", _NOTE[0], _RESOLVE[0]),
)  # fmt: skip
