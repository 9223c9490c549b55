"""Writes the schemas of `--json`, which follow from the records.

`python -m tests.cli.schema_writer` writes them; a test says when that was forgotten. A field that
goes or changes its meaning is a new number behind the slash.
"""

from __future__ import annotations

import json
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

from shedder.errors import PolicyProblem
from shedder.events import Event
from shedder.health.audit import AuditReport
from shedder.health.doctor import Checkup
from shedder.health.repair import Repair
from shedder.health.uninstall import UninstallReceipt
from shedder.incident.blame import Warned
from shedder.incident.records import Action, Effect, Incident, IncidentReceipt
from shedder.policy.applied import PolicyReceipt
from shedder.policy.document import json_schema
from shedder.policy.explain import ExplainedJob
from shedder.postmortem.writing import WrittenFiles
from shedder.queues.breakdown import Breakdown
from shedder.queues.claims import RunningJob
from shedder.queues.divert import DivertReceipt
from shedder.queues.drain import DrainProgress, DrainReceipt
from shedder.queues.pause import PauseReceipt, ResumeReceipt
from shedder.queues.preview import DivertPreview
from shedder.queues.restore import RestoreReceipt
from shedder.queues.retry import RetryEnds, RetryPreview, RetryReceipt, RetryTakenBack
from shedder.queues.shed import ShedStep
from shedder.queues.stale import ReplayReceipt, StaleLane
from shedder.response.mitigation import MitigationReceipt
from shedder.response.plan import Forecast, Outlook
from shedder.response.triage import Triage
from shedder.settings.flags import FlagReceipt, FlagState
from shedder.settings.limits import LimitAnswer, LimitReceipt, LimitState
from shedder.status.findings import CheckResult
from shedder.status.readings import Status
from tests.cli.record_schemas import (
    COUNT,
    FLAG,
    PLAIN,
    SECONDS,
    TEXT,
    Schema,
    array,
    finished,
    nullable,
    object_of,
    of,
    of_record,
)


def all_schemas() -> dict[str, Schema]:
    """Each schema, by the name of its file."""
    return {**_controls(), **_settings(), **_incidents(), **_views(), **_policies()}


def written(schema: Schema) -> str:
    """A schema as its file has it: a property stands on one line, unless it has properties itself."""
    return _laid_out(schema, "\n") + "\n"


def _laid_out(value: Any, line: str, *, is_split: bool = False) -> str:
    """`value` as JSON; `line` ends a line and indents the next as deep as `value` stands."""
    text, below = json.dumps(value), f"{line}  "
    if not is_split and '"properties": {' not in text:
        return text
    items = (
        [_laid_out(each, below) for each in value]
        if isinstance(value, list)
        else [f"{json.dumps(name)}: {_laid_out(each, below, is_split=name == 'properties')}"
              for name, each in value.items()]
    )  # fmt: skip
    return f"{text[0]}{below}{f',{below}'.join(items)}{line}{text[-1]}"


def _controls() -> dict[str, Schema]:
    running = nullable(array(of(RunningJob)))
    progress = nullable(array(of(DrainProgress)))
    receipts = (
        PauseReceipt,
        ResumeReceipt,
        RestoreReceipt,
        DivertReceipt,
        DrainReceipt,
        FlagReceipt,
        LimitReceipt,
        IncidentReceipt,
        PolicyReceipt,
        RetryTakenBack,
    )
    return {
        "pause": of_record("pause/1", PauseReceipt, still_running={
            **running, "description": "Jobs that ran at the end of --wait; null without it."}),
        "resume": of_record("resume/1", ResumeReceipt),
        "divert": of_record("divert/1", DivertReceipt),
        "divert-preview": of_record("divert-preview/1", DivertPreview),
        "drain": of_record("drain/1", DrainReceipt, progress={
            **progress, "description": "How far it was at the end of --wait; null without it."}),
        "retry-preview": of_record("retry-preview/1", RetryPreview),
        "retry": of_record("retry/1", RetryReceipt, progress={
            **progress, "description": "How far its drain was at the end of --wait or --first; null without it."},
            ends={**nullable(of(RetryEnds)), "description": "With --first, how its jobs ended; null without it."}),
        "restore": of_record("restore/1", RestoreReceipt),
        "undo": finished("undo/1", "What was done to undo an event.", {
            "kind": {"enum": ["pause", "resume", "restore", "limit starts", "drain", "flag",
                              "limit", "incident", "policy", "retry"],
                     "description": "Which kind of receipt it is."},
            "receipt": {"oneOf": [of(each) for each in receipts]}}),
    }  # fmt: skip


