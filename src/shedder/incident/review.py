"""Notes, the review and its actions: decisions, `incidents.actions`, and the export of actions."""

from __future__ import annotations

import csv
import io
import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from shedder.errors import ConditionNotMet, InvalidInput, NothingMatched
from shedder.incident.blame import INSTEAD, warnings_of
from shedder.incident.lifecycle import check_not_closed, checked_text
from shedder.incident.records import NOW, Action, ActionType, Incident, IncidentReceipt, Note, ReviewPart
from shedder.incident.store import IncidentStore
from shedder.store.arguments import checks_arguments

LONGEST_NOTE = 2000
LONGEST_PART = 8000
LONGEST_ACTION = 200
LONGEST_OWNER = 100
ACTION_PRIORITIES = range(1, 6)
MOST_NOTES = 1000
MOST_ACTIONS = 200


@checks_arguments
class Actions:
    """What is to be done so that the next time is better.

    Without an `incident` the one that is open is meant, or else the one that was opened last.
    """

    def __init__(self, incidents: IncidentStore) -> None:
        self._incidents = incidents

    def add(
        self, title: str, *,
        type: ActionType | str,  # noqa: A002 - what it is called everywhere
        priority: int | None = None, owner: str = "", due_at: datetime | None = None,
        incident: str | None = None, by: str | None = None,
    ) -> IncidentReceipt:  # fmt: skip
        """Write down what is to be done; what is not known yet may come later, by `set`.

        Raises:
            InvalidInput: one of the values cannot be, or `due_at` is in the past.
            ConditionNotMet: the incident is closed.
        """
        terms = {"priority": priority, "owner": owner or None, "due_at": due_at}
        writer = self._incidents.cause("", by).by

        def decide(it: Incident, now: datetime) -> Incident:
            check_not_closed(it)
            _check_most("actions", len(it.actions), MOST_ACTIONS)
            said = checked_text("action", title, longest=LONGEST_ACTION)
            action = Action(len(it.actions) + 1, NOW, writer, said, checked_type(type))
            return replace(it, actions=(*it.actions, _with_terms(action, terms, now)))

        return self._incidents.change_latest(decide, title, incident, by, verb="action add")

    def set(
        self, number: int, *, title: str | None = None,
        type: ActionType | str | None = None,  # noqa: A002 - what it is called everywhere
        priority: int | None = None, owner: str | None = None, due_at: datetime | None = None,
        incident: str | None = None, by: str | None = None,
    ) -> IncidentReceipt:  # fmt: skip
        """Say what was not known of an action, or was wrong.

        Raises:
            NothingMatched: there is no such action.
            InvalidInput: one of the values cannot be, or `due_at` is in the past.
            ConditionNotMet: the incident is closed.
        """
        terms = {"title": title, "type": type, "priority": priority, "owner": owner, "due_at": due_at}

        def decide(it: Incident, now: datetime) -> Incident:
            check_not_closed(it)
            return _with_action(it, _with_terms(_action_of(it, number), terms, now))

        return self._incidents.change_latest(decide, f"action {number}", incident, by, verb="action set")

    def done(self, number: int, *, incident: str | None = None, by: str | None = None) -> IncidentReceipt:
        """An action is done; also after the incident is closed.

        Raises:
            NothingMatched: there is no such action.
        """

        def decide(it: Incident, _now: datetime) -> Incident:
            action = _action_of(it, number)
            return it if action.done_at else _with_action(it, replace(action, done_at=NOW))

        return self._incidents.change_latest(decide, f"action {number}", incident, by, verb="action done")

    def list(self, *, incident: str | None = None) -> tuple[Action, ...]:
        """The actions of an incident, in the order in which they were written down."""
        return self._incidents.read(incident or self._incidents.latest_id()).actions


def with_note(incident: Incident, text: str, *, by: str, task: str = "") -> Incident:
    """Write down a finding, which is no decision.

    Raises:
        InvalidInput: an empty text, or a task that nobody has had.
        ConditionNotMet: the incident is closed.
    """
    check_not_closed(incident)
    _check_most("notes", len(incident.notes), MOST_NOTES)
    said = checked_text("note", text, longest=LONGEST_NOTE, lines=True)
    tasks = [each.task for each in incident.past_roles] + [each.task for each in incident.roles]
    known = dict.fromkeys(filter(None, tasks))  # that investigators have or had
    if task and task not in known:
        accepted = ", ".join(known) or "none: nobody investigates (shedder incident take)"
        raise InvalidInput(name="task", value=task, accepted=accepted)
    note = Note(len(incident.notes) + 1, NOW, by, said, task)
    return replace(incident, notes=(*incident.notes, note))


def with_review(incident: Incident, parts: Mapping[str, str], *, people: Collection[str] = ()) -> Incident:
    """Write parts of the review: `well`, `badly`, `luck`, `factors`.

    Raises:
        InvalidInput: there is no such part, it is empty, or it blames or names one of `people`.
        ConditionNotMet: the incident is not resolved yet, or closed.
    """
    check_not_closed(incident)
    if incident.resolved_at is None:
        raise ConditionNotMet(
            f"{incident.id} is {incident.state}", try_instead="resolve it first: `shedder incident resolve`"
        )
    known = [each.value for each in ReviewPart]
    for part in parts:
        if part not in known:
            raise InvalidInput(name="part", value=part, accepted=", ".join(known))
    written = {part: checked_text(part, text, longest=LONGEST_PART, lines=True) for part, text in parts.items()}
    for part, text in written.items():
        _check_blameless(part, text, people)
    return replace(incident, review={**incident.review, **written})


