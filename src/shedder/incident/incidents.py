"""`Shedder.incidents`: what changes the record of an incident, reads it, and copies it out and back."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from shedder.errors import CannotUndo, ConditionNotMet, InvalidInput, NothingToUndo, RecordUnreadable, ShedderError
from shedder.events import UNREADABLE, Event, head_of, position_of
from shedder.incident import lifecycle
from shedder.incident.effects import WINDOW, changes_of, effects_of, with_yardsticks
from shedder.incident.records import Incident, IncidentReceipt
from shedder.incident.review import Actions, as_closed, with_note, with_review
from shedder.incident.roles import Roles, checked_person
from shedder.incident.store import EventDraft, IncidentStore, MakeCause, Record, incident_from_record, incident_record
from shedder.incident.timeline import events_of, people_of
from shedder.lanes import PRIORITIES, Lane
from shedder.policy.applied import applied_policy
from shedder.policy.model import Policy
from shedder.queues.maintenance import end_silent
from shedder.queues.samples import NO_SAMPLE, Sample, read_samples, sample_after
from shedder.store.arguments import checks_arguments
from shedder.store.codec import server_time
from shedder.store.store import Command, Store

logger = logging.getLogger("shedder.incident")

COPY_SCHEMA = "shedder.incident-export/1"

EVENTS_PER_STEP = 200
MOST_EVENTS = 100_000

Entry = tuple[str, str, str, str]
"""An event of a copy: its id, and its head, before and after as JSON."""

_ID = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}-[0-9]{1,6}")
_EVENT_ID = re.compile(r"[0-9]{1,15}-[0-9]{1,15}")


@checks_arguments
class Incidents(IncidentStore):
    """The incidents on one Redis.

    Where `incident` is an argument, it is an id. Without one, the incident that is open is meant;
    for what makes sense after it was resolved, the one that was opened last, if none is open.
    `by` is who acts, `reason` why; both stand in the event.

    Every method may raise what `Shedder` raises, `NothingMatched` when there is no such incident
    or none is open, and `ConditionNotMet` when it is too late for this; then nothing was changed.

    Attributes:
        roles: Who does what: take a role, give it, hand it over.
        actions: What is to be done so that the next time is better.
    """

    def __init__(
        self, store: Store, cause: MakeCause, queues: Callable[[], tuple[str, ...]] = tuple,
        people: Callable[[], tuple[str, ...]] = tuple,
    ) -> None:  # fmt: skip
        super().__init__(store, cause)
        self._queues = queues
        self._people = people
        self.roles = Roles(self, people)
        self.actions = Actions(self)

    def open(
        self, title: str, *, severity: int, commander: str = "", times: Mapping[str, datetime] | None = None,
        also: bool = False, reason: str = "", by: str | None = None,
    ) -> IncidentReceipt:  # fmt: skip
        """Open an incident; `also` when another one is open.

        `times` are those that are not now: `began`, `detected`, `opened`.

        Raises:
            ConditionNotMet: another one is open.
            InvalidInput: no title, no severity, no such person, or a time in the future.
        """
        now = server_time(self.store)
        cause = self.cause(reason or title, by)
        who = checked_person(commander, self._people()) if commander else ""
        opened = lifecycle.new_incident(
            f"{now:%Y-%m-%d}", title, severity=severity, by=cause.by, commander=who, now=now, times=times
        )
        return self._sampled(self.create(EventDraft("incident open", cause, is_alone=not also), opened))

    def mitigated(
        self, *, at: datetime | None = None,
        incident: str | None = None, reason: str = "customers are helped", by: str | None = None,
    ) -> IncidentReceipt:  # fmt: skip
        """Customers are helped, since now or `at`."""
        return self._sampled(self.change(lambda it, now: lifecycle.as_mitigated(it, now, at=at),
                             verb="incident mitigated", reason=reason, incident=incident, by=by))  # fmt: skip

    def resolve(
        self, *, at: datetime | None = None,
        incident: str | None = None, reason: str = "it is over", by: str | None = None,
    ) -> IncidentReceipt:  # fmt: skip
        """It is over, since now or `at`; a review is due in 48 hours."""
        return self._sampled(self.change(lambda it, now: lifecycle.as_resolved(it, now, at=at),
                             verb="incident resolve", reason=reason, incident=incident, by=by))  # fmt: skip

    def reopen(
        self, *, also: bool = False, incident: str | None = None, reason: str = "it is not over", by: str | None = None
    ) -> IncidentReceipt:
        """It was not over; `also` when another one is open."""
        return self.change_latest(
            lambda it, _: lifecycle.as_reopened(it), reason, incident, by, verb="incident reopen", is_alone=not also
        )

    def close(
        self, *, incident: str | None = None, reason: str = "the review is done", by: str | None = None
    ) -> IncidentReceipt:
        """The review is done.

        Raises:
            ConditionNotMet: something is missing; the error says what.
        """
        return self.change_latest(lambda it, _: as_closed(it), reason, incident, by, verb="incident close")

    def correct(
        self, *, title: str | None = None, severity: int | None = None, times: Mapping[str, datetime] | None = None,
        incident: str | None = None, reason: str = "it was written down wrongly", by: str | None = None,
    ) -> IncidentReceipt:  # fmt: skip
        """Another title or severity, or times: `began`, `detected`, `opened`, `mitigated`, ...

        Raises:
            InvalidInput: one of them cannot be.
        """
        who = self.cause(reason, by).by
        return self.change_latest(
            lambda it, now: lifecycle.as_corrected(it, now, by=who, title=title, severity=severity, times=times),
            reason, incident, by, verb="incident correct",
        )  # fmt: skip

    def note(self, text: str, *, task: str = "", incident: str | None = None, by: str | None = None) -> IncidentReceipt:
        """Write down a finding, which is no decision; `task` is that of an investigator.

        Raises:
            InvalidInput: an empty text, or a task that nobody has had.
        """
        who = self.cause(text, by).by
        return self.change_latest(
            lambda it, _: with_note(it, text, by=who, task=task), "note", incident, by, verb="note"
        )

    def review(
        self, parts: Mapping[str, str], *, incident: str | None = None, by: str | None = None
    ) -> IncidentReceipt:
        """Write parts of the review: `well`, `badly`, `luck`, `factors`.

        Raises:
            InvalidInput: there is no such part, it is empty, or a sentence blames or names a person.
        """
        read = self.read(incident or self.latest_id())
        people = people_of(read, events_of(self.store, read))
        return self.change_latest(
            lambda it, _: with_review(it, parts, people=people), ", ".join(parts), incident, by, verb="review"
        )

    def now(self) -> datetime:
        """What time it is by the server's clock, UTC."""
        return server_time(self.store)

    def timeline(self, incident: str | None = None) -> tuple[Event, ...]:
        """The events that belong to an incident, oldest first."""
        return events_of(self.store, self.read(incident or self.latest_id()))

    def measure_effects(self, incident: str | None = None) -> Incident:
        """The incident, with the effects that can be told by now, from samples of the lanes.

        That is five minutes after a change, or as soon as the same lanes were changed again or the
        incident ended. Nothing is written, but for mitigations whose process fell silent.
        """
        end_silent(self.store)
        found = self.read(incident or self.latest_id())
        events, now = events_of(self.store, found), server_time(self.store)
        effects = effects_of(found, events, self._samples_for(events, now), now)
        return replace(found, effects=with_yardsticks(effects, self._policy()) if effects else ())

    def _sampled(self, receipt: IncidentReceipt) -> IncidentReceipt:
        """`receipt`, once all lanes were sampled: how it was then stands in the post-mortem."""
        try:
            lanes = [Lane(queue, each).name for queue in self._queues() for each in PRIORITIES]
        except ShedderError as error:  # the record is what counts
            logger.warning(NO_SAMPLE, error)
            return receipt
        if lanes:
            sample_after(self.store, lanes)
        return receipt

    def _policy(self) -> Policy:
        """The policy in force; one that says nothing when it cannot be read."""
        try:
            return applied_policy(self.store).policy
        except RecordUnreadable as error:
            logger.warning("effects are told without the policy: %s", error)
            return Policy()

    def _samples_for(self, events: tuple[Event, ...], now: datetime) -> dict[str, tuple[Sample, ...]]:
        """The samples from which the effects of `events` can be told."""
        changes = changes_of(events)
        if not changes:
            return {}
        lanes = {lane for each in changes for lane in each.lanes}
        if not all(each.lanes for each in changes):
            lanes |= {Lane(queue, each).name for queue in self._queues() for each in PRIORITIES}
        since = changes[0].at - 2 * WINDOW  # what is older is told as of `since`, and is too old
        return read_samples(self.store, sorted(lanes), since=since, now=now)

    def export(self, incident: str | None = None) -> dict[str, Any]:
        """A copy of the record and its events, as JSON can hold it; `bring_back` reads it."""
        found = self.read(incident or self.latest_id())
        entries = [_entry(each) for each in events_of(self.store, found) if each.verb != UNREADABLE]
        return {"schema": COPY_SCHEMA, "incident": incident_record(found), "events": entries}

    def bring_back(
        self, copy: object, *, reason: str = "a copy was brought back", by: str | None = None
    ) -> IncidentReceipt:
        """Write what `export` gave, such as after Redis has lost its data.

        An incident that is there as the copy says is left as it is, and the receipt has no event.

        Raises:
            InvalidInput: it is no copy, or of a newer shedder.
            ConditionNotMet: an incident of this id is there and says something else.
        """
        draft = EventDraft("incident import", self.cause(reason, by))
        incident, entries = read_copy(copy)
        now = server_time(self.store)
        for name in ("opened", "detected", "mitigated", "resolved", "closed"):
            lifecycle.check_not_in_future(name, getattr(incident, f"{name}_at"), now)
        for step in range(0, len(entries), EVENTS_PER_STEP):
            # beside the journal; those that are kept stay as they are
            parts = [part for entry in entries[step : step + EVENTS_PER_STEP] for part in entry]
            self.store.run(Command("keep_events", (self.store.keys.incident_events(incident.id),), tuple(parts), int))
        receipt = self._write_new(incident, draft)
        if receipt is not None:
            return receipt
        there = self.read(incident.id)
        if incident_record(replace(there, revision=0)) == incident_record(replace(incident, revision=0)):
            return IncidentReceipt("", now, there)
        raise ConditionNotMet(
            f"{incident.id} is here already, in revision {there.revision}, and differs from the copy",
            try_instead=f"look at it with `shedder incident show {incident.id}`",
        )

    def undo(self, event: Event, *, reason: str, by: str | None = None) -> IncidentReceipt:
        """Take back what `event`, of an incident, changed in its record.

        Raises:
            CannotUndo: it was changed again since.
        """
        return self.change(lambda it, _: _reverted(it, event), verb=event.verb, reason=reason,
                           incident=event.incident, by=by, undoes=event.id)  # fmt: skip


