"""What the page of an incident shows, made purely from what was read: roles, the checklist, the timeline."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from shedder.events import VERBS, Event, verb_of
from shedder.incident.records import Incident, Role, RoleHeld, is_same_person
from shedder.lanes import names_of
from shedder.queues.samples import Sample
from shedder.response.triage import Triage, TriageCommand, TriageDone, TriageStep
from shedder.updates.commands import Told, commands_of
from shedder.web.flows import JournalLine, effect_sentence, journal_of
from shedder.wording import REASON_BLANK, some_named, spoken

DONE_SHOWN = 3
"""Of each question so many of the last things are shown that were done about it."""

FIXED_ROLES = (Role.COMMANDER, Role.OPERATIONS, Role.COMMUNICATIONS)
"""These stand on the page also while nobody has them."""

NAMES_SHOWN = 4


@dataclass(frozen=True, slots=True)
class ActLink:
    """An act with its fields filled in, for a button.

    Attributes:
        act: Its name.
        label: What the button says.
        fields: What is filled in, by field.
        is_main: It is what should be done first.
    """

    act: str
    label: str
    fields: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    is_main: bool = False


@dataclass(frozen=True, slots=True)
class RoleSeat:
    """A role of the incident, and who has it.

    Attributes:
        role: Which.
        task: What an investigator looks into; empty for the other roles.
        person: Who has it; empty when nobody has.
        since: Since when (server's clock, UTC); None when nobody has it.
        offered_to: Who has not accepted it yet; empty without an offer.
        offered_at: When it was offered; None without an offer.
        is_mine: The visitor has it.
        acts: What the visitor can do about it.
    """

    role: str
    task: str = ""
    person: str = ""
    since: datetime | None = None
    offered_to: str = ""
    offered_at: datetime | None = None
    is_mine: bool = False
    acts: tuple[ActLink, ...] = ()


@dataclass(frozen=True, slots=True)
class NextCommand:
    """A command of the checklist.

    Attributes:
        purpose: What for.
        line: The command line, to copy.
        is_complete: It can be typed as it stands; else words in capitals are to be filled in.
        link: The act that does the same; None where none does.
    """

    purpose: str
    line: str
    is_complete: bool
    link: ActLink | None = None


@dataclass(frozen=True, slots=True)
class ChecklistRow:
    """One question of the checklist.

    Attributes:
        number: Counts the questions from 1.
        name: Of the question, such as `pause`.
        question: The question.
        rule: What to do if so.
        state: `done`, `fine` or `open`.
        finding: What the queues say of it; empty when they say nothing.
        done: What was done about it, oldest first, a sentence each.
        earlier: How many earlier ones are left out.
        commands: What can be done next.
    """

    number: int
    name: str
    question: str
    rule: str
    state: str
    finding: str = ""
    done: tuple[str, ...] = ()
    earlier: int = 0
    commands: tuple[NextCommand, ...] = ()

    @property
    def is_folded(self) -> bool:
        """Whether nothing is left to do about it, so that a line is enough."""
        return self.state != "open" and not self.commands


# roles


def seats_of(incident: Incident, visitor: str) -> tuple[RoleSeat, ...]:
    """All roles, those that nobody has among them, with what `visitor` can do about each."""
    held = {each.role: each for each in incident.roles if each.role in FIXED_ROLES}
    fixed = [_seat(held[role], visitor) if role in held else _empty_seat(role) for role in FIXED_ROLES]
    others = [_seat(each, visitor) for each in incident.roles if each.role not in FIXED_ROLES]
    return (*fixed, *others)


def _empty_seat(role: Role) -> RoleSeat:
    asked = {"role": (role.value,)}
    is_first = role is Role.COMMANDER
    return RoleSeat(role.value, acts=(ActLink("incident-take", "Take", asked, is_main=is_first),
                                      ActLink("incident-assign", "Give to", asked)))  # fmt: skip


def _seat(held: RoleHeld, visitor: str) -> RoleSeat:
    is_mine = is_same_person(held.person, visitor)
    return RoleSeat(
        held.role.value, held.task, held.person, held.since, held.offered_to, held.offered_at,
        is_mine=is_mine, acts=tuple(_seat_acts(held, visitor, is_mine=is_mine)),
    )  # fmt: skip


def _seat_acts(held: RoleHeld, visitor: str, *, is_mine: bool) -> Iterator[ActLink]:
    asked = {"role": (held.role.value,), **({"task": (held.task,)} if held.task else {})}
    if held.offered_to and is_same_person(held.offered_to, visitor):
        yield ActLink("incident-accept", "Accept", asked, is_main=True)
    if is_mine:
        yield ActLink("incident-hand-over", "Hand over", asked)
        yield ActLink("incident-leave", "Leave", asked)
    else:
        yield ActLink("incident-take", "Take over", {**asked, "instead": ("yes",)})


# the checklist


def checklist_rows(found: Triage) -> tuple[ChecklistRow, ...]:
    """The questions, in the order in which they are to be asked."""
    return tuple(_row(number, step, found.at) for number, step in enumerate(found.steps, start=1))


def _row(number: int, step: TriageStep, at: datetime) -> ChecklistRow:
    shown = step.done[-DONE_SHOWN:]
    return ChecklistRow(
        number, step.name, step.question, step.rule, step.state, step.finding,
        done=tuple(done_sentence(each, at) for each in shown), earlier=len(step.done) - len(shown),
        commands=tuple(map(next_command, step.commands)),
    )  # fmt: skip


def done_sentence(done: TriageDone, at: datetime) -> str:
    """`pause mail by ana@desk (operations) 4 min ago`, with its end and its effect where they are known."""
    names = names_of(done.what) if VERBS[done.verb].is_of_lanes else done.what
    what = some_named(names, NAMES_SHOWN)
    role = f" ({done.role})" if done.role else ""
    ended = f", {done.outcome}" if done.outcome else ""
    effect = f"; {effect_sentence(done.effect)}" if done.effect else ""
    return f"{done.verb} {what} by {done.by}{role} {spoken(at - done.at)} ago{ended}{effect}"


def next_command(command: TriageCommand) -> NextCommand:
    """A command of the checklist, with the act that does the same."""
    return NextCommand(
        command.purpose, shlex.join(["shedder", *command.words]), command.is_complete, act_of_command(command.words)
    )


_ACTS_OF_COMMANDS: Mapping[tuple[str, ...], tuple[str, str, tuple[str, ...]]] = {
    ("limit", "set"): ("limit-set", "Limit", ("name", "rate")),
    ("limit", "starts"): ("limit-starts", "Limit starts", ("target",)),
    ("flag", "degrade"): ("degrade", "Degrade", ("name",)),
    ("stale", "replay"): ("stale-replay", "Replay", ("target",)),
    ("pause",): ("pause", "Pause", ("target",)),
    ("resume",): ("resume", "Resume", ("target",)),
    ("divert",): ("divert", "Divert", ("target",)),
    ("drain",): ("drain", "Drain", ("target",)),
    ("retry",): ("retry", "Retry", ("target",)),
    ("mitigate",): ("mitigate", "Run", ("name",)),
}
"""By the first words of a command its act, what its button says, and the fields of the words that follow.

The last field takes all words that are left.
"""

_FIELDS_OF_OPTIONS = {
    "-r": "reason", "--rate": "rate", "--function": "function", "--meta": "meta", "--group": "group",
    "--exception": "exception", "--since": "since",
}  # fmt: skip

_STOPS = "--stop"
_PREVIEWS = "--dry-run"


def act_of_command(words: Sequence[str]) -> ActLink | None:
    """The act that does what `words` do on a command line; None where none does just that."""
    verb = next((each for each in _ACTS_OF_COMMANDS if tuple(words[: len(each)]) == each), None)
    if verb is None:
        return None
    act, label, positions = _ACTS_OF_COMMANDS[verb]
    rest = [each for each in words[len(verb) :] if each != _PREVIEWS]
    if act == "drain" and _STOPS in rest:
        act, label = "stop-drain", "Stop the drain"
        rest.remove(_STOPS)
    said = _said_by(rest, positions, is_mitigation=act == "mitigate")
    return None if said is None else ActLink(act, label, {name: tuple(values) for name, values in said.items()})


def _said_by(words: Iterable[str], positions: Sequence[str], *, is_mitigation: bool) -> dict[str, list[str]] | None:
    """By field what `words` say; None where one of them has no field."""
    said: dict[str, list[str]] = {}
    left, rest = [*positions], iter(words)
    for word in rest:
        if not word.startswith("-"):
            name = left.pop(0) if len(left) > 1 else left[0]
            said.setdefault(name, []).append(word)
            continue
        value = next(rest, "")
        if is_mitigation and word not in _FIELDS_OF_OPTIONS:
            # what is to be filled in stands in capitals
            said.setdefault("value", []).append(f"{word.removeprefix('--')}={'' if value.isupper() else value}")
        elif word not in _FIELDS_OF_OPTIONS:
            return None
        elif value != REASON_BLANK:
            said.setdefault(_FIELDS_OF_OPTIONS[word], []).append(value)
    return said


# the timeline


def told_timeline(
    incident: Incident, events: Sequence[Event], samples: Mapping[str, Sequence[Sample]], at: datetime
) -> tuple[JournalLine, ...]:
    """What happened in the incident, the newest first: each command as one line, and what was found."""
    texts = {each.id: text for each in events if (text := _note_of(each))}
    found = [each for each in events if not verb_of(each).is_detail]
    lines = {each.id: each for each in journal_of(found, samples, incident, at)}
    commands = {each.id: told for told in commands_of(events) for each in told.events if len(told.events) > 1}
    shown = {_name_in(commands, name): _told(commands.get(name), line, lines) for name, line in lines.items()}
    return tuple(replace(line, why=texts[line.id]) if line.id in texts else line for line in shown.values())


def _name_in(commands: Mapping[str, Told], name: str) -> str:
    return commands[name].last.id if name in commands else name


def _told(command: Told | None, line: JournalLine, lines: Mapping[str, JournalLine]) -> JournalLine:
    """The line of an event, or the one of the command that wrote it and others."""
    if command is None:
        return line
    parts = [lines[each.id] for each in command.events if each.id in lines]
    first = next((each for each in parts if each.can_undo), parts[0])
    effect = next((each.effect for each in parts if each.effect), "")
    return replace(first, what=command.sentence, numbers="", effect=effect)


def _note_of(event: Event) -> str:
    """The text of the note that an event added; empty for another event."""
    notes = event.after.get("notes") if event.verb == "note" else None
    last = notes[-1] if isinstance(notes, list) and notes else None
    return str(last.get("text", "")) if isinstance(last, dict) else ""
