"""Load shedding for RQ job queues: pause, divert and drain without losing a job."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shedder.api.shedder import Shedder
    from shedder.engine.workers import WorkerSeen
    from shedder.errors import LimitExceeded
    from shedder.events import Cause, Event
    from shedder.health.audit import AuditReport
    from shedder.health.doctor import Checkup
    from shedder.health.repair import Repair
    from shedder.health.uninstall import QueueLeft, UninstallReceipt
    from shedder.incident.records import (
        Action,
        ActionType,
        Effect,
        Incident,
        IncidentReceipt,
        Note,
        Reading,
        Role,
        RoleHeld,
        RolePast,
        SeveritySince,
        Update,
        Yardstick,
    )
    from shedder.lanes import Lane
    from shedder.policy.applied import AppliedPolicy, PolicyReceipt
    from shedder.policy.explain import Decision, ExplainedJob
    from shedder.policy.lateness import Late
    from shedder.policy.model import Defaults, IncidentPolicy, Mitigation, Policy, Rule, WebPolicy
    from shedder.queues.breakdown import Breakdown, BreakdownGroup
    from shedder.queues.claims import RunningJob
    from shedder.queues.controls import Divert, Drain, HaltedDrain, Pause, StartsLimit
    from shedder.queues.divert import DivertedLane, DivertReceipt
    from shedder.queues.drain import DrainingLane, DrainProgress, DrainReceipt
    from shedder.queues.failed import FailedSelection
    from shedder.queues.outcomes import LabelOutcomes, Outcomes
    from shedder.queues.pause import PausedLane, PauseReceipt, ResumedLane, ResumeReceipt
    from shedder.queues.preview import DivertPreview, LanePreview
    from shedder.queues.restore import RestoredLane, RestoreReceipt
    from shedder.queues.retry import (
        FailedGroup,
        LaneTakenBack,
        RetriedLane,
        RetryEnds,
        RetryPreview,
        RetryReceipt,
        RetryTakenBack,
    )
    from shedder.queues.samples import Pace, Sample
    from shedder.queues.shed import ShedStep
    from shedder.queues.stale import ReplayedLane, ReplayReceipt, StaleLane
    from shedder.response.mitigation import MitigationReceipt
    from shedder.response.triage import Triage, TriageCommand, TriageDone, TriageStep
    from shedder.selection import Selection
    from shedder.settings.flags import SKIP, FlagReceipt, FlagState
    from shedder.settings.limits import LimitAnswer, LimitReceipt, LimitState
    from shedder.settings.setting import Setting
    from shedder.status.findings import Finding
    from shedder.status.overdue import Overdue
    from shedder.status.readings import LaneStatus, Status
    from shedder.units import Rate

__version__ = "0.1.0"

__all__ = [
    "SKIP",
    "Action",
    "ActionType",
    "AppliedPolicy",
    "AuditReport",
    "Breakdown",
    "BreakdownGroup",
    "Cause",
    "Checkup",
    "Decision",
    "Defaults",
    "Divert",
    "DivertPreview",
    "DivertReceipt",
    "DivertedLane",
    "Drain",
    "DrainProgress",
    "DrainReceipt",
    "DrainingLane",
    "Effect",
    "Event",
    "ExplainedJob",
    "FailedGroup",
    "FailedSelection",
    "Finding",
    "FlagReceipt",
    "FlagState",
    "HaltedDrain",
    "Incident",
    "IncidentPolicy",
    "IncidentReceipt",
    "LabelOutcomes",
    "Lane",
    "LanePreview",
    "LaneStatus",
    "LaneTakenBack",
    "Late",
    "LimitAnswer",
    "LimitExceeded",
    "LimitReceipt",
    "LimitState",
    "Mitigation",
    "MitigationReceipt",
    "Note",
    "Outcomes",
    "Overdue",
    "Pace",
    "Pause",
    "PauseReceipt",
    "PausedLane",
    "Policy",
    "PolicyReceipt",
    "QueueLeft",
    "Rate",
    "Reading",
    "Repair",
    "ReplayReceipt",
    "ReplayedLane",
    "RestoreReceipt",
    "RestoredLane",
    "ResumeReceipt",
    "ResumedLane",
    "RetriedLane",
    "RetryEnds",
    "RetryPreview",
    "RetryReceipt",
    "RetryTakenBack",
    "Role",
    "RoleHeld",
    "RolePast",
    "Rule",
    "RunningJob",
    "Sample",
    "Selection",
    "Setting",
    "SeveritySince",
    "ShedStep",
    "Shedder",
    "StaleLane",
    "StartsLimit",
    "Status",
    "Triage",
    "TriageCommand",
    "TriageDone",
    "TriageStep",
    "UninstallReceipt",
    "Update",
    "WebPolicy",
    "WorkerSeen",
    "Yardstick",
    "__version__",
]  # fmt: skip

_HOMES = {
    "shedder.api.shedder": "Shedder",
    "shedder.engine.workers": "WorkerSeen",
    "shedder.errors": "LimitExceeded",
    "shedder.events": "Cause Event",
    "shedder.health.audit": "AuditReport",
    "shedder.health.doctor": "Checkup",
    "shedder.health.repair": "Repair",
    "shedder.health.uninstall": "QueueLeft UninstallReceipt",
    "shedder.incident.records": (
        "Action ActionType Effect Incident IncidentReceipt Note Reading Role RoleHeld "
        "RolePast SeveritySince Update Yardstick"
    ),
    "shedder.lanes": "Lane",
    "shedder.policy.applied": "AppliedPolicy PolicyReceipt",
    "shedder.policy.explain": "Decision ExplainedJob",
    "shedder.policy.model": "Defaults IncidentPolicy Mitigation Policy Rule WebPolicy",
    "shedder.policy.lateness": "Late",
    "shedder.queues.breakdown": "Breakdown BreakdownGroup",
    "shedder.queues.claims": "RunningJob",
    "shedder.queues.controls": "Divert Drain HaltedDrain Pause StartsLimit",
    "shedder.queues.divert": "DivertedLane DivertReceipt",
    "shedder.queues.drain": "DrainingLane DrainProgress DrainReceipt",
    "shedder.queues.failed": "FailedSelection",
    "shedder.queues.pause": "PausedLane PauseReceipt ResumedLane ResumeReceipt",
    "shedder.queues.preview": "DivertPreview LanePreview",
    "shedder.queues.restore": "RestoredLane RestoreReceipt",
    "shedder.queues.retry": "FailedGroup LaneTakenBack RetriedLane RetryEnds RetryPreview RetryReceipt RetryTakenBack",
    "shedder.queues.samples": "Pace Sample",
    "shedder.queues.shed": "ShedStep",
    "shedder.queues.stale": "ReplayedLane ReplayReceipt StaleLane",
    "shedder.response.mitigation": "MitigationReceipt",
    "shedder.response.triage": "Triage TriageCommand TriageDone TriageStep",
    "shedder.selection": "Selection",
    "shedder.settings.flags": "SKIP FlagReceipt FlagState",
    "shedder.settings.limits": "LimitAnswer LimitReceipt LimitState",
    "shedder.settings.setting": "Setting",
    "shedder.status.findings": "Finding",
    "shedder.queues.outcomes": "LabelOutcomes Outcomes",
    "shedder.status.overdue": "Overdue",
    "shedder.status.readings": "LaneStatus Status",
    "shedder.units": "Rate",
}


def __getattr__(name: str) -> Any:
    # `import redis` and `import rq` take half a second, which `shedder --help` must not
    for home, names in _HOMES.items():
        if name in names.split():
            from importlib import import_module

            return getattr(import_module(home), name)
    raise AttributeError(f"module 'shedder' has no attribute {name!r}")
