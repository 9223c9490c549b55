"""What does the journal say: who did what, and why?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from shedder.verbs import VERBS


def position_of(identifier: str) -> tuple[int, int]:
    """The id of an event as numbers, by which ids are in the order of the journal."""
    milliseconds, _, number = identifier.partition("-")
    return (
        int(milliseconds) if milliseconds.isdecimal() else 0,
        int(number) if number.isdecimal() else 0,
    )


@dataclass(frozen=True, slots=True)
class Cause:
    """Who changes something, and for which reason.

    Attributes:
        by: The person or program, such as `oncall@host`.
        why: The reason, in their words.
        incident: Id of the incident that it belongs to; empty outside of one.
        role: The role that they have in it; empty without one.
    """

    by: str
    why: str
    incident: str = ""
    role: str = ""


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the journal.

    Attributes:
        id: Its id; ids grow with time.
        at: When it happened (server's clock, UTC).
        verb: What happened, such as `pause`; the reference of the journal lists all verbs.
        by: Who did it.
        why: For which reason.
        lanes: Names of the lanes concerned.
        order: Id of the divert concerned, if there is one.
        undoes: Id of the event that this one undid, if it did.
        before: What stood before, by lane, flag or limit.
        after: What stands after, by lane, flag or limit.
        details: What else the event says, such as a rate or a selection.
        incident: Id of the incident that it belongs to; empty outside of one.
        role: The role that who did it had in the incident; empty without one.
    """

    id: str
    at: datetime
    verb: str
    by: str
    why: str
    lanes: tuple[str, ...]
    order: str = ""
    undoes: str = ""
    before: Mapping[str, Any] = field(default_factory=dict)
    after: Mapping[str, Any] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    incident: str = ""
    role: str = ""

    @property
    def position(self) -> tuple[int, int]:
        """Where it stands in the journal: its id as numbers; as text, `1-10` is before `1-9`."""
        return position_of(self.id)

    @property
    def can_undo(self) -> bool:
        """Whether `undo` knows a way back."""
        return self.verb in VERBS and bool(VERBS[self.verb].undo)
