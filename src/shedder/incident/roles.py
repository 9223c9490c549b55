"""The roles of an incident: what can be decided about them, and `incidents.roles`.

Each role but that of an investigator has one holder; an investigator has a task, and each task has
one. A hand-over is in force when the person it is offered to has accepted it.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection
from dataclasses import replace

from shedder.errors import ConditionNotMet, InvalidInput
from shedder.events import is_shared_account
from shedder.incident.lifecycle import check_not_closed, checked_text
from shedder.incident.records import NOW, Incident, IncidentReceipt, Role, RoleHeld, RolePast, is_same_person
from shedder.incident.store import IncidentStore
from shedder.store.arguments import checks_arguments

LONGEST_NAME = 100
LONGEST_TASK = 100
MOST_ROLES = 50


@checks_arguments
class Roles:
    """The roles of an incident, and their holders.

    `role` is `commander`, `operations`, `communications`, or `investigator`, who has a `task`.
    Without an `incident` the one that is open is meant, or else the one that was opened last.

    Every method may raise `InvalidInput` (no such role, no such person), `NothingMatched` (no such
    incident) and `ConditionNotMet` (the error says what is in the way); then nothing was changed.
    """

    def __init__(self, incidents: IncidentStore, people: Callable[[], tuple[str, ...]]) -> None:
        self._incidents = incidents
        self._people = people

    def assign(
        self, role: str, person: str, *, task: str = "", also: bool = False, instead: bool = False,
        incident: str | None = None, reason: str = "", by: str | None = None,
    ) -> IncidentReceipt:  # fmt: skip
        """Give `role` to `person`; `also` to one who has another, `instead` of one who has it."""
        given = RoleHeld(checked_role(role), self._checked(person), NOW, task)
        why = reason or f"{role_text(given.role, task)}: {given.person}"
        return self._change("role assign", lambda it: _given(it, given, also=also, instead=instead), why, incident, by)

    def take(
        self, role: str, *, task: str = "", also: bool = False, instead: bool = False,
        incident: str | None = None, reason: str = "", by: str | None = None,
    ) -> IncidentReceipt:  # fmt: skip
        """Take `role`; `also` when having another, `instead` of its holder."""
        taken = RoleHeld(checked_role(role), self._checked(self._actor(by)), NOW, task)
        why = reason or role_text(taken.role, task)
        return self._change("role take", lambda it: _given(it, taken, also=also, instead=instead), why, incident, by)

    def hand_over(
        self, role: str, person: str, *, task: str = "",
        incident: str | None = None, reason: str = "", by: str | None = None,
    ) -> IncidentReceipt:  # fmt: skip
        """Offer a role that one has to `person`; it is in force when they accept."""
        offered, who, giver = checked_role(role), self._checked(person), self._actor(by)
        why = reason or f"{role_text(offered, task)} to {who}"
        return self._change("role offer", lambda it: _offered(it, offered, task, giver, who), why, incident, by)

    def accept(
        self, role: str | None = None, *, task: str = "", also: bool = False,
        incident: str | None = None, reason: str = "", by: str | None = None,
    ) -> IncidentReceipt:  # fmt: skip
        """Accept a role that was offered; without `role` the one that was."""
        wanted, taker = checked_role(role) if role else None, self._actor(by)
        why = reason or f"{role or 'role'} accepted"
        return self._change("role accept", lambda it: _accepted(it, wanted, task, taker, also=also), why, incident, by)

    def leave(
        self, role: str, *, task: str = "", incident: str | None = None, reason: str = "", by: str | None = None
    ) -> IncidentReceipt:
        """Nobody has `role` any more."""
        left = checked_role(role)
        return self._change(
            "role leave", lambda it: _left(it, left, task), reason or role_text(left, task), incident, by
        )

    def _change(
        self, verb: str, decide: Callable[[Incident], Incident], reason: str, incident: str | None, by: str | None
    ) -> IncidentReceipt:
        """Change the roles as `decide` says, unless the incident is closed."""
        return self._incidents.change_latest(
            lambda it, _: decide(check_not_closed(it)), reason, incident, by, verb=verb
        )

    def _actor(self, by: str | None) -> str:
        return self._incidents.cause("", by).by

    def _checked(self, person: str) -> str:
        return checked_person(person, self._people())


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
        InvalidInput: it is empty, too long, has spaces, is an account that several people use, or is
            none of `people`.
    """
    said = checked_text("person", name, longest=LONGEST_NAME)
    if any(each.isspace() for each in said):
        raise InvalidInput(name="person", value=name, accepted="a name without spaces: ana@desk")
    if is_shared_account(said):
        accepted = "a person, such as ana@desk: several people use this account (SHEDDER_BY or --by says who one is)"
        raise InvalidInput(name="person", value=name, accepted=accepted)
    if people and not any(is_same_person(said, each) for each in people):
        near = _nearest(said, people)
        accepted = f"one of them, such as {near}"
        says = f"{name} is not one whom the policy names; use {accepted}"
        raise InvalidInput(name="person", value=name, accepted=accepted, says=says)
    return said


