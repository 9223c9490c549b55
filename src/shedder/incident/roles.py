"""Who does what: decisions, and `incidents.roles`.

Each role but that of an investigator has one holder; an investigator has a task, and each task has
one. A hand-over is in force when who it is offered to has accepted it.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection
from dataclasses import replace

from shedder.errors import ConditionNotMet, InvalidInput
from shedder.incident.lifecycle import check_not_closed, checked_text, past
from shedder.incident.records import NOW, Incident, IncidentReceipt, Role, RoleHeld, is_same_person
from shedder.incident.store import Decide, IncidentStore

LONGEST_NAME = 100
LONGEST_TASK = 100
MOST_ROLES = 50


def assign(
    incident: Incident,
    role: Role,
    person: str,
    *,
    task: str = "",
    also: bool = False,
    instead: bool = False,
) -> Incident:
    """Give `role` to `person`; `also` to one who has another, `instead` of one who has it.

    Raises:
        InvalidInput: an investigator without a task, or a task for another role.
        ConditionNotMet: somebody has it, the person has another, or the incident is closed.
    """
    check_not_closed(incident)
    checked_task(role, task)
    holder = incident.holder(role, task=task)
    if is_same_person(holder, person):
        return incident
    if holder and not instead:
        raise ConditionNotMet(
            f"{named(role, task)} is free (--instead takes it from who has it)",
            found=f"{holder} has it",
        )
    if not also:
        _check_no_other(incident, person, role)
    given = _without(incident, role, task)
    return replace(given, roles=_sorted((*given.roles, RoleHeld(role, person, NOW, task))))


def hand_over(incident: Incident, role: Role, person: str, *, by: str, task: str = "") -> Incident:
    """Offer `role`, which `by` has, to `person`; it is in force when they accept.

    Raises:
        InvalidInput: it is offered to who has it.
        ConditionNotMet: `by` does not have it, or the incident is closed.
    """
    check_not_closed(incident)
    holder = incident.holder(role, task=task)
    if not is_same_person(holder, by):
        found = f"{holder} has it" if holder else "nobody has it (shedder incident take)"
        raise ConditionNotMet(f"{by} has {named(role, task)}", found=found)
    if is_same_person(holder, person):
        raise InvalidInput(name="person", value=person, accepted="somebody else: they have it")
    return _with_offer(incident, role, task, person)


def accept(
    incident: Incident, role: Role | None, *, by: str, task: str = "", also: bool = False
) -> Incident:
    """Accept the role that was offered to `by`; without a `role` the one that was.

    Raises:
        ConditionNotMet: nothing was offered to `by`, they have another role, or it is closed.
    """
    check_not_closed(incident)
    offers = [
        each
        for each in incident.roles
        if each.offered_to and role in (None, each.role) and task in ("", each.task)
    ]
    mine = [each for each in offers if is_same_person(each.offered_to, by)]
    if not mine:
        offered = ", ".join(f"{named(e.role, e.task)} to {e.offered_to}" for e in offers)
        raise ConditionNotMet(
            f"{'a role' if role is None else role.value} is offered to {by}",
            found=offered or "no offer",
        )
    held = mine[0]
    if not also:
        _check_no_other(incident, by, held.role)
    taken = _without(incident, held.role, held.task)
    given = RoleHeld(held.role, held.offered_to, NOW, held.task)
    return replace(taken, roles=_sorted((*taken.roles, given)))


def leave(incident: Incident, role: Role, *, task: str = "") -> Incident:
    """Nobody has `role` any more.

    Raises:
        ConditionNotMet: nobody had it, or the incident is closed.
    """
    check_not_closed(incident)
    if not incident.holder(role, task=task):
        raise ConditionNotMet(f"somebody has {named(role, task)}", found="nobody")
    return _without(incident, role, task)


def checked_role(name: str) -> Role:
    """The role of this name.

    Raises:
        InvalidInput: there is none.
    """
    names = [each.value for each in Role]
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1)
        meant = f"; did you mean {near[0]}?" if near else ""
        raise InvalidInput(name="role", value=name, accepted=f"{', '.join(names)}{meant}")
    return Role(name)


def checked_person(name: str, people: Collection[str] = ()) -> str:
    """`name`, if a person can be called so; with `people` only one of these.

    Raises:
        InvalidInput: it is empty, too long, has spaces, or is none of `people`.
    """
    said = checked_text("person", name, longest=LONGEST_NAME)
    if any(each.isspace() for each in said):
        raise InvalidInput(name="person", value=name, accepted="a name without spaces: ana@desk")
    if people and not any(is_same_person(said, each) for each in people):
        accepted = f"one whom the policy names, such as {_nearest(said, people)}"
        raise InvalidInput(name="person", value=name, accepted=accepted)
    return said


def checked_task(role: Role, task: str) -> str:
    """`task`, if `role` takes one.

    Raises:
        InvalidInput: an investigator without a task, or a task for another role.
    """
    if role is not Role.INVESTIGATOR:
        if task:
            raise InvalidInput(
                name="task", value=task, accepted="none: only investigators have one"
            )
        return ""
    if not task.strip():
        raise InvalidInput(name="task", value=task, accepted='what to look into: "database logs"')
    return checked_text("task", task, longest=LONGEST_TASK)


def named(role: Role, task: str = "") -> str:
    """A role for a person, such as `operations` or `investigator of database logs`."""
    return f"{role.value} of {task}" if task else role.value


def _nearest(name: str, people: Collection[str]) -> str:
    # a desk that two share says nothing of how near their names are
    bare = {each.partition("@")[0]: each for each in sorted(people, reverse=True)}
    near = difflib.get_close_matches(name.partition("@")[0], bare, n=1)
    return bare[near[0]] if near else min(people)


def _check_no_other(incident: Incident, person: str, role: Role) -> None:
    others = [each for each in incident.roles_of(person) if each.role is not role]
    if others:
        raise ConditionNotMet(
            f"{person} has no other role (--also gives them a second one)",
            found=named(others[0].role, others[0].task),
        )


def _without(incident: Incident, role: Role, task: str) -> Incident:
    ending = [each for each in incident.roles if (each.role, each.task) == (role, task)]
    kept = tuple(each for each in incident.roles if each not in ending)
    if len(kept) >= MOST_ROLES:
        raise InvalidInput(name="roles", value=len(kept), accepted=f"at most {MOST_ROLES}")
    return replace(incident, roles=kept, past_roles=(*incident.past_roles, *map(past, ending)))


def _with_offer(incident: Incident, role: Role, task: str, person: str) -> Incident:
    roles = tuple(
        replace(each, offered_to=person, offered_at=NOW)
        if (each.role, each.task) == (role, task)
        else each
        for each in incident.roles
    )
    return replace(incident, roles=roles)


def _sorted(roles: tuple[RoleHeld, ...]) -> tuple[RoleHeld, ...]:
    order = list(Role)
    return tuple(sorted(roles, key=lambda each: order.index(each.role)))


class Roles:
    """Who does what in an incident.

    `role` is `commander`, `operations`, `communications`, or `investigator`, who has a `task`.
    Without an `incident` the one that is open is meant, or else the one that was opened last.

    Every method may raise `InvalidInput` (no such role, no such person), `NothingMatched` (no such
    incident) and `ConditionNotMet` (the error says what is in the way); then nothing was changed.
    """

    def __init__(self, book: IncidentStore, people: Callable[[], tuple[str, ...]]) -> None:
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
        given, who = checked_role(role), self._checked(person)
        said = reason or f"{named(given, task)}: {who}"
        return self._change(
            lambda it, _: assign(it, given, who, task=task, also=also, instead=instead),
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
        taken, who = checked_role(role), self._checked(self._book.cause("", by).by)
        return self._change(
            lambda it, _: assign(it, taken, who, task=task, also=also, instead=instead),
            verb="role take", reason=reason or named(taken, task),
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
        offered, who = checked_role(role), self._checked(person)
        giver = self._book.cause("", by).by
        return self._change(
            lambda it, _: hand_over(it, offered, who, by=giver, task=task),
            verb="role offer", reason=reason or f"{named(offered, task)} to {who}",
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
        wanted = None if role is None else checked_role(role)
        taker = self._book.cause("", by).by

        def decide(it: Incident, _now: object) -> Incident:
            return accept(it, wanted, by=taker, task=task, also=also)

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
        left: Role = checked_role(role)
        return self._change(
            lambda it, _: leave(it, left, task=task),
            verb="role leave", reason=reason or named(left, task),
            incident=incident, by=by,
        )  # fmt: skip

    def _change(
        self, decide: Decide, *, verb: str, reason: str, incident: str | None, by: str | None
    ) -> IncidentReceipt:
        which = incident or self._book.latest_id()
        return self._book.change(decide, verb=verb, reason=reason, incident=which, by=by)

    def _checked(self, person: str) -> str:
        return checked_person(person, self._people())
