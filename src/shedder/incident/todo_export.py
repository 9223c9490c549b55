"""How do the actions of a review get to where a team keeps its work?"""

from __future__ import annotations

import csv
import io
import shlex
from collections.abc import Sequence

from shedder.incident.records import Action, Incident

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