def _reverted(incident: Incident, event: Event) -> Incident:
    """`incident` with the fields that `event` changed as they were before it.

    Raises:
        CannotUndo: one of them is not as the event left it.
        NothingToUndo: the incident is closed, so that its record stays.
    """
    if incident.closed_at is not None:
        reason, look = f"{incident.id} is closed for good", f"shedder incident show {incident.id}"
        raise NothingToUndo(event.id, reason=reason, try_instead=look)
    record = incident_record(incident)
    for name in {**event.before, **event.after}:
        _revert(record, name, event)
    return incident_from_record(record)


def _revert(record: Record, name: str, event: Event) -> None:
    now, before, after = (each.get(name) for each in (record, event.before, event.after))
    is_list = isinstance(before, list) or isinstance(after, list)
    items, added = now or [], after or []
    if not (all(each in items for each in added) if is_list else now == after):
        raise CannotUndo(
            event.id, reason=f"{name.removesuffix('_at')} was changed again since",
            try_instead=f"shedder incident show {event.incident}",
        )  # fmt: skip
    if is_list:
        kept = [each for each in items if each not in added]
        record[name] = sorted([*kept, *(before or [])], key=lambda each: each.get("number", 0))
    elif before is None:
        record.pop(name, None)
    else:
        record[name] = before


