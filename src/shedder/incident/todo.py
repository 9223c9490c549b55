"""How are the actions of a review kept? What `Shedder.incidents.actions` is."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from shedder.errors import InvalidInput
from shedder.incident import findings
from shedder.incident.book import Book
from shedder.incident.records import Action, ActionType, Incident, IncidentReceipt


class Actions:
    """What is to be done so that the next time is better.

    Without an `incident` the one that is open is meant, or else the one that was opened last.
    """

    def __init__(self, book: Book) -> None:
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
            return findings.add_action(it, title, by=writer, type=type, terms=terms)

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
            return findings.change_action(it, number, terms)

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
            lambda it, _: findings.finish_action(it, number),
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
