"""Notes, review and actions: decisions, `incidents.actions`, export."""

from __future__ import annotations

import csv
import io
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from shedder.errors import ConditionNotMet, InvalidInput, NothingMatched
from shedder.incident.lifecycle import check_not_closed, checked_text
from shedder.incident.records import (
    NOW,
    Action,
    ActionType,
    Incident,
    IncidentReceipt,
    Note,
    ReviewPart,
)
from shedder.incident.store import IncidentStore

LONGEST_NOTE = 2000
LONGEST_PART = 8000
LONGEST_ACTION = 200
LONGEST_OWNER = 100
PRIORITIES = range(1, 6)
MOST_NOTES = 1000
MOST_ACTIONS = 200


def add_note(incident: Incident, text: str, *, by: str, task: str = "") -> Incident:
    """Write down a finding, which is no decision.

    Raises:
        InvalidInput: an empty text, or a task that nobody has had.
        ConditionNotMet: the incident is closed.
    """
    check_not_closed(incident)
    _check_most("notes", len(incident.notes), MOST_NOTES)
    said = checked_text("note", text, longest=LONGEST_NOTE, lines=True)
    known = tasks_of(incident)
    if task and task not in known:
        accepted = ", ".join(known) or "none: nobody investigates (shedder incident take)"
        raise InvalidInput(name="task", value=task, accepted=accepted)
    note = Note(len(incident.notes) + 1, NOW, by, said, task)
    return replace(incident, notes=(*incident.notes, note))


def tasks_of(incident: Incident) -> tuple[str, ...]:
    """The tasks that investigators have or had."""
    tasks = [each.task for each in incident.past_roles] + [each.task for each in incident.roles]
    return tuple(dict.fromkeys(filter(None, tasks)))


def add_action(
    incident: Incident,
    title: str,
    *,
    by: str,
    type: ActionType | str,  # noqa: A002 - what it is called everywhere
    terms: Mapping[str, object] | None = None,
) -> Incident:
    """Write down what is to be done; `terms` are `priority`, `owner` and `due_at`, where known.

    Raises:
        InvalidInput: one of them cannot be.
        ConditionNotMet: the incident is closed.
    """
    check_not_closed(incident)
    _check_most("actions", len(incident.actions), MOST_ACTIONS)
    action = Action(
        number=len(incident.actions) + 1,
        at=NOW,
        by=by,
        title=checked_text("action", title, longest=LONGEST_ACTION),
        type=checked_type(type),
    )
    return replace(incident, actions=(*incident.actions, _with_terms(action, terms or {})))


def change_action(incident: Incident, number: int, terms: Mapping[str, object]) -> Incident:
    """Another `priority`, `owner`, `due_at`, `type` or `title` for an action.

    Raises:
        NothingMatched: there is no such action.
        InvalidInput: one of them cannot be.
        ConditionNotMet: the incident is closed.
    """
    check_not_closed(incident)
    return _with_action(incident, _with_terms(action_of(incident, number), terms))


def finish_action(incident: Incident, number: int) -> Incident:
    """An action is done; also after the incident is closed.

    Raises:
        NothingMatched: there is no such action.
    """
    action = action_of(incident, number)
    return incident if action.done_at else _with_action(incident, replace(action, done_at=NOW))


def action_of(incident: Incident, number: int) -> Action:
    """The action with this number.

    Raises:
        NothingMatched: there is none.
    """
    for action in incident.actions:
        if action.number == number:
            return action
    known = tuple(str(each.number) for each in incident.actions)
    raise NothingMatched(f"action {number} of {incident.id}", found=known)


def write_review(incident: Incident, parts: Mapping[str, str]) -> Incident:
    """Write parts of the review: `well`, `badly`, `luck`, `factors`.

    Raises:
        InvalidInput: there is no such part, or it is empty.
        ConditionNotMet: the incident is not resolved yet, or closed.
    """
    check_not_closed(incident)
    if incident.resolved_at is None:
        raise ConditionNotMet(f"{incident.id} is resolved", found=f"it is {incident.state}")
    known = [each.value for each in ReviewPart]
    for part in parts:
        if part not in known:
            raise InvalidInput(name="part", value=part, accepted=", ".join(known))
    written = {
        part: checked_text(part, text, longest=LONGEST_PART, lines=True)
        for part, text in parts.items()
    }
    return replace(incident, review={**incident.review, **written})


def close(incident: Incident) -> Incident:
    """The review is done.

    Raises:
        ConditionNotMet: it is not resolved, or something is missing; the error says what.
    """
    check_not_closed(incident)
    missing = missing_of(incident)
    if missing:
        raise ConditionNotMet(f"the review of {incident.id} is complete", found="; ".join(missing))
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
        known = ", ".join(each.value for each in ActionType)
        raise InvalidInput(name="type", value=name, accepted=known) from None


