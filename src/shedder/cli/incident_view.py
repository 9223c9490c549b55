"""Options, receipts and tables that the verbs of an incident share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

import click

from shedder.cli import output
from shedder.cli.events import event_line
from shedder.cli.options import Body
from shedder.cli.run import Run
from shedder.events import Event, verb_of
from shedder.incident.records import Action, Effect, Incident, IncidentReceipt, Reading, Role
from shedder.incident.review import missing_of
from shedder.incident.timeline import with_own_drains
from shedder.policy.model import FAILS_AT
from shedder.response.mitigation import NO_END_YET, began_at
from shedder.units import format_duration
from shedder.wording import counted

if TYPE_CHECKING:
    from shedder.incident.incidents import Incidents

NOTES_SHOWN = 10


def receipt_parts(receipt: IncidentReceipt, text: str, *, server: str = "") -> output.Parts:
    """The receipt of a change of an incident; `text` is the sentence that says what was done."""
    incident = receipt.incident
    said = text if receipt.event else f"{text} It was so before; nothing was changed."
    parts: output.Parts = [output.headline(said), output.plain(f"{_title(incident)} {_roles_line(incident)}")]
    ways = [("look", output.command("incident show", incident.id, server=server))]
    if incident.is_open and not incident.commander:
        ways.append(("coordinate", output.command("incident take", "commander", server=server)))
    if receipt.event:
        ways.append(("events", output.command("events", server=server)))
    return [*parts, *output.commands_part(*ways)]


def incident_parts(incident: Incident, now: datetime, *, begun: Sequence[Event] = (), server: str = "") -> output.Parts:
    """The whole record, for a person; `begun` are mitigations whose end is not recorded."""
    style = "bold red" if incident.is_open else "bold"
    parts: output.Parts = [
        output.headline(f"Incident {incident.id} is {incident.state}.", style=style),
        output.plain(_title(incident)),
        output.plain(_times_line(incident, now)),
        *_roles_part(incident, now),
        *_begun_part(begun, now),
        *_notes_part(incident),
    ]
    if incident.actions:
        parts += [output.blank(), action_table(incident.actions)]
    if incident.resolved_at and not incident.closed_at:
        parts += _review_part(incident, now)
    ways = [("what was done", output.command("incident timeline", incident.id, server=server))]
    if incident.is_open:
        ways.append(("what next", output.command("triage", server=server)))
    return [*parts, *output.commands_part(*ways)]


def incident_table(incidents: Sequence[Incident]) -> output.Table:
    """Incidents, one in a row."""
    made = output.table("incident", "state", ">severity", "opened", "commander", "title")
    for each in incidents:
        opened = f"{each.opened_at:%Y-%m-%d %H:%M}"
        output.row(made, each.id, each.state, str(each.severity), opened, each.commander or "-", each.title)
    return made


def action_table(actions: Sequence[Action]) -> output.Table:
    """Actions, one in a row."""
    made = output.table(">#", "action", "type", ">priority", "owner", "due", "done")
    for each in actions:
        due, done = (f"{at:%Y-%m-%d}" if at else "-" for at in (each.due_at, each.done_at))
        priority, owner = str(each.priority or "-"), each.owner or "-"
        output.row(made, str(each.number), each.title, each.type.value, priority, owner, due, done)
    return made


def timeline_lines(incident: Incident, events: Sequence[Event], *, has_notes: bool = False) -> list[output.Text]:
    """What was done, a line for each event, with its effect below."""
    effects = {each.event: each for each in incident.effects}
    undone = {event.undoes for event in events if event.undoes}
    lines: list[output.Text] = []
    for event in with_own_drains(events):
        if verb_of(event).is_detail or (event.verb == "note" and not has_notes):
            continue
        lines.append(event_line(event, is_plain=True, is_undone=event.id in undone))
        if event.verb == "note":
            lines.append(_indented(output.one_line(_note_text(event))))
        if event.id in effects:
            lines += [_indented(text) for text in effect_texts(effects[event.id])]
    return lines


def effect_texts(effect: Effect) -> list[str]:
    """What an action did, a text for each lane."""
    return [
        f"{_later(effect)}, {output.escaped(lane)}: {change_text(before, effect.after[lane])}{_within(effect, lane)}"
        for lane, before in effect.before.items()
        if lane in effect.after
    ]


def _later(effect: Effect) -> str:
    seconds = effect.after_seconds
    return f"{seconds:.0f} s later" if seconds < 60 else f"{seconds / 60:.0f} min later"


def change_text(before: Reading, after: Reading) -> str:
    """How a lane changed, such as `41,200 to 300 jobs wait, oldest 38m to 2m, ...`."""
    parts = [f"{output.number(before.waiting)} to {output.number(after.waiting)} waiting"]
    if before.backlog or after.backlog:
        parts.append(f"{output.number(before.backlog)} to {output.number(after.backlog)} in the backlog")
    parts.append(f"oldest {_seconds(before.oldest_seconds)} to {_seconds(after.oldest_seconds)}")
    parts.append(f"in {_pace(before.arrivals)} to {_pace(after.arrivals)}")
    parts.append(f"out {_pace(before.completions)} to {_pace(after.completions)}")
    if before.failing or after.failing:
        parts.append(f"failing {_pace(before.failing)} to {_pace(after.failing)}")
    return ", ".join(parts)


def _within(effect: Effect, lane: str) -> str:
    """Whether the business can bear it, in the words of the policy; what fails is never in time."""
    found = effect.yardsticks.get(lane)
    if found is None:
        return ""
    both = (effect.before[lane], effect.after[lane])
    told = " to ".join(dict.fromkeys(_state(each, found.tolerance_seconds) for each in both))
    return f"; {output.escaped(found.noun)} {told} ({format_duration(found.tolerance_seconds)} tolerated)"


def _state(reading: Reading, tolerated: float) -> str:
    if reading.share_failing:
        return "failing" if reading.share_failing >= FAILS_AT else "some failed"
    if (reading.oldest_seconds or 0) > tolerated:
        return "late"
    return "put aside" if reading.backlog and not reading.waiting else "in time"


def _title(incident: Incident) -> str:
    return f"Severity {incident.severity}: {output.escaped(incident.title)}."


def _roles_line(incident: Incident) -> str:
    told = [f"{each.role.value} {output.escaped(each.person)}" for each in incident.roles]
    return f"Roles: {', '.join(told)}." if told else "Nobody has a role yet."


def _times_line(incident: Incident, now: datetime) -> str:
    names = ("began", "detected", "opened", "mitigated", "resolved", "closed")
    times = {name: getattr(incident, f"{name}_at") for name in names}
    known = [f"{name} {output.clock(at, now)} ({output.age(at, now)} ago)" for name, at in times.items() if at]
    line = ", ".join(known)
    return f"{line[:1].upper()}{line[1:]}."


def _roles_part(incident: Incident, now: datetime) -> output.Parts:
    made = output.table("role", "person", ">for", "task", "offered to")
    for each in incident.roles:
        since = output.age(each.since, now)
        output.row(made, each.role.value, each.person, since, each.task or "-", each.offered_to or "-")
    held = {each.role for each in incident.roles}
    for role in (Role.COMMANDER, Role.OPERATIONS, Role.COMMUNICATIONS):
        if role not in held:
            output.row(made, role.value, "nobody", "-", "-", "-")
    return [output.blank(), made]


def _begun_part(begun: Sequence[Event], now: datetime) -> output.Parts:
    lines = [output.headline(_begun_line(each, now), style="yellow") for each in begun]
    return [output.blank(), *lines] if lines else []


def _begun_line(event: Event, now: datetime) -> str:
    began = began_at(event)
    name = output.escaped(str(event.details.get("mitigation", "")))
    since = f"The mitigation {name} began {output.clock(began, now)} ({output.age(began, now)} ago)"
    group, host = event.details.get("group"), output.escaped(str(event.details.get("host", "")))
    left = f": process group {group} of {host} may still run" if group else ""
    return f"{since}, {event.details.get('outcome', NO_END_YET)}{left}."


def _notes_part(incident: Incident) -> output.Parts:
    if not incident.notes:
        return []
    hidden = len(incident.notes) - NOTES_SHOWN
    lines = [output.plain(f"{counted(hidden, 'earlier note')}")] if hidden > 0 else []
    for each in incident.notes[-NOTES_SHOWN:]:
        task = f" [{output.escaped(each.task)}]" if each.task else ""
        lines.append(output.plain(f"{each.at:%H:%M} {output.escaped(each.by)}{task}: {output.one_line(each.text)}"))
    return [output.blank(), *lines]


def _review_part(incident: Incident, now: datetime) -> output.Parts:
    due = incident.review_due_at
    when = f"due {output.clock(due, now)}" if due else "not due"
    lines = [f"Its review is {when}.", *(f"Missing: {output.escaped(each)}." for each in missing_of(incident))]
    return [output.blank(), *map(output.plain, lines)]


def _note_text(event: Event) -> str:
    notes = event.after.get("notes")
    if not isinstance(notes, list) or not notes or not isinstance(notes[-1], dict):
        return ""
    return str(notes[-1].get("text", ""))


def _indented(text: str) -> output.Text:
    return output.Text(f"{'':22}{text}", style="dim")


def _seconds(value: float | None) -> str:
    return "-" if value is None else format_duration(value // 1)


def _pace(value: float | None) -> str:
    return "-" if value is None else f"{output.per_second(value)}/s"


def _incident_option(text: str) -> Callable[[Body], Body]:
    return click.option("-i", "--incident", metavar="ID", help=text)


incident_option = _incident_option("Which one; the open one, or the last one, if omitted.")
open_incident_option = _incident_option("Which one; the open one if omitted.")
"""For a change that only an open one takes."""

task_option = click.option("--task", metavar="TEXT", default="", help="What the investigator looks into.")


def also_option(text: str) -> Callable[[Body], Body]:
    """To do what is usually refused."""
    return click.option("--also", is_flag=True, help=text)


def changing(run: Run) -> Incidents:
    """The incidents, for a change that begins now: see `uncertain`."""
    incidents = run.shedder.incidents  # while it is certain that nothing was changed
    uncertain(run)
    return incidents


def uncertain(run: Run) -> None:
    """From here on, what holds if the connection breaks must be looked up."""
    run.unsure("whether the record is changed", "incident show")


def finish(run: Run, receipt: IncidentReceipt, headline: str) -> int:
    """Show what was done; `headline` is the sentence for a person."""
    run.state = "it is done"
    run.tell("incident/1", receipt, partial(receipt_parts, text=headline))
    return 0
