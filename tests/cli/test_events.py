"""What `events` and `undo` show."""

from __future__ import annotations

import re

import pytest

from shedder import Shedder
from tests.cli.programs import Terminal, environment
from tests.servers import patient


def test_each_event_is_a_line_with_the_way_back(invoke, mail):
    """Time, verb, place, person, reason, numbers, and how to undo it."""
    invoke("pause", "mail", "-r", "database at 99 %", "--by", "oncall@ops")
    invoke("divert", "mail.low", "-r", "only receipts", "--by", "second@ops")
    lines = invoke("events").lines
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ  pause mail by oncall@ops: database at 99 % "
        r"\(8 jobs waiting\)  undo: shedder undo \d+-\d+",
        lines[0],
    )
    assert "divert mail.low by second@ops: only receipts (5 jobs to the backlog, every job)" in lines[1]


def test_what_was_undone_offers_no_undo(invoke, mail):
    """A way back that was taken is not offered again."""
    invoke("pause", "mail", "-r", "why")
    invoke("undo", "-r", "wrong queue")
    pause, resume = invoke("events").lines
    assert "undone" in pause
    assert "undo:" not in pause
    assert "undoes" in resume


def test_the_journal_can_be_cut(invoke, mail):
    """By number, by position, by queue."""
    for name in ("mail", "reports", "mail"):
        invoke("pause", name, "-r", "why")
    found = invoke("events", "--json").json["events"]
    assert 3 == len(found)
    assert found[2:] == invoke("events", "-n", "1", "--json").json["events"]
    assert found[1:] == invoke("events", "--after", found[0]["id"], "--json").json["events"]
    assert found[1:2] == invoke("events", "reports", "--json").json["events"]


def test_an_empty_journal_is_no_failure(invoke):
    """Nothing has happened yet."""
    done = invoke("events")
    assert (0, "") == (done.code, done.out)


def test_following_shows_what_comes_across_a_restart(server_factory, program):
    """`--follow` prints events as they come, and goes on when Redis is back."""
    own = server_factory(appendonly=True)
    env = environment(SHEDDER_REDIS_URL=patient(own.url))
    with Terminal("events", "--follow", "mail", env=env) as terminal:
        program("pause", "reports", "mail", "-r", "first", env=env)
        terminal.wait_for("by", "first")
        own.kill()
        terminal.wait_for("cannot be reached, trying again")
        own.start()
        program("pause", "reports", "-r", "second", env=env)
        program("resume", "mail", "-r", "third", env=env)
        terminal.wait_for("third")
        assert "second" not in terminal.text
        assert 1 == terminal.text.count("first")
        terminal.interrupt()
        assert 130 == terminal.end()


@pytest.mark.parametrize("looks", [1, 2])
def test_following_shows_what_comes_while_it_begins(invoke, redis, monkeypatch, looks):
    """Between its looks at what is there, where nothing is yet, and the first at what comes."""
    events, follow_events, left = Shedder.events, Shedder.follow_events, [looks]

    def look(shed, **options):
        found = events(shed, **options)
        left[0] -= 1
        if not left[0]:
            shed.pause("mail", reason="meanwhile")
        return found

    def follow_once(shed, **options):
        yield from follow_events(shed, until=iter([False, True]).__next__, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(Shedder, "events", look)
    monkeypatch.setattr(Shedder, "follow_events", follow_once)
    assert 1 == invoke("events", "--follow", "mail").out.count("meanwhile")


@pytest.mark.parametrize(
    ("words", "kind", "said"),
    [
        (["pause", "mail"], "resume", "mail is resumed: 8 jobs wait and may start."),
        (["divert", "mail.low"], "restore", "5 jobs of mail.low are back in place"),
        (
            ["limit", "starts", "mail.low", "--rate", "1/h"],
            "restore",
            "The limit on starts of mail.low is lifted: 5 jobs",
        ),
    ],
)
def test_undo_shows_the_receipt_of_what_it_did(words, kind, said, invoke, mail):
    """The way back of a pause is a resume, that of a divert puts its jobs back."""
    event = invoke(*words, "-r", "why", "--json").json["event"]
    done = invoke("undo", event, "-r", "wrong queue")
    assert 0 == done.code
    assert done.lines[0].startswith(said)
    invoke(*words, "-r", "why")
    assert kind == invoke("undo", "-r", "wrong again", "--json").json["kind"]


def test_undo_of_a_drain_and_of_a_resume(invoke, mail):
    """A drain is set as it was before, a resume is paused again."""
    invoke("divert", "mail.low", "-r", "why")
    invoke("drain", "mail.low", "--rate", "1/hour", "-r", "why")
    assert "The drain of mail.low has stopped" in invoke("undo", "-r", "too early").out
    invoke("pause", "mail", "-r", "why")
    invoke("resume", "mail", "-r", "why")
    assert "mail is paused: " in invoke("undo", "-r", "too early").out


def test_what_cannot_be_undone_says_what_to_do(invoke, mail):
    """Exit 3, the reason, and what to try instead."""
    done = invoke("undo", "-r", "why")
    assert 3 == done.code
    assert "nothing to undo; try shedder events" in done.err


def test_at_a_terminal_an_undo_shows_what_it_will_do_and_asks(env, invoke, mail):
    """Who says no changes nothing; who says yes is asked why."""
    invoke("pause", "mail", "-r", "database at 99 %")
    with Terminal("undo", env=env) as terminal:
        terminal.wait_for("pause mail by oncall@desk: database at 99 %")
        terminal.wait_for("Undo your last change? That resumes them.")
        terminal.type("n\n")
        assert 1 == terminal.end()
    with Terminal("undo", env=env) as terminal:
        terminal.wait_for("Undo your last change?")
        terminal.type("y\n")
        terminal.wait_for("Why undo 'pause'?")
        terminal.type("wrong queue\n")
        assert 0 == terminal.end()
    assert 2 == invoke("undo").code


def test_undo_leaves_the_changes_of_others_alone(invoke, mail, redis):
    """Without an id neither the last of all nor --force is enough to undo what somebody else did."""
    theirs = invoke("pause", "mail", "-r", "database", "--by", "bob@desk", "--json").json["event"]
    for force in ((), ("--force",)):
        done = invoke("undo", "-r", "x", *force)
        assert 3 == done.code
        assert f"the last change is 'pause' by bob@desk: database; try shedder undo {theirs}" in done.err
    assert 0 == invoke("undo", theirs, "-r", "x").code


def test_undo_goes_on_to_the_change_before_one_of_which_nothing_stands(invoke, mail, env):
    """Nobody is left at it: without a terminal it is said, at one the next change is offered."""
    first = invoke("pause", "mail", "-r", "database", "--json").json["event"]
    invoke("divert", "mail.low", "-r", "only receipts")
    invoke("drain", "mail.low", "--at-once", "-r", "over")
    done = invoke("undo", "-r", "x", "--json")
    assert 0 == done.code
    assert "cannot be undone: this divert has ended, its backlog is empty" in done.err
    assert first == invoke("events", "--json").json["events"][-1]["undoes"]
    assert 0 == invoke("undo", done.json["receipt"]["event"], "-r", "it was right").code
    with Terminal("undo", "-r", "x", env=env) as terminal:
        terminal.wait_for("divert mail.low")
        terminal.type("y\n")
        terminal.wait_for("your change event", "cannot be undone")
        terminal.wait_for("pause mail by oncall@desk")
        terminal.type("y\n")
        assert 0 == terminal.end()
        assert "mail is resumed" in terminal.text
