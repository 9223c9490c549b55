"""How do the names of people, in what they wrote, become their roles?"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from shedder.incident.records import Incident, RoleHeld, RolePast, is_same_person
from shedder.postmortem.telling import people_of
from shedder.records import Event

SOMEBODY = "somebody"


def roles_by_name(incident: Incident, events: Iterable[Event]) -> Mapping[str, str]:
    """For each name in the record the role that its person has or had."""
    held: list[RoleHeld | RolePast] = [*incident.roles, *incident.past_roles]
    return {
        name: next((each.role.value for each in held if is_same_person(each.person, name)),
                   SOMEBODY)
        for name in people_of(incident, events)
    }  # fmt: skip


def without_names(text: str, roles: Mapping[str, str]) -> str:
    """`text` with a role for each name that stands in it as a whole, however it is written."""
    for name in sorted(roles, key=len, reverse=True):
        whole = rf"(?<![\w@.-]){re.escape(name)}(?![\w@-])"
        text = re.sub(whole, roles[name], text, flags=re.IGNORECASE)
    return text
