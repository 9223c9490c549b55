"""What is to be told is decided right: what, when, and to whom."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from shedder.events import Event
from shedder.incident.records import Note
from shedder.policy.model import IncidentPolicy
from shedder.updates.messages import due_at, messages_of
from tests.unit.postmortems import EVENTS, INCIDENT, at

OPEN = replace(INCIDENT, opened_at=at(0), resolved_at=None, mitigated_at=None, review_due_at=None, updates=())
EVERY = IncidentPolicy(update_every_by_severity={1: timedelta(minutes=15)})


def names(minutes: float, **changes: object) -> list[str]:
    incident = replace(OPEN, **changes)
    return [each.name for each in messages_of(incident, (), IncidentPolicy(), at(minutes))]


def test_an_update_is_due_by_severity_and_by_what_was_promised() -> None:
    """After opening by the policy, later as the last update said, and never when it is over."""
    assert at(15) == due_at(OPEN, EVERY)
    policy = IncidentPolicy(update_every_by_severity={3: timedelta(minutes=30)})
    assert at(30) == due_at(OPEN, policy)
    assert at(22) == due_at(replace(OPEN, next_update_at=at(22)), EVERY)
    assert due_at(replace(OPEN, resolved_at=at(3)), EVERY) is None


@pytest.mark.parametrize(("minutes", "want"), [(14.9, 0), (15, 1), (15.9, 1), (16, 2), (19.9, 2), (20, 3), (40, 3)])
def test_a_draft_a_reminder_and_an_alarm(minutes: float, want: int) -> None:
    """At the due time, a minute and five minutes after it, and each of them once."""
    due = "due-20261123T140500"
    assert [due, f"{due}-remind", f"{due}-late"][:want] == names(minutes)


def test_reminders_go_to_the_communications_role() -> None:
    """Whoever has the role is named, as it is for them."""
    (_, remind) = messages_of(OPEN, (), IncidentPolicy(), at(17))
    assert ("notes", True) == (remind.channel, "bob@desk" in remind.text)


def test_the_alarm_is_left_out_where_the_update_posts_itself() -> None:
    """Nobody is told to do what is done by itself."""
    found = messages_of(OPEN, (), IncidentPolicy(posts_by_itself=True), at(30))
    assert 2 == len(found)


def test_the_main_channel_gets_decisions_and_the_other_the_notes() -> None:
    """Findings do not disturb the main channel, and what scripts tell themselves is told nobody."""
    note = Note(1, at(6), "zoe@desk", "replica lags", "database logs")
    scan = Event("1-8", at(7), "scan", "oncall@ops", "", ("mail",))
    found = messages_of(replace(OPEN, notes=(note,)), (*EVENTS[:3], scan), IncidentPolicy(), at(14))
    opened = "somebody without a role: opened the incident, because mails are late"
    want = [("notes", "replica lags"), ("main", opened)]
    assert want == [(each.channel, each.text) for each in found]


def test_the_main_channel_hears_how_a_mitigation_ended() -> None:
    """Which one, and whether it worked: that it ran helps nobody."""
    details = {"mitigation": "rollback", "outcome": "failed"}
    began = Event("1-8", at(7), "mitigate started", "oncall@ops", "r", (), role="operations")
    ended = Event("1-9", at(8), "mitigate", "oncall@ops", "errors since 42", (), role="operations",
                  details=details)  # fmt: skip
    (told,) = messages_of(OPEN, (began, ended), IncidentPolicy(), at(9))
    assert "operations: ran the mitigation rollback: failed, because errors since 42" == told.text


def test_the_main_channel_hears_that_a_drain_was_halted_or_has_ended() -> None:
    """With numbers, and with what to do about a halt; the program did it, not who ordered the drain."""
    lanes = {"mail": {"rate": 50, "backlog": 3000}}
    halted = Event("1-8", at(7), "drain halted", "shedder", "25 of the last 50 jobs failed", ("mail",),
                   after=lanes, details={"failed": 25, "ended": 50})  # fmt: skip
    after = {"released": 5000, "skipped": {"expired": 12}}
    drained = Event("1-9", at(8), "drained", "oncall@ops", "database is well", ("mail",), after=after)
    found = messages_of(OPEN, (halted, drained), IncidentPolicy(), at(9))
    halt = "halted the drain of mail, because too many of its jobs failed"
    numbers = "25 of the last 50 jobs failed, 3,000 jobs in the backlog"
    assert [
        f"shedder: {halt} ({numbers}); drain again, when its jobs succeed",
        "shedder: the backlog of mail was empty (5,000 jobs released, 12 skipped)",
    ] == [each.text for each in found]


def test_what_is_older_than_an_hour_is_told_no_more() -> None:
    """A channel that was away gets no flood of news that are none."""
    note = Note(1, at(0), "zoe@desk", "replica lags")
    assert "note-1" in names(60, notes=(note,))
    assert "note-1" not in names(61, notes=(note,))


@pytest.mark.parametrize(
    ("hours", "want"),
    [(23.9, None), (24, "review-24h"), (44, "review-4h"), (48, "review-late-0"),
     (72.5, "review-late-1")],
)  # fmt: skip
def test_the_review_is_reminded_of(hours: float, want: str | None) -> None:
    """24 hours before it is due, 4 hours before, and each day that it is late."""
    resolved = replace(INCIDENT, resolved_at=at(0), review_due_at=at(48 * 60), updates=())
    found = messages_of(resolved, (), IncidentPolicy(), at(hours * 60))
    assert [want] * bool(want) == [each.name for each in found]


def test_a_closed_review_is_left_alone() -> None:
    """What is done needs no reminder."""
    closed = replace(INCIDENT, review_due_at=at(48 * 60), closed_at=at(600), updates=())
    assert () == messages_of(closed, (), IncidentPolicy(), at(49 * 60))
