"""Acts on the record of an incident: rehearsed for the preview by the same code that carries them out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from shedder.errors import ConditionNotMet, InvalidInput
from shedder.incident.incidents import Incidents
from shedder.incident.records import Incident, IncidentReceipt, Role
from shedder.incident.roles import role_text
from shedder.incident.store import Decide, EventDraft, changes_between, incident_record
from shedder.units import parse_future
from shedder.updates import channels, posting
from shedder.web.acts import Act, Asked, Entry, Field, Planned, Result, some_of, utc_text
from shedder.wording import counted

if TYPE_CHECKING:
    from shedder.api.shedder import Shedder


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """A change of a record that was decided and not written.

    Attributes:
        event: Its event.
        before: The record before; None of a new one.
        after: The record after.
    """

    event: EventDraft
    before: Incident | None
    after: Incident


class Rehearsal(Incidents):
    """Decides as `Incidents` does, and writes nothing.

    Attributes:
        draft: What was decided last; None where nothing would change.
    """

    def __init__(self, shedder: Shedder) -> None:
        def people() -> tuple[str, ...]:
            return shedder.policies.applied().policy.incident.people

        super().__init__(shedder.store, shedder.incidents.cause, shedder.queues, people)
        self.draft: Rehearsed | None = None

    def change(
        self, decide: Decide, *, verb: str, reason: str, incident: str | None = None, by: str | None = None,
        undoes: str = "", is_alone: bool = False, **details: Any,
    ) -> IncidentReceipt:  # fmt: skip
        """What the change would make of the incident."""
        before, now = self.read(incident or self.current_id()), self.now()
        after = decide(before, now)
        if after != before:
            event = EventDraft(verb, self.cause(reason, by), undoes, is_alone, details)
            self.draft = Rehearsed(event, before, after)
        if is_alone:
            self._check_alone()
        return IncidentReceipt("", now, after)

    def create(self, draft: EventDraft, incident: Incident) -> IncidentReceipt:
        """What would be opened."""
        if draft.is_alone:
            self._check_alone()
        self.draft = Rehearsed(draft, None, incident)
        return IncidentReceipt("", self.now(), incident)

    def _check_alone(self) -> None:
        other = self.current()
        if other is not None:
            raise ConditionNotMet(f"the incident {other.id} is open", try_instead="to open a second one, tick the box")

    def _sampled(self, receipt: IncidentReceipt) -> IncidentReceipt:
        return receipt


def entry_of(rehearsal: Rehearsal, by: str) -> tuple[Entry, dict[str, Any]]:
    """What the journal gets of what was rehearsed, and what stands."""
    draft = rehearsal.draft
    open_ones = [f"{each.id} {each.revision}" for each in rehearsal.open_ones()]
    if draft is None:
        return Entry("note"), {"incidents": open_ones}
    before = draft.before
    state = {"incidents": open_ones, "record": [before.id, before.revision] if before else []}
    why, role = draft.event.cause.why, draft.after.role_of(by)
    return Entry(draft.event.verb, why=why, role=role, is_undo=bool(draft.event.undoes)), state


def rehearsed_result(receipt: IncidentReceipt, said: str) -> Result:
    """What was done to the record."""
    if not receipt.event:
        return Result((said, "It was so before; nothing was changed."), receipt, is_done=False)
    return Result((said,), receipt, receipt.event)


Change = Callable[[Incidents, Asked, str], IncidentReceipt]
"""Changes the record through the incidents that it is given, for a reason."""


def _planner(
    verb: str, change: Change, said: Callable[[Incident], str], *, words: tuple[str, ...] = (),
    options: Mapping[str, str] | None = None, switches: Mapping[str, str] | None = None,
) -> Callable[[Asked], Planned]:  # fmt: skip
    """Plans an act on the record: `words` are the fields that the command line has as words."""

    def plan(asked: Asked) -> Planned:
        rehearsal = Rehearsal(asked.shedder)
        change(rehearsal, asked, "")
        entry, state = entry_of(rehearsal, asked.by)

        def carry_out(why: str) -> Result:
            receipt = change(asked.shedder.incidents, asked, why)
            return rehearsed_result(receipt, said(receipt.incident))

        return Planned(
            f"incident {verb}", (entry,) if rehearsal.draft else (), state, lambda: _would_change(rehearsal),
            carry_out, words=tuple(asked.text(name) for name in words if asked.text(name)),
            options=(*asked.options(**(options or {})), *asked.switches(**(switches or {}))),
        )  # fmt: skip

    return plan


def _would_change(rehearsal: Rehearsal) -> list[str]:
    draft = rehearsal.draft
    if draft is None:
        return ["It is so already; nothing would be changed."]
    record = incident_record(draft.before) if draft.before else {}
    before, after = changes_between(record, incident_record(draft.after))
    names = [name for name in {**before, **after} if name != "revision"]
    which = f"incident {draft.after.id}" if draft.before else "a new incident"
    return [(f"It changes {some_of([name.removesuffix('_at').replace('_', ' ') for name in names])} of {which}, "
            f"{draft.after.title}, severity {draft.after.severity}.")]  # fmt: skip


def _open(incidents: Incidents, asked: Asked, why: str) -> IncidentReceipt:
    return incidents.open(
        asked.text("title"), severity=int(asked.text("severity")), commander=asked.text("commander"),
        times=asked.past("began", "detected"), also=asked.is_on("also"), reason=why, by=asked.by,
    )  # fmt: skip


def _note(incidents: Incidents, asked: Asked, _why: str) -> IncidentReceipt:
    return incidents.note(asked.text("text"), task=asked.text("task"), by=asked.by)


def _mitigated(incidents: Incidents, asked: Asked, why: str) -> IncidentReceipt:
    return incidents.mitigated(at=asked.past("at").get("at"), reason=why or "customers are helped", by=asked.by)


def _resolve(incidents: Incidents, asked: Asked, why: str) -> IncidentReceipt:
    return incidents.resolve(at=asked.past("at").get("at"), reason=why or "it is over", by=asked.by)


def _reopen(incidents: Incidents, asked: Asked, why: str) -> IncidentReceipt:
    return incidents.reopen(also=asked.is_on("also"), reason=why or "it is not over", by=asked.by)


def _close(incidents: Incidents, asked: Asked, why: str) -> IncidentReceipt:
    return incidents.close(reason=why or "the review is done", by=asked.by)


_TIMES = ("began", "detected", "opened", "mitigated", "resolved")


def _correct(incidents: Incidents, asked: Asked, why: str) -> IncidentReceipt:
    near: datetime | None = None
    if any(map(asked.text, _TIMES)):
        near = incidents.read(incidents.latest_id()).opened_at
    return incidents.correct(
        title=asked.text("title") or None, severity=asked.number("severity"), times=asked.past(*_TIMES, near=near),
        reason=why or "correction", by=asked.by,
    )  # fmt: skip


def _take(incidents: Incidents, asked: Asked, why: str) -> IncidentReceipt:
    return incidents.roles.take(
        asked.text("role"), task=asked.text("task"), also=asked.is_on("also"), instead=asked.is_on("instead"),
        reason=why, by=asked.by,
    )  # fmt: skip


def _assign(incidents: Incidents, asked: Asked, why: str) -> IncidentReceipt:
    return incidents.roles.assign(
        asked.text("role"), asked.text("person"), task=asked.text("task"), also=asked.is_on("also"),
        instead=asked.is_on("instead"), reason=why, by=asked.by,
    )  # fmt: skip


def _hand_over(incidents: Incidents, asked: Asked, why: str) -> IncidentReceipt:
    return incidents.roles.hand_over(
        asked.text("role"), asked.text("person"), task=asked.text("task"), reason=why, by=asked.by
    )


def _accept(incidents: Incidents, asked: Asked, why: str) -> IncidentReceipt:
    return incidents.roles.accept(
        asked.text("role") or None, task=asked.text("task"), also=asked.is_on("also"), reason=why, by=asked.by
    )


def _leave(incidents: Incidents, asked: Asked, why: str) -> IncidentReceipt:
    return incidents.roles.leave(asked.text("role"), task=asked.text("task"), reason=why, by=asked.by)


_PARTS = ("well", "badly", "luck", "factors")


def _review(incidents: Incidents, asked: Asked, _why: str) -> IncidentReceipt:
    parts = {name: asked.text(name) for name in _PARTS if asked.text(name)}
    if not parts:
        raise InvalidInput(name="review", value="", accepted="", says="write at least one part of the review")
    return incidents.review(parts, by=asked.by)


def _action_add(incidents: Incidents, asked: Asked, _why: str) -> IncidentReceipt:
    due = asked.text("due")
    due_at = parse_future(due, now=incidents.now(), name="due") if due else None
    return incidents.actions.add(
        asked.text("title"), type=asked.text("type"), priority=asked.number("priority"), owner=asked.text("owner"),
        due_at=due_at, by=asked.by,
    )  # fmt: skip


def _action_done(incidents: Incidents, asked: Asked, _why: str) -> IncidentReceipt:
    return incidents.actions.done(asked.number("number"), by=asked.by)


def _update(asked: Asked) -> Planned:
    shedder = asked.shedder
    found = shedder.incidents.read()
    audience = asked.text("audience") or "stakeholders"
    sending = channels.Channels(channels.channel_urls(asked.policy.incident.channels))
    draft = posting.draft_update(shedder, asked.policy, found, audience=audience, now=shedder.incidents.now())
    own = " ".join(asked.text("text").split())
    text = posting.joined(None, own or draft.text)

    def look() -> list[str]:
        to = counted(len(sending.names), "channel")
        where = f"It is sent to {to} of the policy." if sending.names else "It is sent nowhere else."
        return [
            f"This is posted for {audience}: {text}",
            where,
            f"The next one is due at {utc_text(draft.next_update)}.",
        ]

    def carry_out(_why: str) -> Result:
        receipt = posting.post_update(shedder, found.id, draft, text=text, by=asked.by)
        sent_to, failed = channels.send_update(shedder.store, asked.policy.incident, sending, receipt, who=shedder.by)
        where = f"sent to {counted(len(sent_to), 'place')}" if sent_to else "sent nowhere"
        said = [f"Update {receipt.incident.updates[-1].number} of {found.id} is recorded, {where}."]
        said += [f"The channel {each} did not take it; `shedder incident watch` tries again." for each in failed]
        return Result(tuple(said), receipt, receipt.event)

    role = found.role_of(asked.by)
    return Planned(
        "incident update", (Entry("incident update", why=text, role=role),),
        {"record": [found.id, found.revision]}, look, carry_out,
        options=("--audience", audience, *(["--text", own] if own and own != draft.text else [])),
        extra={"text": text},
    )  # fmt: skip


def _newest_role(incident: Incident) -> str:
    newest = max(incident.roles, key=lambda held: held.since)
    return f"{newest.person} is {role_text(newest.role, newest.task)} now."


_ROLES = tuple((each.value, each.value) for each in Role)
_ROLE = Field("role", "Role", "choice", choices=_ROLES, is_needed=True)
_TASK = Field("task", "Task", hint="of an investigator, such as database logs")
_PERSON = Field("person", "Person", hint="such as ana@desk", is_needed=True)
_ALSO_ROLE = Field("also", "Keep the other role too", "check")
_INSTEAD = Field("instead", "Even if somebody else has it", "check")
_ALSO = Field("also", "Even if another one is open", "check")
_AT = Field("at", "When", hint="such as 02:40 (UTC) or 5m; now if empty")
_SEVERITY = Field("severity", "Severity", "choice", "1 is the worst", tuple((each, each) for each in "12345"), True)


def _incident_act(
    name: str, title: str, text: str, plan: Callable[[Asked], Planned], *fields: Field, reason: str | None = ""
) -> Act:
    return Act(name, title, text, plan, fields, reason=reason or "", has_reason=reason is not None, is_of_incident=True)


INCIDENT_ACTS = (
    _incident_act(
        "incident-open", "Open an incident", "From now on every change of a queue belongs to it.",
        _planner("open", _open, lambda it: f"Incident {it.id} is open.", words=("title",), options={
            "severity": "--severity", "commander": "--commander", "began": "--began", "detected": "--detected",
        }, switches={"also": "--also"}),
        Field("title", "What happens", is_needed=True), _SEVERITY, Field("commander", "Commander", hint="ana@desk"),
        Field("began", "Began", hint="such as 38m or 02:11 (UTC)"), Field("detected", "Detected", hint="now if empty"),
        _ALSO,
    ),
    _incident_act(
        "note", "Note a finding", "Notes are kept apart from decisions.",
        _planner("note", _note, lambda it: f"Note {len(it.notes)} is kept.", words=("text",),
                 options={"task": "--task"}),
        Field("text", "What was found", "line", is_needed=True), _TASK, reason=None,
    ),
    _incident_act(
        "incident-update", "Post an update", "It is recorded, and sent to the channels of the policy.", _update,
        Field("audience", "For", "choice", choices=(("stakeholders", "stakeholders"), ("team", "the team"))),
        Field("text", "Text", "area", "the draft if empty"), reason=None,
    ),
    _incident_act(
        "incident-take", "Take a role", "You have it from now on.",
        _planner("take", _take, _newest_role, words=("role",), options={"task": "--task"},
                 switches={"also": "--also", "instead": "--instead"}),
        _ROLE, _TASK, _ALSO_ROLE, _INSTEAD,
    ),
    _incident_act(
        "incident-assign", "Give a role", "Somebody else has it from now on.",
        _planner("assign", _assign, _newest_role, words=("role", "person"),
                 options={"task": "--task"}, switches={"also": "--also", "instead": "--instead"}),
        _ROLE, _PERSON, _TASK, _ALSO_ROLE, _INSTEAD,
    ),
    _incident_act(
        "incident-hand-over", "Hand over a role", "It is yours until they accept it.",
        _planner("hand-over", _hand_over, lambda _it: "It is theirs as soon as they accept.",
                 words=("role", "person"), options={"task": "--task"}),
        _ROLE, _PERSON, _TASK,
    ),
    _incident_act(
        "incident-accept", "Accept a role", "What was offered to you is yours.",
        _planner("accept", _accept, _newest_role, words=("role",), options={"task": "--task"},
                 switches={"also": "--also"}),
        Field("role", "Role", "choice", "the one that was offered if empty", _ROLES), _TASK, _ALSO_ROLE,
    ),
    _incident_act(
        "incident-leave", "Leave a role", "Nobody has it afterwards.",
        _planner("leave", _leave, lambda _it: "Nobody has the role now.", words=("role",), options={"task": "--task"}),
        _ROLE, _TASK,
    ),
    _incident_act(
        "incident-mitigated", "Customers are helped", "The incident stays open.",
        _planner("mitigated", _mitigated, lambda it: f"Incident {it.id} is mitigated.", options={"at": "--at"}),
        _AT, reason="customers are helped",
    ),
    _incident_act(
        "incident-resolve", "Resolve the incident", "Its review is due within 48 hours.",
        _planner("resolve", _resolve, lambda it: f"Incident {it.id} is resolved.", options={"at": "--at"}),
        _AT, reason="it is over",
    ),
    _incident_act(
        "incident-reopen", "Reopen the incident", "It was not over.",
        _planner("reopen", _reopen, lambda it: f"Incident {it.id} is open again.", switches={"also": "--also"}),
        _ALSO, reason="it is not over",
    ),
    _incident_act(
        "incident-correct", "Correct the record", "The event keeps the earlier values.",
        _planner("correct", _correct, lambda it: f"Incident {it.id} is corrected.", options={
            "title": "--title", "severity": "--severity", **{name: f"--{name}" for name in _TIMES},
        }),
        Field("title", "Title"), replace(_SEVERITY, is_needed=False),
        *(Field(name, name.capitalize(), hint="such as 02:11 (UTC)") for name in _TIMES), reason="correction",
    ),
    _incident_act(
        "incident-review", "Write the review", "A part that is written again replaces what was there.",
        _planner("review", _review, lambda it: f"The review of {it.id} is written on.",
                 options={name: f"--{name}" for name in _PARTS}),
        Field("well", "What went well", "area"), Field("badly", "What went badly", "area"),
        Field("luck", "Where you were lucky", "area"), Field("factors", "What contributed", "area"), reason=None,
    ),
    _incident_act(
        "incident-action-add", "Add an action", "What is to be done so that the next time is better.",
        _planner("action add", _action_add, lambda it: f"Action {it.actions[-1].number} is recorded.",
                 words=("title",), options={
                     "type": "--type", "priority": "--priority", "owner": "--owner", "due": "--due"}),
        Field("title", "What is to be done", is_needed=True),
        Field("type", "Type", "choice", choices=tuple((each, each) for each in
              ("prevent", "detect", "mitigate", "process")), is_needed=True),
        Field("priority", "Priority", hint="1 (first) to 5"), Field("owner", "Owner", hint="a team"),
        Field("due", "Due", hint="such as 2w or 2026-12-09"), reason=None,
    ),
    _incident_act(
        "incident-action-done", "An action is done", "Also after the incident is closed.",
        _planner("action done", _action_done, lambda _it: "The action is done.", words=("number",)),
        Field("number", "Number of the action", is_needed=True), reason=None,
    ),
    _incident_act(
        "incident-close", "Close the incident", "Its record cannot be changed any more.",
        _planner("close", _close, lambda it: f"Incident {it.id} is closed."), reason="the review is done",
    ),
)  # fmt: skip
