"""`shedder triage`: shows the checklist of an incident."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from shedder.cli import options, output
from shedder.cli.incident_view import effect_texts
from shedder.cli.policy import near_policy_option, policy_for
from shedder.cli.run import Run
from shedder.events import VERBS

if TYPE_CHECKING:
    from shedder.response.triage import Triage, TriageDone, TriageStep

_EXAMPLES = ("shedder triage", "shedder triage --json")


@options.verb("triage", examples=_EXAMPLES)
@near_policy_option
def triage(run: Run, *, policy_file: str | None) -> int:
    """Show the checklist: a bad release, too much traffic, a clogged queue.

    Each question shows what was done, its effect, and the command to type next, given the current
    state of the queues.
    """
    found = run.shedder.triage(policy_for(run, policy_file, or_near=True))
    run.tell("triage/1", found, triage_parts)
    return 0


_MARKS = {"done": "x", "fine": "-", "open": " "}
_STYLES = {"done": "green", "fine": "dim", "open": "bold"}
DONE_SHOWN = 3


def triage_parts(found: Triage, *, server: str = "") -> output.Parts:
    """The checklist: each question with its state, what was done, and what to type."""
    of = f"Incident {found.incident}" if found.incident else "No incident is open"
    parts: output.Parts = [output.plain(f"{of}, {found.at:%H:%M:%S} UTC.")]
    for number, step in enumerate(found.steps, start=1):
        parts += [output.blank(), *_step(number, step, found.at, server)]
    return parts


def _step(number: int, step: TriageStep, now: datetime, server: str) -> output.Parts:
    line = output.Text(f"[{_MARKS[step.state]}] {number}. ", indent=7)
    line.append(step.question, style=_STYLES[step.state])
    line.append(f" {step.rule}")
    parts: output.Parts = [line]
    if step.finding:
        parts.append(output.plain(f"       {output.escaped(step.finding)}"))
    shown = step.done[-DONE_SHOWN:]
    parts += [_done(each, now) for each in shown]
    effects = [each.effect for each in shown if each.effect]
    parts += [output.Text(f"       {text}", style="dim") for effect in effects for text in effect_texts(effect)]
    width = max((len(each.purpose) for each in step.commands), default=0)
    for each in step.commands:
        said = output.Text(f"       {output.escaped(each.purpose):<{width}}  ", style="dim", indent=4)
        said.append(output.command(each.words[0], options=each.words[1:], server=server), style="not dim bold")
        parts.append(said)
    return parts


def _done(done: TriageDone, now: datetime) -> output.Text:
    role = f" ({output.escaped(done.role)})" if done.role else ""
    what = output.listed(output.names_of(done.what) if VERBS[done.verb].is_of_lanes else done.what, most=4)
    ended = f" ({output.escaped(done.outcome)})" if done.outcome else ""
    who = f"{output.escaped(done.by)}{role}"
    said = f"{output.escaped(done.verb)} {what} by {who} {output.age(done.at, now)} ago{ended}"
    return output.Text(f"       {said}", style="yellow" if done.is_failed else "")
