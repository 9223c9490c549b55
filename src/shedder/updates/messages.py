"""The messages of an incident that are due. The record alone decides, so any process may ask.

Each message has a name of its own, and its sender notes that name: so a message is sent once, by
whatever process and however often it looks, also when one dies in between.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from shedder.events import SYSTEM, Event, verb_of
from shedder.incident.records import Incident, Role
from shedder.policy.model import IncidentPolicy
from shedder.postmortem.narrative import NOBODY, undone_at
from shedder.response.mitigation import ENDED
from shedder.updates.commands import commands_of
from shedder.wording import moment, spoken

MAIN, NOTES = "main", "notes"

REMIND_AFTER = timedelta(minutes=1)
POST_AFTER = timedelta(minutes=5)
TOO_OLD = timedelta(hours=1)
"""A message that could not be sent for this time is no news any more."""

REVIEW_REMINDERS = (timedelta(hours=24), timedelta(hours=4))
_LATE_EVERY = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Message:
    """Something to tell.

    Attributes:
        name: Tells it from all others of its incident.
        channel: `main` or `notes`.
        title: What it is.
        text: What it says.
        at: When it became due (server's clock, UTC).
    """

    name: str
    channel: str
    title: str
    text: str
    at: datetime


def due_at(incident: Incident, policy: IncidentPolicy) -> datetime | None:
    """When the next update is due; None when the incident is over."""
    if not incident.is_open:
        return None
    return incident.next_update_at or incident.opened_at + policy.update_every_for(incident.severity)


def messages_of(
    incident: Incident, events: Sequence[Event], policy: IncidentPolicy, now: datetime
) -> tuple[Message, ...]:
    """What is to be told by `now`, oldest first; what is too old to be told is left out."""
    found = [
        *_updates(incident),
        *_decisions(incident, events),
        *_notes(incident),
        *_reminders(incident, policy, now),
        *_review(incident, now),
    ]
    fresh = (each for each in found if now - TOO_OLD <= each.at <= now)
    return tuple(sorted(fresh, key=lambda each: each.at))


def title_of(incident: Incident) -> str:
    """What every message of an incident begins with."""
    return f"[{incident.id} severity {incident.severity}] {incident.title}"


def _updates(incident: Incident) -> Iterator[Message]:
    for each in incident.updates:
        channel = MAIN if each.audience == "stakeholders" else NOTES
        title = f"{title_of(incident)}: update {each.number}"
        yield Message(f"update-{each.number}", channel, title, each.text, each.at)


def _decisions(incident: Incident, events: Sequence[Event]) -> Iterator[Message]:
    undone = undone_at(events)
    for told in commands_of(events):
        event, verb = told.events[0], verb_of(told.events[0])
        is_system = event.by == SYSTEM or verb.is_system
        who = SYSTEM if is_system else event.role or NOBODY
        outcome = f": {event.details.get('outcome', '')}" if event.verb == ENDED else ""
        because = f", because {event.why}" if event.why and not is_system else ""
        since = " (undone since)" if any(each.id in undone for each in told.events) else ""
        instead = f"; {verb.instead}" if verb.is_system and verb.instead else ""
        text = f"{who}: {told.sentence}{outcome}{because}{since}{instead}"
        yield Message(f"event-{told.last.id}", MAIN, title_of(incident), text, told.at)


def _notes(incident: Incident) -> Iterator[Message]:
    for note in incident.notes:
        about = f" ({note.task})" if note.task else ""
        title = f"{title_of(incident)}: note {note.number}{about}"
        yield Message(f"note-{note.number}", NOTES, title, note.text, note.at)


def _reminders(incident: Incident, policy: IncidentPolicy, now: datetime) -> Iterator[Message]:
    due = due_at(incident, policy)
    if due is None or now < due:
        return
    title = f"{title_of(incident)}: update {len(incident.updates) + 1} is due"
    name = f"due-{due:%Y%m%dT%H%M%S}"
    how = "`shedder incident update` shows the draft and posts it"
    yield Message(name, NOTES, title, f"A draft is ready since {moment(due, now)} UTC: {how}.", due)
    whom = incident.holder(Role.COMMUNICATIONS) or incident.commander or "nobody has a role"
    yield Message(f"{name}-remind", NOTES, title,
                  f"For communications ({whom}): it was due at {moment(due, now)} UTC; {how}.",
                  due + REMIND_AFTER)  # fmt: skip
    if not policy.posts_by_itself:
        yield Message(f"{name}-late", NOTES, title,
                      f"The update is {spoken(POST_AFTER)} late and nobody has posted it; {how}.",
                      due + POST_AFTER)  # fmt: skip


def _review(incident: Incident, now: datetime) -> Iterator[Message]:
    due = incident.review_due_at
    if due is None or incident.closed_at is not None:
        return
    title = f"{title_of(incident)}: review"
    for left in REVIEW_REMINDERS:
        yield Message(f"review-{left // timedelta(hours=1)}h", MAIN, title,
                      f"The review is due in {spoken(left)}: shedder incident postmortem.",
                      due - left)  # fmt: skip
    if now >= due:
        days = (now - due) // _LATE_EVERY
        yield Message(f"review-late-{days}", MAIN, title,
                      f"The review was due at {moment(due, now)} UTC and is not closed.",
                      due + days * _LATE_EVERY)  # fmt: skip
