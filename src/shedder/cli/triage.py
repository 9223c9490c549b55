"""`shedder triage`: shows the checklist of an incident."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

import click

from shedder.cli import options, output
from shedder.cli.incident_view import effect_texts
from shedder.cli.policy import near_policy_option, policy_for
from shedder.cli.run import Run
from shedder.events import VERBS
from shedder.lanes import names_of

if TYPE_CHECKING:
    from shedder.response.triage import Triage, TriageCommand, TriageDone, TriageStep

_EXAMPLES = ("shedder triage", "shedder triage --all", "shedder triage --json")

MOST_LINES = 24
"""What a terminal shows at once."""


@options.verb("triage", examples=_EXAMPLES)
@click.option("--all", "is_all", is_flag=True, help="Show everything, not only 24 lines.")
@near_policy_option
def triage(run: Run, *, is_all: bool, policy_file: str | None) -> int:
    """Show the checklist: a bad release, work that fails, too much traffic, a clogged queue.

    Each question shows what was done, its effect, and the command to type next, given the current
    state of the queues. Questions with nothing left to do take one line.
    """
    found = run.shedder.triage(policy_for(run, policy_file, or_near=True, is_view=True))
    run.tell("triage/1", found, partial(triage_parts, is_all=is_all))
    return 0


_MARKS = {"done": "x", "fine": "-", "open": " "}
_STYLES = {"done": "green", "fine": "dim", "open": "bold"}


@dataclass(frozen=True, slots=True)
class _Detail:
    """How much is shown of each question."""

    commands: int = 100
    done: int = 100
    has_effects: bool = True
    has_blanks: bool = True
    is_joined: bool = False
    is_folded: bool = True


_DETAILS = (
    _Detail(done=3),
    _Detail(done=3, has_blanks=False),
    _Detail(done=1, has_blanks=False, has_effects=False),
    _Detail(2, done=1, has_blanks=False, has_effects=False),
    _Detail(1, done=1, has_blanks=False, has_effects=False),
    _Detail(1, done=0, has_blanks=False, has_effects=False, is_joined=True),
)
"""From all that fits a quiet day to what fits 24 lines when each question is open."""


def triage_parts(found: Triage, *, server: str = "", is_all: bool = False) -> output.Parts:
    """The checklist: each question with its state, what was done, and what to type."""
    if is_all:
        return _parts(found, _Detail(is_folded=False), server)
    for detail in _DETAILS:
        parts = _parts(found, detail, server)
        if any(_hides(step, detail) for step in found.steps):
            words = output.command("triage", options=("--all",), server=server)
            parts.append(output.Text(f"More of it: {words}", style="dim"))
        if len(parts) <= MOST_LINES:
            break
    return parts


def _hides(step: TriageStep, detail: _Detail) -> bool:
    if _is_folded(step, detail):
        return len(step.done) > 1 or any(each.effect for each in step.done)
    has_effects = not detail.has_effects and any(each.effect for each in step.done)
    return has_effects or len(step.commands) > detail.commands or len(step.done) > detail.done


def _is_folded(step: TriageStep, detail: _Detail) -> bool:
    """Whether it has nothing left to do, and so takes one line."""
    return step.state != "open" and not step.commands and detail.is_folded


def _parts(found: Triage, detail: _Detail, server: str) -> output.Parts:
    of = f"Incident {found.incident}" if found.incident else "No incident is open"
    parts: output.Parts = [output.plain(f"{of}, {found.at:%H:%M:%S} UTC.")]
    for number, step in enumerate(found.steps, start=1):
        parts += [output.blank()] if detail.has_blanks else []
        is_folded = _is_folded(step, detail)
        parts += [_folded(number, step, found.at)] if is_folded else _step(number, step, found.at, detail, server)
    return parts


def _folded(number: int, step: TriageStep, now: datetime) -> output.Text:
    """A question with nothing left to do, in one line: what was done last, or what was found."""
    line = _question(number, step)
    more = f" and {len(step.done) - 1} more" if len(step.done) > 1 else ""
    line.append(f" {_done_text(step.done[-1], now)}{more}" if step.done else f" {output.escaped(step.finding)}")
    return line


def _step(number: int, step: TriageStep, now: datetime, detail: _Detail, server: str) -> output.Parts:
    line = _question(number, step)
    line.append(f" {output.escaped(step.finding)}" if detail.is_joined and step.finding else f" {step.rule}")
    parts: output.Parts = [line]
    if step.finding and not detail.is_joined:
        parts.append(output.Text(f"       {output.escaped(step.finding)}"))
    shown = step.done[max(len(step.done) - detail.done, 0) :]
    parts += [_done(each, now) for each in shown]
    effects = [each.effect for each in shown if each.effect and detail.has_effects]
    parts += [output.Text(f"       {text}", style="dim") for effect in effects for text in effect_texts(effect)]
    return [*parts, *_commands(step.commands[: detail.commands], server)]


def _question(number: int, step: TriageStep) -> output.Text:
    line = output.Text(f"[{_MARKS[step.state]}] {number}. ")
    line.append(step.question, style=_STYLES[step.state])
    return line


def _commands(commands: Sequence[TriageCommand], server: str) -> output.Parts:
    width = max((len(each.purpose) for each in commands), default=0)
    parts: output.Parts = []
    for each in commands:
        said = output.Text(f"       {output.escaped(each.purpose):<{width}}  ", style="dim")
        said.append(output.command(each.words[0], options=each.words[1:], server=server), style="not dim bold")
        parts.append(said)
    return parts


def _done(done: TriageDone, now: datetime) -> output.Text:
    return output.Text(f"       {_done_text(done, now)}", style="yellow" if done.is_failed else "")


def _done_text(done: TriageDone, now: datetime) -> str:
    role = f" ({output.escaped(done.role)})" if done.role else ""
    what = output.listed(names_of(done.what) if VERBS[done.verb].is_of_lanes else done.what, most=4)
    ended = f" ({output.escaped(done.outcome)})" if done.outcome else ""
    return (
        f"{output.escaped(done.verb)} {what} by {output.escaped(done.by)}{role} {output.age(done.at, now)} ago{ended}"
    )
