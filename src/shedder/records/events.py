"""What does the journal say: who did what, and why?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

INCIDENT_VERBS = frozenset(
    {
        "incident mitigated", "incident resolve", "incident reopen", "incident correct",
        "role assign", "role take", "role offer", "role accept", "role leave",
        "action add", "action set", "action done", "review",
    }
)  # fmt: skip
"""Changes of the record of an incident that can be taken back."""

_CAN_UNDO = INCIDENT_VERBS | {
    "pause", "resume", "divert", "drain", "limit start",
    "flag degrade", "flag restore", "limit set", "limit clear", "policy apply",
}  # fmt: skip


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
        verb: What happened: `pause`, `resume`, `pause expired`, `divert`, `scan`, `drain`,
            `drain stopped`, `drained`, `restore`, `repair`, `flag degrade`, `flag restore`,
            `limit set`, `limit clear`, `policy apply`, `set aside`, `replay`, `incident open`,
            `incident update`, `incident mitigated`, `incident resolve`, `incident reopen`,
            `incident correct`, `incident close`, `incident import`,
            `role assign`, `role take`, `role offer`, `role accept`, `role leave`, `note`,
            `action add`, `action set`, `action done`, `review`, `effect`, `mitigate`,
            `mitigate started`.
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
    def can_undo(self) -> bool:
        """Whether `undo` knows a way back."""
        return self.verb in _CAN_UNDO
