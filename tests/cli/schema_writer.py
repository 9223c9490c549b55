"""What do the schemas of `--json` look like? They follow from the records.

`python -m tests.cli.schema_writer` writes them; a test says when that was forgotten. A field that
goes or changes its meaning is a new number behind the slash.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from importlib.resources import files
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from shedder import (
    applied,
    checks,
    checkup,
    errors,
    leaving,
    planning,
    policy_explained,
    policy_form,
    records,
    setting_records,
    stale,
    triage,
)
from shedder.cli.asjson import plain_properties
from shedder.heartbeat import outlook
from shedder.incident import readings
from shedder.incident import records as incident_records
from shedder.postmortem import blame, writing
from shedder.rates import Rate
from shedder.rq import shedding
from shedder.selection import Selection

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
COUNT: Schema = {"type": "integer", "minimum": 0}
SECONDS: Schema = {"type": "number", "minimum": 0}
FLAG: Schema = {"type": "boolean"}

_PLAIN: dict[Any, Schema] = {
    str: TEXT,
    bool: FLAG,
    int: {"type": "integer"},
    float: {"type": "number"},
    datetime: {"type": "string", "format": "date-time"},
    timedelta: {"type": "number"},
    Rate: {"type": "string", "examples": ["200/second"]},
    Any: {},
    incident_records.Role: {"enum": [each.value for each in incident_records.Role]},
    incident_records.ActionType: {"enum": [each.value for each in incident_records.ActionType]},
}

_SELECTION: Schema = {
    "type": "object",
    "description": "Which jobs are taken; with no criterion, every job.",
    "properties": {
        "describes": {**TEXT, "description": "All criteria, for a person."},
        "functions": {"type": "array", "items": TEXT, "description": "One of these globs matches."},
        "meta": {
            "type": "object",
            "additionalProperties": TEXT,
            "description": "All these fields of the job's meta match.",
        },
        "older_than_seconds": {
            "type": ["number", "null"],
            "description": "The job was enqueued so long ago.",
        },
    },
}


def all_schemas() -> dict[str, Schema]:
    """Each schema, by the name of its file."""
    running = _nullable(_array(_of(records.RunningJob)))
    progress = _nullable(_array(_of(records.DrainProgress)))
    receipts = (
        records.PauseReceipt,
        records.ResumeReceipt,
        records.RestoreReceipt,
        records.DivertReceipt,
        records.DrainReceipt,
        setting_records.FlagReceipt,
        setting_records.LimitReceipt,
        incident_records.IncidentReceipt,
        applied.PolicyReceipt,
    )
    return {
        "pause": _of_record("pause/1", records.PauseReceipt, still_running={
            **running, "description": "Jobs that ran at the end of --wait; null without it."}),
        "resume": _of_record("resume/1", records.ResumeReceipt),
        "divert": _of_record("divert/1", records.DivertReceipt),
        "divert-preview": _of_record("divert-preview/1", records.DivertPreview),
        "drain": _of_record("drain/1", records.DrainReceipt, progress={
            **progress, "description": "How far it was at the end of --wait; null without it."}),
        "restore": _of_record("restore/1", records.RestoreReceipt),
        "undo": _finished("undo/1", "What was done to undo an event.", {
            "kind": {"enum": ["pause", "resume", "restore", "limit starts", "drain", "flag",
                              "limit", "incident", "policy"],
                     "description": "Which kind of receipt it is."},
            "receipt": {"oneOf": [_of(each) for each in receipts]}}),
        "flag": _of_record("flag/1", setting_records.FlagReceipt),
        "flag-list": _finished("flag-list/1", "All flags, the degraded ones first.", {
            "flags": _array(_of(setting_records.FlagState))}),
        "limit": _of_record("limit/1", setting_records.LimitReceipt),
        "limit-list": _finished("limit-list/1", "All limits, those that were set first.", {
            "limits": _array(_of(setting_records.LimitState))}),
        "limit-test": _of_record("limit-test/1", setting_records.LimitAnswer),
        "incident": _of_record("incident/1", incident_records.IncidentReceipt),
        "incident-record": _of_record("incident-record/1", incident_records.Incident),
        "incident-list": _finished("incident-list/1", "Incidents, the latest first.", {
            "incidents": _array(_of(incident_records.Incident))}),
        "incident-timeline": _finished("incident-timeline/1", "What belongs to an incident.", {
            "events": _array(_of(records.Event)),
            "effects": _array(_of(readings.Effect))}),
        "incident-actions": _finished("incident-actions/1", "Actions of an incident.", {
            "actions": _array(_of(incident_records.Action))}),
        "incident-export": _incident_export(),
        "triage": _of_record("triage/1", triage.Triage),
        "mitigation": _of_record("mitigation/1", records.MitigationReceipt),
        "mitigation-preview": _finished("mitigation-preview/1", "What would be run.", {
            "name": TEXT, "command": _array(TEXT), "timeout": SECONDS}),
        "mitigations": _finished("mitigations/1", "What the policy declares.", {
            "mitigations": _array(_open(name=TEXT, kind=TEXT, command=_array(TEXT),
                                        values=_array(TEXT), timeout=SECONDS))}),
        "incident-update": _finished("incident-update/1", "An update, posted or as it would be.", {
            "incident": TEXT, "number": COUNT, "text": TEXT,
            "audience": {"enum": ["stakeholders", "team"]},
            "next_update": dict(_PLAIN[datetime]), "is_posted": FLAG,
            "sent_to": {**_array(TEXT), "description": "URLs without what is secret in them."},
            "failed": {**_array(TEXT), "description": "Channels that did not take it."}}),
        "incident-watch": _finished("incident-watch/1", "What one round of the watcher did.", {
            "is_leading": FLAG, "failed": COUNT, "troubles": _array(TEXT),
            "posted": {**_array(TEXT), "description": "Events of updates posted by itself."}}),
        "incident-postmortem": _of_record("incident-postmortem/1", writing.WrittenFiles,
                                          incident=TEXT),
        "incident-check": _finished("incident-check/1", "Sentences that blame.", {
            "warnings": _array(_of(blame.Warned))}),
        "plan": _of_record("plan/1", outlook.Outlook, forecasts=_array(_of(planning.Forecast))),
        "status": _of_record("status/1", records.Status),
        "audit": _of_record("audit/1", records.AuditReport),
        "doctor": _of_record("doctor/1", checkup.Checkup, repairs={
            **_array(_of(checkup.Repair)), "description": "What --fix has mended."}),
        "events": _finished("events/1", "Lines of the journal, oldest first.", {
            "events": _array(_of(records.Event))}),
        "event": _of_record("event/1", records.Event),
        "uninstall": _of_record("uninstall/1", leaving.UninstallReceipt),
        "completion": _finished("completion/1", "What teaches a shell to complete.", {
            "shell": {"enum": ["bash", "zsh", "fish"]}, "script": TEXT}),
        "error": _finished("error/1", "Why something was not done.", {
            "error": {**TEXT, "description": "One line: what is wrong and what to do next."},
            "exit_code": {"enum": [1, 2, 3, 4, 130],
                          "description": "1 failed, 2 usage, 3 nothing matched or condition not "
                          "met, 4 Redis cannot be reached, 130 Ctrl-C."}}),
        "demo": _demo(),
        "shed": _finished("shed/1", "What was shed by policy, first to last.", {
            "steps": _array(_of(shedding.ShedStep))}),
        "shed-preview": _finished("shed-preview/1", "What would be shed by policy.", {
            "steps": _array(_of(shedding.ShedStep))}),
        "check": _of_record("check/1", checks.CheckResult),
        "stale-list": _finished("stale-list/1", "Jobs that were set aside, by lane.", {
            "lanes": _array(_of(stale.StaleLane))}),
        "stale-replay": _of_record("stale-replay/1", stale.ReplayReceipt),
        "policy": policy_form.json_schema(),
        "policy-apply": _of_record("policy-apply/1", applied.PolicyReceipt),
        "policy-check": _finished("policy-check/1", "All that is wrong with a policy file.", {
            "file": TEXT, "problems": _array(_of(errors.PolicyProblem))}),
        "policy-show": _finished("policy-show/1", "The policy in force.", {
            "number": COUNT, "by": TEXT, "why": TEXT, "since": _nullable(_PLAIN[datetime]),
            "policy": {"type": "object", "description": "As shedder.policy/1 has it; of the "
                       "channels' URLs only the scheme."}}),
        "policy-init": _finished("policy-init/1", "A first policy file.", {
            "file": TEXT, "text": {**TEXT, "description": "What was written."}}),
        "policy-diff": _finished("policy-diff/1", "What applying a policy would change.", {
            "number": {**COUNT, "description": "The policy in force."},
            "changes": {**_array(TEXT), "description": "- what goes, + what comes."}}),
        "policy-explain": _of_record("policy-explain/1", policy_explained.ExplainedJob),
    }  # fmt: skip


def written(schema: Schema) -> str:
    """A schema as its file has it."""
    return json.dumps(schema, indent=2) + "\n"


def _of_record(name: str, kind: type, **more: Schema) -> Schema:
    body = _record(kind)
    return _finished(name, body["description"], {**body["properties"], **more})


def _finished(name: str, description: str, properties: dict[str, Schema]) -> Schema:
    body = _closed(
        {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "$id": f"urn:shedder:{name.replace('/', ':')}",
            "title": f"shedder.{name}",
            "description": description,
            "type": "object",
            "properties": {"schema": {"const": f"shedder.{name}"}, **properties},
        }
    )
    definitions = _definitions(body)
    return {**body, "$defs": definitions} if definitions else body


def _record(kind: type) -> Schema:
    hints = get_type_hints(kind)
    told = _told(kind)
    properties = {
        field.name: {**_of(hints[field.name]), "description": told[field.name]}
        for field in dataclasses.fields(kind)
    }
    for name, hint in plain_properties(kind).items():
        summary = (getattr(kind, name).__doc__ or "").strip()
        properties[name] = {**_of(hint), "description": summary}
    summary = (kind.__doc__ or "").strip().split("\n\n")[0]
    return _closed({"type": "object", "description": summary, "properties": properties})


def _of(hint: Any) -> Schema:
    if hint is Selection or (dataclasses.is_dataclass(hint) and hint is not Rate):
        return {"$ref": "#/$defs/" + getattr(hint, "__name__", "")}
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return _nullable(_of(next(each for each in inner if each is not NoneType)))
    if origin is tuple:
        if inner[-1] is Ellipsis:
            return _array(_of(inner[0]))
        return {"type": "array", "prefixItems": [_of(each) for each in inner], "items": False}
    if origin is Mapping:
        return {"type": "object", "additionalProperties": _of(inner[1])}
    return dict(_PLAIN[hint])


def _told(kind: type) -> dict[str, str]:
    """What the docstring of a record says of each attribute."""
    _, _, attributes = (kind.__doc__ or "").partition("Attributes:")
    found = re.findall(r"^        (\w+): (.*(?:\n            .*)*)", attributes, re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in found}


def _closed(schema: Schema) -> Schema:
    return {**schema, "required": list(schema["properties"]), "additionalProperties": False}


def _array(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _nullable(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _definitions(schema: Schema) -> dict[str, Schema]:
    found: dict[str, Schema] = {}
    waiting = [schema]
    while waiting:
        names = re.findall(r'"#/\$defs/(\w+)"', json.dumps(waiting.pop()))
        for name in names:
            if name not in found:
                is_selection = name == Selection.__name__
                found[name] = _closed(_SELECTION) if is_selection else _record(_kind(name))
                waiting.append(found[name])
    return dict(sorted(found.items()))


def _kind(name: str) -> type:
    homes = (
        records, setting_records, incident_records, readings, applied, stale, policy_explained,
        shedding, checks, leaving, checkup, errors, triage, blame, writing, planning,
    )  # fmt: skip
    kind: type = next(getattr(home, name) for home in homes if hasattr(home, name))
    return kind


def _open(**properties: Schema) -> Schema:
    return _closed({"type": "object", "properties": properties})


def _incident_export() -> Schema:
    entry = _open(id=TEXT, head={"type": "object"}, before={"type": "object"},
                  after={"type": "object"})  # fmt: skip
    return _finished("incident-export/1", "A copy of a record and its events, as Redis has them.", {
        "incident": {"type": "object", "required": ["v", "id", "title", "severity", "opened_at"]},
        "events": _array(entry)})  # fmt: skip


def _demo() -> Schema:
    wait = _nullable(_open(seconds=SECONDS, is_over=FLAG))
    waits = _open(step=TEXT, lane=TEXT, sent=COUNT, started=COUNT, p50=wait, p99=wait, longest=wait)
    command = _open(command=TEXT, exit_code={"type": "integer"}, seconds=SECONDS, output=TEXT)
    counts = dict.fromkeys(
        ("sent", "run", "running", "claimed", "waiting", "backlog", "failed"), COUNT
    )
    ids = dict.fromkeys(("missing", "twice", "run_again", "strangers"), _array(TEXT))
    return _finished("demo/1", "What the demo measured and counted.", {
        "jobs": COUNT, "server": TEXT, "url": TEXT, "workers": COUNT, "seconds": SECONDS,
        "loading_seconds": SECONDS, "started_while_paused": COUNT, "waits": _array(waits),
        "commands": _array(command), "accounts": _open(**counts, **ids, is_complete=FLAG),
        "postmortem": {**TEXT, "description": "The folder with the post-mortem, which stays."},
        "is_good": FLAG})  # fmt: skip


def main() -> None:
    folder = Path(str(files("shedder"))) / "schemas"
    for name, schema in all_schemas().items():
        (folder / f"{name}.json").write_text(written(schema))


if __name__ == "__main__":
    main()