def _with_terms(action: Action, terms: Mapping[str, object]) -> Action:
    changed = action
    for name, value in terms.items():
        if name == "priority" and value not in PRIORITIES:
            accepted = f"{PRIORITIES[0]} (first) to {PRIORITIES[-1]}"
            raise InvalidInput(name="priority", value=value, accepted=accepted)
        if name in ("owner", "title"):
            longest = LONGEST_OWNER if name == "owner" else LONGEST_ACTION
            value = checked_text(name, str(value), longest=longest)  # noqa: PLW2901
        if name == "type":
            value = checked_type(str(value))  # noqa: PLW2901
        changed = replace(changed, **{name: value})  # type: ignore[arg-type]
    return changed


def _with_action(incident: Incident, action: Action) -> Incident:
    actions = tuple(action if e.number == action.number else e for e in incident.actions)
    return replace(incident, actions=actions)


def _check_most(name: str, count: int, most: int) -> None:
    if count >= most:
        raise InvalidInput(name=name, value=count, accepted=f"at most {most:,} of an incident")


class Actions:
    """What is to be done so that the next time is better.

    Without an `incident` the one that is open is meant, or else the one that was opened last.
    """

    def __init__(self, book: IncidentStore) -> None:
        self._book = book

    def add(
        self,
        title: str,
        *,
        type: ActionType | str,  # noqa: A002 - what it is called everywhere
        priority: int | None = None,
        owner: str = "",
        due_at: datetime | None = None,
        incident: str | None = None,
        by: str | None = None,
    ) -> IncidentReceipt:
        """Write down what is to be done; what is not known yet may come later, by `set`.

        Raises:
            InvalidInput: one of the values cannot be, or `due_at` is in the past.
            ConditionNotMet: the incident is closed.
        """
        terms = _given(priority=priority, owner=owner or None, due_at=due_at)
        writer = self._book.cause("", by).by

        def decide(it: Incident, now: datetime) -> Incident:
            _check_due(due_at, now)
            return add_action(it, title, by=writer, type=type, terms=terms)

        return self._book.change(
            decide, verb="action add", reason=title,
            incident=incident or self._book.latest_id(), by=by,
        )  # fmt: skip

    def set(
        self,
        number: int,
        *,
        title: str | None = None,
        type: ActionType | str | None = None,  # noqa: A002 - what it is called everywhere
        priority: int | None = None,
        owner: str | None = None,
        due_at: datetime | None = None,
        incident: str | None = None,
        by: str | None = None,
    ) -> IncidentReceipt:
        """Say what was not known of an action, or was wrong.

        Raises:
            NothingMatched: there is no such action.
            InvalidInput: one of the values cannot be, or `due_at` is in the past.
            ConditionNotMet: the incident is closed.
        """
        terms = _given(title=title, type=type, priority=priority, owner=owner, due_at=due_at)

        def decide(it: Incident, now: datetime) -> Incident:
            _check_due(due_at, now)
            return change_action(it, number, terms)

        return self._book.change(
            decide, verb="action set", reason=f"action {number}",
            incident=incident or self._book.latest_id(), by=by,
        )  # fmt: skip

    def done(
        self, number: int, *, incident: str | None = None, by: str | None = None
    ) -> IncidentReceipt:
        """An action is done; also after the incident is closed.

        Raises:
            NothingMatched: there is no such action.
        """
        return self._book.change(
            lambda it, _: finish_action(it, number),
            verb="action done", reason=f"action {number}",
            incident=incident or self._book.latest_id(), by=by,
        )  # fmt: skip

    def list(self, *, incident: str | None = None) -> tuple[Action, ...]:
        """The actions of an incident, in the order in which they were written down."""
        return self._book.read(incident or self._book.latest_id()).actions


def _given(**values: object) -> Mapping[str, object]:
    return {name: value for name, value in values.items() if value is not None}


def _check_due(due_at: datetime | None, now: datetime) -> None:
    if due_at is not None and due_at < now:
        raise InvalidInput(
            name="due", value=f"{due_at:%Y-%m-%d}", accepted="a time that is not in the past"
        )


FORMS = ("markdown", "csv", "gh")


def exported(incident: Incident, form: str, *, labels: Sequence[str] = ()) -> str:
    """The actions of `incident`, those with the highest priority first, in one of `FORMS`."""
    actions = sorted(incident.actions, key=lambda each: (each.priority or 9, each.number))
    if form == "csv":
        return _csv(actions)
    if form == "gh":
        return "".join(f"{_gh(incident, each, labels)}\n" for each in actions if not each.done_at)
    return _markdown(incident, actions)


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
    return [str(action.number), action.title, action.type.value, priority, action.owner,
            _day(action), done]  # fmt: skip


def _day(action: Action) -> str:
    return f"{action.due_at:%Y-%m-%d}" if action.due_at else ""


def _cell(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|")


def _no_formula(text: str) -> str:
    # A spreadsheet runs what begins so.
    return f"'{text}" if text[:1] in ("=", "+", "-", "@") else text