def _settings() -> dict[str, Schema]:
    return {
        "flag": of_record("flag/1", FlagReceipt),
        "flag-list": finished("flag-list/1", "All flags, the degraded ones first.", {
            "flags": array(of(FlagState))}),
        "limit": of_record("limit/1", LimitReceipt),
        "limit-list": finished("limit-list/1", "All limits, those that were set first.", {
            "limits": array(of(LimitState))}),
        "limit-test": of_record("limit-test/1", LimitAnswer),
    }  # fmt: skip


def _incidents() -> dict[str, Schema]:
    return {
        "incident": of_record("incident/1", IncidentReceipt),
        "incident-record": of_record("incident-record/1", Incident),
        "incident-list": finished("incident-list/1", "Incidents, the latest first.", {
            "incidents": array(of(Incident))}),
        "incident-timeline": finished("incident-timeline/1", "What belongs to an incident.", {
            "events": array(of(Event)),
            "effects": array(of(Effect))}),
        "incident-actions": finished("incident-actions/1", "Actions of an incident.", {
            "actions": array(of(Action))}),
        "incident-export": _incident_export(),
        "triage": of_record("triage/1", Triage),
        "mitigation": of_record("mitigation/1", MitigationReceipt),
        "mitigation-preview": finished("mitigation-preview/1", "What would be run.", {
            "name": TEXT, "command": array(TEXT), "timeout": SECONDS}),
        "mitigations": finished("mitigations/1", "What the policy declares.", {
            "mitigations": array(object_of(name=TEXT, kind=TEXT, command=array(TEXT),
                                        values=array(TEXT), timeout=SECONDS))}),
        "incident-update": finished("incident-update/1", "An update, posted or as it would be.", {
            "incident": TEXT, "number": COUNT, "text": TEXT,
            "audience": {"enum": ["stakeholders", "team"]},
            "next_update": dict(PLAIN[datetime]), "is_posted": FLAG,
            "sent_to": {**array(TEXT), "description": "URLs without what is secret in them."},
            "failed": {**array(TEXT), "description": "Channels that did not take it."}}),
        "incident-watch": finished("incident-watch/1", "What one round of the watcher did.", {
            "is_leading": FLAG, "failed": COUNT, "troubles": array(TEXT),
            "posted": {**array(TEXT), "description": "Events of updates posted by itself."}}),
        "incident-postmortem": of_record("incident-postmortem/1", WrittenFiles,
                                          incident=TEXT),
        "incident-check": finished("incident-check/1", "Sentences that blame.", {
            "warnings": array(of(Warned))}),
    }  # fmt: skip


