"""`shedder incident`: the group, and its verbs from open to resolve, show, export and import."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from shedder.cli import asking, incident_review, incident_roles, incident_tell, incident_view, output
from shedder.cli.incident_view import also_option, changing, finish, incident_option, open_incident_option, task_option
from shedder.cli.options import Request, cause_options_or, number_option, person_option, verb, verb_group
from shedder.cli.run import Run
from shedder.errors import InvalidInput
from shedder.response.mitigation import without_known_end
from shedder.units import parse_past

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
_TIMES = ("at", "began", "detected", "opened", "mitigated", "resolved")
_incident = click.argument("incident", metavar="[INCIDENT]", required=False)


@verb("open", examples=_OPEN, short="Open an incident.")
@click.argument("title")
@click.option("-s", "--severity", type=int, required=True, help="1 (worst) to 5.")
@click.option("--commander", metavar="NAME", default="", help="Who coordinates.")
@click.option("--began", metavar="TIME", help="When the trouble began, such as 38m or 02:11.")
@click.option("--detected", metavar="TIME", help="When it was noticed; now if omitted.")
@click.option("--opened", metavar="TIME", help="When it was opened; now if omitted.")
@also_option("Even if another one is open.")
@cause_options_or("")
def open_incident(
    run: Run, *, request: Request, title: str, severity: int, commander: str, also: bool, **times: str | None
) -> int:
    """Open an incident: from now on every change of a queue belongs to it."""
    given = _moments(run, times)
    receipt = changing(run).open(title, severity=severity, commander=commander, times=given, also=also, **request.cause)
    code = finish(run, receipt, f"Incident {receipt.incident.id} is open.")
    if not receipt.incident.commander:
        _offer_command(run, request, receipt.incident.id)
    return code


@verb("mitigated", examples=_MITIGATED, short="Record that customers are helped.")
@click.option("--at", metavar="TIME", help="When it happened; now if omitted.")
@open_incident_option
@cause_options_or("customers are helped")
def mitigated(run: Run, *, request: Request, incident: str | None, **at: str | None) -> int:
    """Record that customers are helped, although the incident is not resolved yet."""
    when = _moments(run, at).get("at")
    receipt = changing(run).mitigated(at=when, incident=incident, **request.cause)
    return finish(run, receipt, f"Incident {receipt.incident.id} is mitigated.")


@verb("resolve", examples=_RESOLVE, short="Resolve the incident.")
@click.option("--at", metavar="TIME", help="When it happened; now if omitted.")
@open_incident_option
@cause_options_or("it is over")
def resolve(run: Run, *, request: Request, incident: str | None, **at: str | None) -> int:
    """Resolve the incident; its review is due within 48 hours."""
    when = _moments(run, at).get("at")
    receipt = changing(run).resolve(at=when, incident=incident, **request.cause)
    return finish(run, receipt, f"Incident {receipt.incident.id} is resolved.")


@verb("reopen", examples=_REOPEN, short="Reopen the incident.")
@incident_option
@also_option("Even if another one is open.")
@cause_options_or("it is not over")
def reopen(run: Run, *, request: Request, incident: str | None, also: bool) -> int:
    """Reopen a resolved incident; a closed one stays closed."""
    receipt = changing(run).reopen(also=also, incident=incident, **request.cause)
    return finish(run, receipt, f"Incident {receipt.incident.id} is open again.")


@verb("correct", examples=_CORRECT, short="Correct its title, severity or times.")
@click.option("--title", metavar="TEXT", help="A new title.")
@click.option("-s", "--severity", type=int, help="1 (worst) to 5, from now on.")
@click.option("--began", metavar="TIME", help="When the trouble began.")
@click.option("--detected", metavar="TIME", help="When it was noticed.")
@click.option("--opened", metavar="TIME", help="When it was opened.")
@click.option("--mitigated", metavar="TIME", help="When customers were helped.")
@click.option("--resolved", metavar="TIME", help="When it was over.")
@incident_option
@cause_options_or("correction")
def correct(
    run: Run, *, request: Request, title: str | None, severity: int | None, incident: str | None, **times: str | None
) -> int:
    """Correct the record; the event keeps the earlier values.

    A time such as 23:50 is the one nearest to when the incident was opened.
    """
    given = _moments(run, times, of=incident or run.shedder.incidents.latest_id())
    receipt = changing(run).correct(title=title, severity=severity, times=given, incident=incident, **request.cause)
    return finish(run, receipt, f"Incident {receipt.incident.id} is corrected.")


@verb("note", examples=_NOTE, short="Note a finding.")
@click.argument("text")
@task_option
@incident_option
@person_option
def note(run: Run, *, request: Request, text: str, task: str, incident: str | None) -> int:
    """Note a finding; notes are kept apart from decisions."""
    receipt = changing(run).note(text, task=task, incident=incident, by=request.by)
    return finish(run, receipt, f"Note {len(receipt.incident.notes)} is kept.")


_EXPORT = ("shedder incident export", "shedder incident export 2026-11-25-1 --out incident.json")


@verb("export", examples=_EXPORT, short="Write a copy of the record.")
@_incident
@click.option("--out", metavar="FILE", help="Where to; standard output if absent.")
def export_incident(run: Run, *, incident: str | None, out: str | None) -> int:
    """Write the record and its events as JSON, which `import` reads."""
    copy = run.shedder.incidents.export(incident)
    if out is None:
        run.screen.emit(copy)
        return 0
    try:
        Path(out).write_text(output.json_text(copy) + "\n", encoding="utf-8")
    except OSError as error:
        raise _unusable("--out", out, error) from error
    run.screen.remark(f"incident {copy['incident']['id']} is in {out}")
    return 0


_IMPORT = ("shedder incident import incident.json",)


@verb("import", examples=_IMPORT, short="Import a copy of the record.")
@click.argument("file", metavar="FILE")
@cause_options_or("")
def import_incident(run: Run, *, request: Request, file: str) -> int:
    """Import a record that `export` wrote, for example after Redis lost its data.

    An incident that exists already is not changed.
    """
    copy = _read(file)
    receipt = changing(run).bring_back(copy, reason=request.reason or f"from {Path(file).name}", by=request.by)
    return finish(run, receipt, f"Incident {receipt.incident.id} is imported.")


_LIST = ("shedder incident list", "shedder incident list -n 5 --json")


@verb("list", examples=_LIST, short="List recent incidents.")
@number_option(1000)
def list_incidents(run: Run, *, limit: int) -> int:
    """List recent incidents, the latest first."""
    found = run.shedder.incidents.list(limit=limit)
    if not found and not run.is_json:
        run.screen.remark("no incidents yet: shedder incident open")
    run.tell("incident-list/1", {"incidents": found}, [incident_view.incident_table(found)] if found else [])
    return 0


_SHOW = ("shedder incident show", "shedder incident show 2026-11-25-1 --json")


@verb("show", examples=_SHOW, short="Show the record.")
@_incident
def show_incident(run: Run, *, incident: str | None) -> int:
    """Show the record: its state, roles, notes, actions, and what the review still needs."""
    incidents = run.shedder.incidents
    found = incidents.measure_effects(incident)
    if run.is_json:
        run.emit("incident-record/1", found)
        return 0
    begun = without_known_end(incidents.timeline(found.id))
    run.screen.show(*incident_view.incident_parts(found, incidents.now(), begun=begun, server=run.server_option))
    return 0


_TIMELINE = ("shedder incident timeline", "shedder incident timeline --notes")


@verb("timeline", examples=_TIMELINE, short="Show what was done, and its effect.")
@_incident
@click.option("--notes", "has_notes", is_flag=True, help="Findings too.")
def timeline(run: Run, *, incident: str | None, has_notes: bool) -> int:
    """Show what was done, by which role, the numbers, and the effect five minutes later."""
    incidents = run.shedder.incidents
    found = incidents.measure_effects(incident)
    events = incidents.timeline(found.id)
    told = {"events": events, "effects": found.effects}
    run.tell("incident-timeline/1", told, incident_view.timeline_lines(found, events, has_notes=has_notes))
    return 0


incident = verb_group(
    "incident", open_incident, show_incident, list_incidents, timeline, note, *incident_roles.VERBS,
    incident_tell.update, incident_tell.watch, mitigated, resolve, reopen, correct, incident_tell.postmortem,
    incident_review.review, incident_review.action, incident_review.close, export_incident, import_incident,
    text="Keep the record of an incident: who does what, what was found, and how far along it is.",
    examples=(_OPEN[0], "shedder incident take operations", _NOTE[0], _RESOLVE[0]),
)  # fmt: skip


def _offer_command(run: Run, request: Request, incident: str) -> None:
    """Let the person at the terminal, who has no role in it, coordinate the incident."""
    if run.is_json or not asking.is_asking_possible():
        return
    if not click.confirm("Nobody coordinates it. Do you take command?", err=True):
        return
    person = asking.settle_person(run, request).by
    held = run.shedder.incidents.roles.take("commander", incident=incident, by=person).incident
    run.screen.remark(f"{held.commander} is commander now")


def _moments(run: Run, given: dict[str, str | None], *, of: str = "") -> dict[str, datetime]:
    """The times that were given, by name; a time of day is the nearest to the opening of the incident `of`."""
    texts = {name: text for name in _TIMES if (text := given.get(name)) is not None}
    if not texts:
        return {}
    now = run.shedder.incidents.now()
    near = run.shedder.incidents.read(of).opened_at if of else None
    return {name: parse_past(text, now=now, name=f"--{name}", near=near) for name, text in texts.items()}


def _read(file: str) -> Any:
    try:
        return json.loads(Path(file).read_text(encoding="utf-8"))
    except OSError as error:
        raise _unusable("FILE", file, error) from error
    except (RecursionError, ValueError) as error:
        raise InvalidInput(name="FILE", value=file, accepted="a file that `shedder incident export` wrote") from error


def _unusable(name: str, file: str, error: OSError) -> InvalidInput:
    return InvalidInput(name=name, value=file, accepted=f"a file that can be used ({error.strerror})")
