"""An incident goes from open to closed in order, and nothing is closed that is not done."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from shedder.api.shedder import Shedder
from shedder.errors import CannotUndo, ConditionNotMet, InvalidInput, NothingMatched, ShedderError
from shedder.incident.review import actions_text, missing_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis import Redis

    from shedder.incident.incidents import Incidents

MINUTE = timedelta(minutes=1)
LATER = timedelta(days=14)
PARTS = {"well": "a", "badly": "b", "luck": "c", "factors": "d"}


@pytest.fixture
def shedder(redis: Redis) -> Shedder:
    shedder = Shedder(redis, by="ana@desk")
    now = datetime.now(UTC).replace(microsecond=0)
    times = {"began": now - 30 * MINUTE, "opened": now - 20 * MINUTE}
    shedder.incidents.open("late", severity=2, commander="ana@desk", times=times)
    return shedder


@pytest.fixture
def incidents(shedder: Shedder) -> Incidents:
    return shedder.incidents


def now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def test_from_open_to_closed(shedder: Shedder, incidents: Incidents) -> None:
    """Each step is an event, and the review is due in 48 hours."""
    assert "mitigated" == incidents.mitigated().incident.state
    resolved = incidents.resolve()
    assert ("resolved", None) == (resolved.incident.state, incidents.current())
    due_in = resolved.incident.review_due_at - resolved.at
    assert timedelta(hours=47, minutes=59) < due_in <= timedelta(hours=48)
    incidents.actions.add("alarm", type="detect", priority=1, owner="db", due_at=now() + LATER)
    incidents.review(PARTS)
    assert "closed" == incidents.close().incident.state
    verbs = [event.verb for event in shedder.events()]
    assert ["incident open", "incident mitigated", "incident resolve", "action add", "review",
            "incident close"] == verbs  # fmt: skip


def test_close_says_all_that_is_missing(incidents: Incidents) -> None:
    """In one sentence: it is not resolved, what actions lack, which parts are empty."""
    incidents.actions.add("alarm", type="detect", priority=1)
    with pytest.raises(ConditionNotMet) as caught:
        incidents.close()
    assert (
        "it is open, not resolved; action 1 has no owner, no due date; "
        "the review says nothing of: well, badly, luck, factors (shedder incident review)" == caught.value.found
    )
    incidents.resolve()
    incidents.actions.set(1, owner="db", due_at=now() + LATER)
    incidents.review({**PARTS})
    assert () == missing_of(incidents.read(incidents.latest_id()))


@pytest.mark.parametrize(
    "act",
    [
        lambda it: it.note("x"),
        lambda it: it.reopen(),
        lambda it: it.mitigated(incident=it.latest_id()),
        lambda it: it.resolve(incident=it.latest_id()),
        lambda it: it.close(),
        lambda it: it.correct(severity=3),
        lambda it: it.review({"well": "x"}),
        lambda it: it.actions.add("x", type="detect"),
        lambda it: it.actions.set(1, priority=2),
        lambda it: it.roles.take("operations", by="bob@desk"),
        lambda it: it.roles.assign("operations", "bob@desk"),
        lambda it: it.roles.hand_over("commander", "bob@desk"),
        lambda it: it.roles.accept(),
        lambda it: it.roles.leave("commander"),
    ],
)
def test_what_is_closed_stays_as_it_is(incidents: Incidents, act: Callable[[Incidents], Any]) -> None:
    """Everything but the end of an action is refused, in one sentence."""
    incidents.resolve()
    incidents.actions.add("x", type="detect", priority=1, owner="db", due_at=now() + LATER)
    incidents.review(PARTS)
    closed = incidents.close().incident
    with pytest.raises(ConditionNotMet):
        act(incidents)
    assert closed == incidents.read(closed.id)
    assert incidents.actions.done(1).incident.actions[0].done_at


def test_undo_after_close_is_refused(shedder: Shedder, incidents: Incidents) -> None:
    """A review that was held stays what it was."""
    resolved = incidents.resolve()
    incidents.review(PARTS)
    incidents.close()
    with pytest.raises(CannotUndo, match="closed for good"):
        shedder.undo(resolved.event, reason="x")


def test_reopened_it_is_open_again(incidents: Incidents) -> None:
    """Unless another one is open."""
    first = incidents.resolve().incident
    with pytest.raises(NothingMatched):
        incidents.resolve()
    incidents.open("other", severity=1)
    with pytest.raises(ConditionNotMet, match="--also"):
        incidents.reopen(incident=first.id)
    again = incidents.reopen(incident=first.id, also=True).incident
    assert ("open", None, None) == (again.state, again.review_due_at, again.mitigated_at)
    assert 2 == len(incidents.open_ones())


def test_times_are_corrected_with_an_event(shedder: Shedder, incidents: Incidents) -> None:
    """The event has what it was before, and undo sets it so."""
    before = incidents.mitigated().incident
    receipt = incidents.correct(times={"mitigated": now() - 5 * MINUTE, "detected": now() - 25 * MINUTE})
    event = shedder.events()[-1]
    assert int(before.mitigated_at.timestamp() * 1000) == event.before["mitigated_at"]
    assert {"mitigated_at", "detected_at"} == set(event.after)
    shedder.undo(receipt.event, reason="it was right")
    undone = incidents.read()
    assert (before.mitigated_at, before.detected_at) == (undone.mitigated_at, undone.detected_at)


def test_a_severity_has_a_history(incidents: Incidents) -> None:
    """Each severity says since when it holds, so that impact can be told by severity."""
    incidents.correct(severity=1)
    receipt = incidents.correct(severity=3)
    told = receipt.incident.severities
    assert [2, 1, 3] == [each.severity for each in told]
    assert told[-1].since == receipt.at
    assert "" == incidents.correct(severity=3).event


def test_what_was_changed_again_cannot_be_undone(shedder: Shedder, incidents: Incidents) -> None:
    """Undo never takes back what somebody else did later."""
    first = incidents.correct(title="late e-mails")
    incidents.correct(title="late receipts")
    with pytest.raises(CannotUndo, match="title was changed again"):
        shedder.undo(first.event, reason="x")
    shedder.undo(reason="x")
    assert "late e-mails" == incidents.read().title


@pytest.mark.parametrize(
    ("act", "error", "says"),
    [
        (lambda it: it.mitigated(at=now() + MINUTE), InvalidInput, "not in the future"),
        (lambda it: it.mitigated(at=now() - 60 * MINUTE), InvalidInput, "not before detected"),
        (lambda it: it.resolve(at=now() + MINUTE), InvalidInput, "not in the future"),
        (lambda it: it.resolve(at=now() - 60 * MINUTE), InvalidInput, "not before"),
        (lambda it: it.correct(times={"began": now()}), InvalidInput, "not before began"),
        (lambda it: it.correct(times={"opened": now() + MINUTE}), InvalidInput, "in the future"),
        (lambda it: it.correct(times={"resolved": now()}), InvalidInput, "is not resolved yet"),
        (lambda it: it.correct(times={"lunch": now()}), InvalidInput, "began, detected"),
        (lambda it: it.correct(severity=9), InvalidInput, "severity"),
        (lambda it: it.correct(title=""), InvalidInput, "title"),
        (lambda it: it.note(" "), InvalidInput, "note"),
        (lambda it: it.note("x" * 2001), InvalidInput, "note"),
        (lambda it: it.note("x", task="logs"), InvalidInput, "task"),
        (lambda it: it.review({"well": "x"}), ConditionNotMet, "is open; nothing was changed; resolve it first"),
        (lambda it: it.actions.add("x", type="wish"), InvalidInput, "prevent, detect"),
        (lambda it: it.actions.add("", type="detect"), InvalidInput, "action"),
        (lambda it: it.actions.add("x", type="detect", priority=0), InvalidInput, "priority"),
        (lambda it: it.actions.add("x", type="detect", due_at=now() - MINUTE), InvalidInput, "due"),
        (lambda it: it.actions.done(7), NothingMatched, "action 7"),
        (lambda it: it.reopen(), ConditionNotMet, "is open; .*nothing to reopen"),
        (lambda it: it.close(), ConditionNotMet, "not resolved"),
    ],
)
def test_what_is_refused_changes_nothing(
    shedder: Shedder, redis: Redis, act: Callable[[Incidents], Any], error: type[ShedderError], says: str
) -> None:
    """Each refusal is one sentence; record and journal are as they were."""
    before = {key: redis.dump(key) for key in redis.keys("*") if b":operation:" not in key}
    with pytest.raises(error, match=says):
        act(shedder.incidents)
    assert before == {key: redis.dump(key) for key in redis.keys("*") if b":operation:" not in key}


def test_actions_are_undone(shedder: Shedder, incidents: Incidents) -> None:
    """Added, changed, done: each is taken back."""
    incidents.actions.add("alarm", type="detect")
    incidents.actions.set(1, priority=1)
    incidents.actions.done(1)
    shedder.undo(reason="x")
    assert (1, None) == (incidents.actions.list()[0].priority, incidents.actions.list()[0].done_at)


def test_actions_leave_for_elsewhere(incidents: Incidents) -> None:
    """As Markdown, as CSV that no spreadsheet runs, and as commands that a shell takes as meant."""
    incidents.actions.add("=alarm | 'now'; $(reboot)", type="detect", priority=2)
    incidents.actions.add("first", type="prevent", priority=1, owner="db", due_at=now() + LATER)
    incidents.actions.add("done", type="process")
    incident = incidents.actions.done(3).incident
    table = actions_text(incident, "markdown")
    assert r"| 1 | =alarm \| 'now'; $(reboot) | detect | 2 |  |  |  |" in table
    assert table.index("first") < table.index("=alarm")
    assert "1,'=alarm | 'now'; $(reboot),detect,2,,," in actions_text(incident, "csv")
    commands = actions_text(incident, "gh", labels=["incident"])
    assert ["first", "=alarm | 'now'; $(reboot)"] == titles_for_shell(commands)


def titles_for_shell(commands: str) -> list[str]:
    import subprocess

    script = f'gh() {{ printf "%s\\0" "$4"; }}\n{commands}'
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    return done.stdout.split("\0")[:-1]
