"""What is to be told is decided right: what, when, and to whom."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

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
        "shedder: ended the drain of mail, because the backlog is empty (5,000 jobs released, 12 skipped)",
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


def told(*events: Event, minutes: float = 9) -> list[str]:
    """The texts of the main channel."""
    return [each.text for each in messages_of(OPEN, events, IncidentPolicy(), at(minutes)) if each.channel == "main"]


def on(lane: str, number: int, verb: str, **more: Any) -> Event:
    known = {"by": "oncall@ops", "why": "r", "lanes": (lane,), "role": "operations", **more}
    return Event(f"1-{number}", at(7) + timedelta(milliseconds=number), verb, **known)


LANES = ("mail.critical", "mail.high", "mail", "mail.low")


def test_one_command_is_one_message_with_its_numbers() -> None:
    """A divert and its scans, lane by lane: the queue, the function, and how many jobs."""
    nothing = {lane: {"backlog": 0} for lane in LANES}
    divert = on("", 1, "divert", lanes=LANES, before=nothing, after=nothing, order="a",
                details={"selection": "function app.report.*"})  # fmt: skip
    scans = [on(lane, 2 + number, "scan", order="a", after={lane: {"backlog": 3 * number}})
             for number, lane in enumerate(("mail", "mail.low"))]  # fmt: skip
    want = "operations: put aside jobs of mail (3 jobs to the backlog, function app.report.*), because r"
    assert [want] == told(divert, *scans)


def test_a_message_waits_until_no_more_events_of_its_command_follow() -> None:
    """What is told is whole, and it is told once, by the id of the last event."""
    restored = [on(lane, number, "restore", order="a", before={lane: {"backlog": number}})
                for number, lane in enumerate(LANES)]  # fmt: skip
    assert [] == told(*restored, minutes=7 + 4 / 60)
    assert ["operations: put the backlog of mail back (6 jobs back in place), because r"] == told(*restored)
    named = [each.name for each in messages_of(OPEN, restored, IncidentPolicy(), at(9))]
    without_first = messages_of(OPEN, restored[1:], IncidentPolicy(), at(9))
    assert ["event-1-3"] == named == [each.name for each in without_first]


def test_two_commands_are_two_messages() -> None:
    """Another reason, another rate or another time is another command."""
    slow, fast = ({"rate": rate} for rate in ("5/second", "50/second"))
    found = told(
        on("mail", 1, "drain", details=slow, after={"mail": {"backlog": 9}}),
        on("mail", 2, "drain", details=fast, after={"mail": {"backlog": 8}}),
        on("mail", 3, "pause"), on("mail", 4, "pause", why="other"), on("mail", 60_000, "pause", why="other"),
    )  # fmt: skip
    assert 5 == len(found)
    assert "operations: let the backlog of mail start again (50/second, 8 jobs in the backlog), because r" in found


def test_the_end_of_a_drain_is_told() -> None:
    """Once for lanes that end together, and not for those that had nothing in the backlog."""
    empty = on("", 1, "drained", lanes=LANES[:2], order="a", after={"released": 0, "skipped": {}})
    ends = [on(lane, 2 + number, "drained", order="a", after={"released": 400, "skipped": {"expired": 1}})
            for number, lane in enumerate(LANES[2:])]  # fmt: skip
    want = "shedder: ended the drain of mail and mail.low, because the backlog is empty (800 jobs released, 2 skipped)"
    assert [want] == told(empty, *ends)


def test_one_undo_is_one_message_that_says_so() -> None:
    """Lanes that go on and lanes that are paused again; and what was undone is told as undone."""
    paused = on("", 1, "pause", lanes=LANES)
    undo = [on("mail.low", 2, "pause", undoes="1-1", why="too much"),
            on("", 3, "resume", lanes=LANES[:3], undoes="1-1", why="too much")]  # fmt: skip
    found = told(paused, *undo)
    assert "operations: paused mail, because r (undone since)" == found[0]
    want = "operations: undid an earlier change: paused mail.low and resumed mail.critical, mail.high and mail"
    assert found[1].startswith(want)
    assert 2 == len(found)


def test_what_was_said_of_customers_and_is_taken_back_is_told_as_taken_back() -> None:
    """The reason of the undo is no reason why customers are helped."""
    said = on("", 1, "incident mitigated", lanes=(), why="customers are helped")
    undone = on("", 2, "incident mitigated", lanes=(), undoes="1-1", why="typo")
    assert "operations: took back that customers are helped, because typo" == told(said, undone)[1]