def _views() -> dict[str, Schema]:
    return {
        "plan": of_record("plan/1", Outlook, forecasts=array(of(Forecast))),
        "status": of_record("status/1", Status),
        "breakdown": of_record("breakdown/1", Breakdown),
        "audit": of_record("audit/1", AuditReport),
        "doctor": of_record("doctor/1", Checkup, repairs={
            **array(of(Repair)), "description": "What --fix has mended."}),
        "events": finished("events/1", "Lines of the journal, oldest first.", {
            "events": array(of(Event))}),
        "event": of_record("event/1", Event),
        "uninstall": of_record("uninstall/1", UninstallReceipt),
        "completion": finished("completion/1", "The completion script of a shell.", {
            "shell": {"enum": ["bash", "zsh", "fish"]}, "script": TEXT}),
        "error": finished("error/1", "Why something was not done.", {
            "error": {**TEXT, "description": "One line: what is wrong and what to do next."},
            "exit_code": {"enum": [1, 2, 3, 4, 130],
                          "description": "1 failed, 2 usage, 3 the answer is no, "
                          "4 Redis cannot be reached, 130 Ctrl-C."}}),
        "demo": _demo(),
        "shed": finished("shed/1", "What was shed by policy, first to last.", {
            "steps": array(of(ShedStep))}),
        "shed-preview": finished("shed-preview/1", "What would be shed by policy.", {
            "steps": array(of(ShedStep))}),
        "check": of_record("check/1", CheckResult),
        "stale-list": finished("stale-list/1", "Jobs that were set aside, by lane.", {
            "lanes": array(of(StaleLane))}),
        "stale-replay": of_record("stale-replay/1", ReplayReceipt),
    }  # fmt: skip


def _policies() -> dict[str, Schema]:
    return {
        "policy": json_schema(),
        "policy-apply": of_record("policy-apply/1", PolicyReceipt),
        "policy-check": finished("policy-check/1", "All that is wrong with a policy file.", {
            "file": TEXT, "problems": array(of(PolicyProblem))}),
        "policy-show": finished("policy-show/1", "The policy in force.", {
            "number": COUNT, "by": TEXT, "why": TEXT, "since": nullable(PLAIN[datetime]),
            "policy": {"type": "object", "description": "As shedder.policy/1 has it; of the "
                       "channels' URLs only the scheme."}}),
        "policy-init": finished("policy-init/1", "A first policy file.", {
            "file": TEXT, "text": {**TEXT, "description": "What was written."}}),
        "policy-diff": finished("policy-diff/1", "What applying a policy would change.", {
            "number": {**COUNT, "description": "The policy in force."},
            "changes": {**array(TEXT), "description": "- what goes, + what comes."}}),
        "policy-explain": of_record("policy-explain/1", ExplainedJob),
    }  # fmt: skip


def _incident_export() -> Schema:
    entry = object_of(id=TEXT, head={"type": "object"}, before={"type": "object"},
                  after={"type": "object"})  # fmt: skip
    return finished("incident-export/1", "A copy of a record and its events, as Redis has them.", {
        "incident": {"type": "object", "required": ["v", "id", "title", "severity", "opened_at"]},
        "events": array(entry)})  # fmt: skip


def _demo() -> Schema:
    wait = nullable(object_of(seconds=SECONDS, is_over=FLAG))
    waits = object_of(step=TEXT, lane=TEXT, sent=COUNT, started=COUNT, p50=wait, p99=wait, longest=wait)
    command = object_of(command=TEXT, exit_code={"type": "integer"}, seconds=SECONDS, output=TEXT)
    places = ("run", "running", "claimed", "waiting", "backlog", "failed")
    counts = dict.fromkeys(("sent", *places, "came_back"), COUNT)
    ids = dict.fromkeys(("missing", "twice", "run_again", "strangers"), array(TEXT))
    return finished("demo/1", "What the demo measured and counted.", {
        "jobs": COUNT, "server": TEXT, "url": TEXT, "workers": COUNT, "seconds": SECONDS,
        "loading_seconds": SECONDS, "started_while_paused": COUNT, "waits": array(waits),
        "commands": array(command), "accounts": object_of(**counts, **ids, is_complete=FLAG),
        "postmortem": {**TEXT, "description": "The folder with the post-mortem, which stays."},
        "is_good": FLAG})  # fmt: skip


def main() -> None:
    folder = Path(str(files("shedder"))) / "schemas"
    for name, schema in all_schemas().items():
        (folder / f"{name}.json").write_text(written(schema))


if __name__ == "__main__":
    main()