def read_copy(copy: object) -> tuple[Incident, list[Entry]]:
    """The incident of a copy, and its events.

    Raises:
        InvalidInput: it is no copy, or of a newer shedder.
    """
    try:
        return _read_copy(copy)
    except (KeyError, OverflowError, RecursionError, TypeError, ValueError) as error:
        accepted = f"what `shedder incident export` wrote ({type(error).__name__}: {error})"
        raise InvalidInput(name="copy", value=str(copy)[:40], accepted=accepted) from error


def _read_copy(copy: object) -> tuple[Incident, list[Entry]]:
    if not isinstance(copy, Mapping) or copy["schema"] != COPY_SCHEMA:
        raise ValueError(f"no {COPY_SCHEMA}")
    incident = incident_from_record(copy["incident"])
    if not _ID.fullmatch(incident.id):
        raise ValueError(f"{incident.id!r} is the id of no incident")
    events = copy["events"]
    if not isinstance(events, list) or len(events) > MOST_EVENTS:
        raise ValueError(f"events are no list of at most {MOST_EVENTS:,}")
    return incident, sorted(_entries(events), key=lambda each: position_of(each[0]))


def _entries(events: list[Any]) -> Iterator[Entry]:
    for each in events:
        if not _EVENT_ID.fullmatch(each["id"]) or each["id"].startswith("0-0"):
            raise ValueError(f"{each['id']!r} is the id of no event")
        parts = [each[name] for name in ("head", "before", "after")]
        if not all(isinstance(part, dict) for part in parts):
            raise TypeError("an event has head, before and after")
        head, before, after = (json.dumps(part, allow_nan=False) for part in parts)
        yield each["id"], head, before, after


def _entry(event: Event) -> dict[str, Any]:
    return {"id": event.id, "head": head_of(event), "before": dict(event.before), "after": dict(event.after)}
