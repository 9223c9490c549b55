"""What do commands return? Plain facts, frozen; the command line renders them."""

from __future__ import annotations

from shedder.records.controls import Divert, Drain, Pause, StartsLimit
from shedder.records.diverts import DivertedLane, DivertPreview, DivertReceipt, LanePreview
from shedder.records.drains import (
    DrainingLane,
    DrainProgress,
    DrainReceipt,
    RestoredLane,
    RestoreReceipt,
)
from shedder.records.events import Cause, Event
from shedder.records.fleet import RunningJob, WorkerSeen
from shedder.records.mitigations import MitigationReceipt
from shedder.records.pauses import PausedLane, PauseReceipt, ResumedLane, ResumeReceipt
from shedder.records.status import AuditReport, LaneStatus, Late, Status

__all__ = [
    "AuditReport",
    "Cause",
    "Divert",
    "DivertPreview",
    "DivertReceipt",
    "DivertedLane",
    "Drain",
    "DrainProgress",
    "DrainReceipt",
    "DrainingLane",
    "Event",
    "LanePreview",
    "LaneStatus",
    "Late",
    "MitigationReceipt",
    "Pause",
    "PauseReceipt",
    "PausedLane",
    "RestoreReceipt",
    "RestoredLane",
    "ResumeReceipt",
    "ResumedLane",
    "RunningJob",
    "StartsLimit",
    "Status",
    "WorkerSeen",
]