def checked_task(role: Role, task: str) -> str:
    """`task`, if `role` takes one.

    Raises:
        InvalidInput: an investigator without a task, or a task for another role.
    """
    if role is not Role.INVESTIGATOR:
        if task:
            says = "only investigators have a task; leave the task out"
            raise InvalidInput(name="task", value=task, accepted="none", says=says)
        return ""
    if not task.strip():
        says = 'an investigator needs a task; say what to look into, such as "database logs"'
        raise InvalidInput(name="task", value=task, accepted="what to look into", says=says)
    return checked_text("task", task, longest=LONGEST_TASK)


def role_text(role: Role, task: str = "") -> str:
    """A role for a person, such as `operations` or `investigator of database logs`."""
    return f"{role.value} of {task}" if task else role.value


def _given(incident: Incident, given: RoleHeld, *, also: bool, instead: bool) -> Incident:
    """The incident in which a person has one more role.

    Raises:
        InvalidInput: an investigator without a task, or a task for another role.
        ConditionNotMet: somebody has it, or the person has another.
    """
    checked_task(given.role, given.task)
    holder = incident.holder(given.role, task=given.task)
    if is_same_person(holder, given.person):
        return incident
    if holder and not instead:
        raise ConditionNotMet(
            f"{holder} has the role {role_text(given.role, given.task)}",
            try_instead="to take it from them, add --instead",
        )
    return _with_role(incident, given, given.person, also=also)


def _offered(incident: Incident, role: Role, task: str, by: str, person: str) -> Incident:
    """The incident in which `role`, which `by` has, is offered to `person`.

    Raises:
        InvalidInput: it is offered to its holder.
        ConditionNotMet: `by` does not have it.
    """
    holder = incident.holder(role, task=task)
    if not is_same_person(holder, by):
        raise ConditionNotMet(
            f"{holder or 'nobody'} has the role {role_text(role, task)}, not {by}",
            try_instead=f"ask {holder} to hand it over" if holder else "take it with `shedder incident take`",
        )
    if is_same_person(holder, person):
        says = f"{person} has the role {role_text(role, task)} already; hand it over to somebody else"
        raise InvalidInput(name="person", value=person, accepted="somebody else", says=says)
    roles = tuple(
        replace(each, offered_to=person, offered_at=NOW) if _is(each, role, task) else each for each in incident.roles
    )
    return replace(incident, roles=roles)


def _accepted(incident: Incident, role: Role | None, task: str, by: str, *, also: bool) -> Incident:
    """The incident in which `by` has the role that was offered; without a `role` any that was.

    Raises:
        ConditionNotMet: nothing was offered to `by`, or they have another role.
    """
    offers = [each for each in incident.roles if each.offered_to
              and role in (None, each.role) and task in ("", each.task)]  # fmt: skip
    mine = [each for each in offers if is_same_person(each.offered_to, by)]
    if not mine:
        others = ", ".join(f"{role_text(each.role, each.task)} to {each.offered_to}" for each in offers)
        raise ConditionNotMet(
            f"nobody has offered {'a role' if role is None else role.value} to {by}"
            f"{f' (offered are: {others})' if others else ''}",
            try_instead="ask whoever has the role to hand it over",
        )
    taken = RoleHeld(mine[0].role, mine[0].offered_to, NOW, mine[0].task)
    return _with_role(incident, taken, by, also=also)


def _left(incident: Incident, role: Role, task: str) -> Incident:
    """The incident in which nobody has `role`.

    Raises:
        ConditionNotMet: nobody had it.
    """
    if not incident.holder(role, task=task):
        raise ConditionNotMet(f"nobody has the role {role_text(role, task)}", try_instead="there is nothing to leave")
    return _without(incident, role, task)


def _nearest(name: str, people: Collection[str]) -> str:
    # a desk that two share says nothing of how near their names are
    bare = {each.partition("@")[0]: each for each in sorted(people, reverse=True)}
    near = difflib.get_close_matches(name.partition("@")[0], bare, n=1)
    return bare[near[0]] if near else min(people)


def _with_role(incident: Incident, given: RoleHeld, who: str, *, also: bool) -> Incident:
    others = [each for each in incident.roles_of(who) if each.role is not given.role]
    if others and not also:
        raise ConditionNotMet(
            f"{who} has the role {role_text(others[0].role, others[0].task)} already",
            try_instead="to give them a second one, add --also",
        )
    freed = _without(incident, given.role, given.task)
    roles = sorted((*freed.roles, given), key=lambda each: list(Role).index(each.role))
    return replace(freed, roles=tuple(roles))


def _without(incident: Incident, role: Role, task: str) -> Incident:
    kept = tuple(each for each in incident.roles if not _is(each, role, task))
    if len(kept) >= MOST_ROLES:
        raise InvalidInput(name="roles", value=len(kept), accepted=f"at most {MOST_ROLES}")
    ended = (RolePast(each.role, each.person, each.since, NOW, each.task)
             for each in incident.roles if _is(each, role, task))  # fmt: skip
    return replace(incident, roles=kept, past_roles=(*incident.past_roles, *ended))


def _is(held: RoleHeld, role: Role, task: str) -> bool:
    return (held.role, held.task) == (role, task)
