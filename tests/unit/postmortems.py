"""An incident as it may have been recorded, for tests of its post-mortem."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from shedder.events import Event
from shedder.incident.records import Effect, Incident, Reading, Role, RoleHeld, SeveritySince, Update
from shedder.policy.workload import Workload
from shedder.postmortem.build import Material
from shedder.queues.outcomes import Counts
from shedder.queues.samples import Sample

BEGAN = datetime(2026, 11, 23, 13, 50, tzinfo=UTC)
KINDS = (
    Workload("payments", timedelta(seconds=30), ("mail.high",)),
    Workload("receipt e-mails", timedelta(minutes=10), ("mail",)),
    Workload("exports", timedelta(hours=1), ("exports",)),
)


def at(minutes: float) -> datetime:
    return BEGAN + timedelta(minutes=minutes)


def lane_samples() -> dict[str, tuple[Sample, ...]]:
    """`mail` fills for 20 minutes, is put aside, and drains; payments wait behind it at first."""
    mail, high = [], []
    for step in range(151):
        minute, started = step / 1.0, 0
        filled = min(minute, 20) * 2000
        started = int(min(minute, 20) * 300 + max(minute - 35, 0) * 300)
        waiting = max(int(filled - started), 0) if minute < 25 else 0
        backlog = 0 if minute < 25 else max(int(34_000 - max(minute - 35, 0) * 300), 0)
        age = int(minute * 60 * 0.85) if waiting else 0
        parked = int(25 * 60 * 0.85 + (minute - 25) * 20) if backlog else 0
        mail.append(Sample(at(minute), waiting, backlog, 4, age, parked, started, started))
        slow = minute < 25
        high.append(
            Sample(at(minute), 200 if slow else 1, 0, 1, int(minute * 40) if slow else 1, 0,
                   int(minute * 60), int(minute * 60))
        )  # fmt: skip
    return {"mail": tuple(mail), "mail.high": tuple(high)}


EVENTS = (
    Event("1-1", at(12), "incident open", "ana@desk", "mails are late", ()),
    Event("1-2", at(15), "pause", "oncall@ops", "database at 99 %", ("mail",),
          before={"mail": {"waiting": 27000}}),
    Event("1-3", at(25), "divert", "oncall@ops", "only <b>payments</b> now", ("mail",),
          role="operations", before={"mail": {"waiting": 34000}}),
    Event("1-4", at(27), "incident update", "bob@desk", "", (), details={"works": [
        {"noun": "receipt e-mails", "tenants": 12}]}),
    Event("1-5", at(35), "drain", "oncall@ops", "database is fine", ("mail",),
          details={"rate": "5/second"}),
    Event("1-6", at(149), "drained", "shedder", "", ("mail",)),
)  # fmt: skip

INCIDENT = Incident(
    id="2026-11-23-1",
    title="Mails are hours late <script>alert(1)</script>",
    severity=3,
    opened_at=at(12),
    opened_by="ana@desk",
    detected_at=at(10),
    mitigated_at=at(40),
    resolved_at=at(150),
    severities=(SeveritySince(1, at(12), "ana@desk"), SeveritySince(3, at(30), "ana@desk")),
    roles=(
        RoleHeld(Role.COMMANDER, "ana@desk", at(12)),
        RoleHeld(Role.OPERATIONS, "oncall@ops", at(13)),
        RoleHeld(Role.COMMUNICATIONS, "bob@desk", at(14)),
    ),
    updates=(Update(1, at(27), "bob@desk", "Receipt e-mails: 34,000 delayed."),),
    review_due_at=at(150) + timedelta(hours=48),
    effects=(
        Effect(
            "1-3", "divert", 300.0,
            {"mail.high": Reading(200, 0, 1000.0, 1.0, 1.0)},
            {"mail.high": Reading(1, 0, 1.0, 1.0, 4.0)},
        ),
    ),
)  # fmt: skip


def lane_counts() -> tuple[Counts, ...]:
    """Half of the mails fail in the ten minutes after the drain began; of payments one, and no export."""
    found = []
    for minute in range(151):
        failed = int(min(max(minute - 35, 0), 10) * 150)
        lanes = {lane: (each[minute].ended, 0) for lane, each in lane_samples().items()}
        lanes |= {"mail": (lanes["mail"][0], failed), "exports": (minute, 0)}
        lanes["mail.high"] = (lanes["mail.high"][0], int(minute > 100))
        found.append(Counts(at(minute), lanes))
    return tuple(found)


def material(**changes: object) -> Material:
    whole = Material(INCIDENT, EVENTS, KINDS, lane_samples(), at(160), {"receipt e-mails": 12})
    return replace(whole, **changes)
