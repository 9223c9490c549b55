"""An incident with something in every field, and how a test changes one."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from shedder.incident.records import (
    NOW,
    Action,
    ActionType,
    Effect,
    Incident,
    Note,
    Reading,
    Role,
    RoleHeld,
    RolePast,
    SeveritySince,
    Update,
)
from shedder.incident.store import Decide

AT = datetime(2026, 11, 25, 2, 11, 9, tzinfo=UTC)

FULL = Incident(
    id="2026-11-25-1",
    title="e-mails are hours late",
    severity=2,
    opened_at=AT,
    opened_by="ana@desk",
    revision=7,
    began_at=AT,
    detected_at=AT,
    mitigated_at=AT,
    resolved_at=AT,
    closed_at=AT,
    severities=(SeveritySince(2, AT, "ana@desk"),),
    roles=(RoleHeld(Role.INVESTIGATOR, "ana@desk", AT, "logs", "bob@desk", AT),),
    past_roles=(RolePast(Role.COMMANDER, "ana@desk", AT, AT, ""),),
    notes=(Note(1, AT, "ana@desk", 'said "now"\nand more', "logs"),),
    updates=(Update(1, AT, "ana@desk", "late", "team", True),),
    next_update_at=AT,
    actions=(Action(1, AT, "ana@desk", "alarm", ActionType.DETECT, 1, "platform", AT, AT),),
    review_due_at=AT,
    review={"well": "much"},
    effects=(Effect("1-1", "pause", 300.5, {"mail": Reading(5)}, {"mail": Reading(1, 2, 3.5)}),),
)


def note(text: str) -> Decide:
    def decide(incident: Incident, _now: datetime) -> Incident:
        number = len(incident.notes) + 1
        return replace(incident, notes=(*incident.notes, Note(number, NOW, "ana@desk", text)))

    return decide
