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
    from shedder.health.uninstall import ClaimsReturned, QueueLeft, UninstallReceipt
    from shedder.incident.records import Action, Effect, Incident, IncidentReceipt, Note, Update
    from shedder.policy.applied import AppliedPolicy, PolicyReceipt
    from shedder.policy.explain import Decision, ExplainedJob
    from shedder.policy.model import Mitigation, Policy, Rule
    from shedder.policy.workload import Late
    from shedder.queues.claims import RunningJob
    from shedder.queues.controls import Divert, Drain, Pause, StartsLimit
    from shedder.queues.divert import DivertedLane, DivertReceipt
    from shedder.queues.drain import DrainingLane, DrainProgress, DrainReceipt
    from shedder.queues.pause import PausedLane, PauseReceipt, ResumedLane, ResumeReceipt
    from shedder.queues.preview import DivertPreview, LanePreview
    from shedder.queues.restore import RestoredLane, RestoreReceipt
    from shedder.queues.samples import Pace, Sample
    from shedder.queues.shed import ShedStep
    from shedder.queues.stale import ReplayedLane, ReplayReceipt, StaleLane
    from shedder.response.mitigation import MitigationReceipt
    from shedder.response.triage import Triage, TriageCommand, TriageDone, TriageStep
    from shedder.selection import Selection
    from shedder.settings.flags import SKIP, FlagReceipt, FlagState
    from shedder.settings.limits import LimitAnswer, LimitReceipt, LimitState
    from shedder.status.findings import Finding
    from shedder.status.readings import LaneStatus, Status
    from shedder.units import Rate

__version__ = "0.1.0"

__all__ = [
    "SKIP",
    "Action",
    "AppliedPolicy",
    "AuditReport",
    "Cause",
    "Checkup",
    "ClaimsReturned",
    "Decision",
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
    "Finding",
    "FlagReceipt",
    "FlagState",
    "Incident",
    "IncidentReceipt",
    "LanePreview",
    "LaneStatus",
    "Late",
    "LimitAnswer",
    "LimitExceeded",
    "LimitReceipt",
    "LimitState",
    "Mitigation",
    "MitigationReceipt",
    "Note",
    "Pace",
    "Pause",
    "PauseReceipt",
    "PausedLane",
    "Policy",
    "PolicyReceipt",
    "QueueLeft",
    "Rate",
    "Repair",
    "ReplayReceipt",
    "ReplayedLane",
    "RestoreReceipt",
    "RestoredLane",
    "ResumeReceipt",
    "ResumedLane",
    "Rule",
    "RunningJob",
    "Sample",
    "Selection",
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
    "WorkerSeen",
    "__version__",
]

_HOMES = {
    "shedder.api.shedder": ("Shedder",),
    "shedder.engine.workers": ("WorkerSeen",),
    "shedder.errors": ("LimitExceeded",),
    "shedder.events": (
        "Cause",
        "Event",
    ),
    "shedder.health.audit": ("AuditReport",),
    "shedder.health.doctor": ("Checkup",),
    "shedder.health.repair": ("Repair",),
    "shedder.health.uninstall": (
        "ClaimsReturned",
        "QueueLeft",
        "UninstallReceipt",
    ),
    "shedder.incident.records": (
        "Action",
        "Effect",
        "Incident",
        "IncidentReceipt",
        "Note",
        "Update",
    ),
    "shedder.policy.applied": (
        "AppliedPolicy",
        "PolicyReceipt",
    ),
    "shedder.policy.explain": (
        "Decision",
        "ExplainedJob",
    ),
    "shedder.policy.model": (
        "Mitigation",
        "Policy",
        "Rule",
    ),
    "shedder.policy.workload": ("Late",),
    "shedder.queues.claims": ("RunningJob",),
    "shedder.queues.controls": (
        "Divert",
        "Drain",
        "Pause",
        "StartsLimit",
    ),
    "shedder.queues.divert": (
        "DivertReceipt",
        "DivertedLane",
    ),
    "shedder.queues.drain": (
        "DrainProgress",
        "DrainReceipt",
        "DrainingLane",
    ),
    "shedder.queues.pause": (
        "PauseReceipt",
        "PausedLane",
        "ResumeReceipt",
        "ResumedLane",
    ),
    "shedder.queues.preview": (
        "DivertPreview",
        "LanePreview",
    ),
    "shedder.queues.restore": (
        "RestoreReceipt",
        "RestoredLane",
    ),
    "shedder.queues.samples": ("Pace", "Sample"),
    "shedder.queues.shed": ("ShedStep",),
    "shedder.queues.stale": (
        "ReplayReceipt",
        "ReplayedLane",
        "StaleLane",
    ),
    "shedder.response.mitigation": ("MitigationReceipt",),
    "shedder.response.triage": (
        "Triage",
        "TriageCommand",
        "TriageDone",
        "TriageStep",
    ),
    "shedder.selection": ("Selection",),
    "shedder.settings.flags": (
        "FlagReceipt",
        "FlagState",
        "SKIP",
    ),
    "shedder.settings.limits": (
        "LimitAnswer",
        "LimitReceipt",
        "LimitState",
    ),
    "shedder.status.findings": ("Finding",),
    "shedder.status.readings": (
        "LaneStatus",
        "Status",
    ),
    "shedder.units": ("Rate",),
}


def __getattr__(name: str) -> Any:
    # `import redis` and `import rq` take half a second, which `shedder --help` must not
    for home, names in _HOMES.items():
        if name in names:
            from importlib import import_module

            return getattr(import_module(home), name)
    raise AttributeError(f"module 'shedder' has no attribute {name!r}")