def _check_blameless(part: str, text: str, people: Collection[str]) -> None:
    for found in warnings_of(text, people=people):
        accepted = f"a sentence without {found.found!r}, which {found.why}: {INSTEAD}"
        raise InvalidInput(name=part, value=found.sentence, accepted=accepted)


def as_closed(incident: Incident) -> Incident:
    """The review is done.

    Raises:
        ConditionNotMet: it is not resolved, or something is missing; the error says what.
    """
    check_not_closed(incident)
    missing = missing_of(incident)
    if missing:
        raise ConditionNotMet("; ".join(missing), try_instead=f"complete this, then close {incident.id} again")
    return replace(incident, closed_at=NOW)


def missing_of(incident: Incident) -> tuple[str, ...]:
    """What is missing before an incident can be closed, one phrase each."""
    missing = [] if incident.resolved_at else [f"it is {incident.state}, not resolved"]
    for action in incident.actions:
        terms = {"owner": action.owner, "priority": action.priority, "due date": action.due_at}
        lacking = [name for name, value in terms.items() if not value]
        if lacking:
            missing.append(f"action {action.number} has no {', no '.join(lacking)}")
    empty = [each.value for each in ReviewPart if not incident.review.get(each.value)]
    if empty:
        missing.append(f"the review says nothing of: {', '.join(empty)} (shedder incident review)")
    return tuple(missing)


def checked_type(name: ActionType | str) -> ActionType:
    """The type of action of this name.

    Raises:
        InvalidInput: there is none.
    """
    try:
        return ActionType(name)
    except ValueError:
        raise InvalidInput(name="type", value=name, accepted=", ".join(each.value for each in ActionType)) from None


def actions_text(incident: Incident, form: str, *, labels: Sequence[str] = ()) -> str:
    """The actions of `incident`, the first priority in front: `markdown`, `csv` or `gh`."""
    actions = sorted(incident.actions, key=lambda each: (each.priority or 9, each.number))
    if form == "csv":
        return _csv(actions)
    if form == "gh":
        return "".join(f"{_gh(incident, each, labels)}\n" for each in actions if not each.done_at)
    return _markdown(incident, actions)


def _action_of(incident: Incident, number: int) -> Action:
    """The action with this number.

    Raises:
        NothingMatched: there is none.
    """
    found = {each.number: each for each in incident.actions}
    if number not in found:
        raise NothingMatched(f"action {number} in {incident.id}", found=tuple(map(str, found)))
    return found[number]


def _with_terms(action: Action, terms: Mapping[str, Any], now: datetime) -> Action:
    """`action` with those of `terms` that are not None.

    Raises:
        InvalidInput: one of them cannot be.
    """
    known = {name: value for name, value in terms.items() if value is not None}
    if "due_at" in known and known["due_at"] < now:
        raise InvalidInput(name="due", value=f"{known['due_at']:%Y-%m-%d}", accepted="a time that is not in the past")
    if "priority" in known and known["priority"] not in ACTION_PRIORITIES:
        accepted = f"{ACTION_PRIORITIES[0]} (first) to {ACTION_PRIORITIES[-1]}"
        raise InvalidInput(name="priority", value=known["priority"], accepted=accepted)
    for name, longest in (("owner", LONGEST_OWNER), ("title", LONGEST_ACTION)):
        if name in known:
            known[name] = checked_text(name, str(known[name]), longest=longest)
    if "type" in known:
        known["type"] = checked_type(known["type"])
    return replace(action, **known)


def _with_action(incident: Incident, action: Action) -> Incident:
    actions = tuple(action if e.number == action.number else e for e in incident.actions)
    return replace(incident, actions=actions)


def _check_most(name: str, count: int, most: int) -> None:
    if count >= most:
        raise InvalidInput(name=name, value=count, accepted=f"at most {most:,} of an incident")


def _markdown(incident: Incident, actions: Sequence[Action]) -> str:
    lines = [
        f"## Actions of {incident.id}",
        "",
        "| # | Action | Type | Priority | Owner | Due | Done |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    lines += [f"| {' | '.join(_cell(each) for each in _row(action))} |" for action in actions]
    return "\n".join([*lines, ""])


def _csv(actions: Sequence[Action]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["number", "action", "type", "priority", "owner", "due", "done"])
    writer.writerows([_no_formula(each) for each in _row(action)] for action in actions)
    return out.getvalue()


def _gh(incident: Incident, action: Action, labels: Sequence[str]) -> str:
    body = (
        f"Action {action.number} of incident {incident.id}: {incident.title}\n\n"
        f"Type: {action.type.value}\nPriority: {action.priority or '-'}\n"
        f"Owner: {action.owner or '-'}\nDue: {_day(action) or '-'}"
    )
    words = ["gh", "issue", "create", "--title", action.title, "--body", body]
    words += [word for label in labels for word in ("--label", label)]
    return " ".join(map(shlex.quote, words))


def _row(action: Action) -> list[str]:
    done = f"{action.done_at:%Y-%m-%d}" if action.done_at else ""
    priority = str(action.priority or "")
    return [str(action.number), action.title, action.type.value, priority, action.owner, _day(action), done]


def _day(action: Action) -> str:
    return f"{action.due_at:%Y-%m-%d}" if action.due_at else ""


def _cell(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|")


def _no_formula(text: str) -> str:
    # A spreadsheet runs what begins so.
    return f"'{text}" if text[:1] in ("=", "+", "-", "@") else text
