"""How do people take roles, give them and hand them over? What `Shedder.incidents.roles` is."""

from __future__ import annotations

from collections.abc import Callable

from shedder.incident import roles
from shedder.incident.book import Book
from shedder.incident.keeping import Decide
from shedder.incident.records import Incident, IncidentReceipt, Role


class Roles:
    """Who does what in an incident.

    `role` is `commander`, `operations`, `communications`, or `investigator`, who has a `task`.
    Without an `incident` the one that is open is meant, or else the one that was opened last.

    Every method may raise `InvalidInput` (no such role, no such person), `NothingMatched` (no such
    incident) and `ConditionNotMet` (the error says what is in the way); then nothing was changed.
    """

    def __init__(self, book: Book, people: Callable[[], tuple[str, ...]]) -> None:
        self._book = book
        self._people = people

    def assign(
        self,
        role: str,
        person: str,
        *,
        task: str = "",
        also: bool = False,
        instead: bool = False,
        incident: str | None = None,
        reason: str = "",
        by: str | None = None,
    ) -> IncidentReceipt:
        """Give `role` to `person`; `also` to one who has another, `instead` of one who has it."""
        given, who = roles.checked_role(role), self._checked(person)
        said = reason or f"{roles.named(given, task)}: {who}"
        return self._change(
            lambda it, _: roles.assign(it, given, who, task=task, also=also, instead=instead),
            verb="role assign", reason=said, incident=incident, by=by,
        )  # fmt: skip

    def take(
        self,
        role: str,
        *,
        task: str = "",
        also: bool = False,
        instead: bool = False,
        incident: str | None = None,
        reason: str = "",
        by: str | None = None,
    ) -> IncidentReceipt:
        """Take `role`; `also` when having another, `instead` of who has it."""
        taken, who = roles.checked_role(role), self._checked(self._book.cause("", by).by)
        return self._change(
            lambda it, _: roles.assign(it, taken, who, task=task, also=also, instead=instead),
            verb="role take", reason=reason or roles.named(taken, task),
            incident=incident, by=by,
        )  # fmt: skip

    def hand_over(
        self,
        role: str,
        person: str,
        *,
        task: str = "",
        incident: str | None = None,
        reason: str = "",
        by: str | None = None,
    ) -> IncidentReceipt:
        """Offer a role that one has to `person`; it is in force when they accept."""
        offered, who = roles.checked_role(role), self._checked(person)
        giver = self._book.cause("", by).by
        return self._change(
            lambda it, _: roles.hand_over(it, offered, who, by=giver, task=task),
            verb="role offer", reason=reason or f"{roles.named(offered, task)} to {who}",
            incident=incident, by=by,
        )  # fmt: skip

    def accept(
        self,
        role: str | None = None,
        *,
        task: str = "",
        also: bool = False,
        incident: str | None = None,
        reason: str = "",
        by: str | None = None,
    ) -> IncidentReceipt:
        """Accept a role that was offered; without `role` the one that was."""
        wanted = None if role is None else roles.checked_role(role)
        taker = self._book.cause("", by).by

        def decide(it: Incident, _now: object) -> Incident:
            return roles.accept(it, wanted, by=taker, task=task, also=also)

        return self._change(
            decide, verb="role accept", reason=reason or f"{role or 'role'} accepted",
            incident=incident, by=by,
        )  # fmt: skip

    def leave(
        self,
        role: str,
        *,
        task: str = "",
        incident: str | None = None,
        reason: str = "",
        by: str | None = None,
    ) -> IncidentReceipt:
        """Nobody has `role` any more."""
        left: Role = roles.checked_role(role)
        return self._change(
            lambda it, _: roles.leave(it, left, task=task),
            verb="role leave", reason=reason or roles.named(left, task),
            incident=incident, by=by,
        )  # fmt: skip

    def _change(
        self, decide: Decide, *, verb: str, reason: str, incident: str | None, by: str | None
    ) -> IncidentReceipt:
        which = incident or self._book.latest_id()
        return self._book.change(decide, verb=verb, reason=reason, incident=which, by=by)

    def _checked(self, person: str) -> str:
        return roles.checked_person(person, self._people())
