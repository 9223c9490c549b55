"""Who is warned, asked or refused when several people act in one incident."""

from __future__ import annotations

import re

from tests.cli.conftest import OPEN, all_keys
from tests.cli.programs import Terminal


def test_nobody_steps_on_toes(invoke, mail, redis):
    """What somebody else has just changed is refused without a terminal, unless it is forced."""
    invoke(*OPEN)
    invoke("pause", "mail", "-r", "database", "--by", "eve@desk")
    before = all_keys(redis)
    done = invoke("resume", "mail.low", "-r", "go on", "--by", "bob@desk")
    assert (3, 1) == (done.code, len(done.err.splitlines()))
    assert re.search(r"eve@desk did 'pause mail' \d+s ago: database.*--force", done.err)
    assert before == all_keys(redis)
    assert 3 == invoke("undo", "-r", "x", "--by", "bob@desk").code
    assert 0 == invoke("resume", "mail", "-r", "go on", "--by", "eve@desk").code
    forced = invoke("pause", "mail", "-r", "stop", "--by", "bob@desk", "--force")
    assert 0 == forced.code
    assert "warning: eve@desk did 'resume mail'" in forced.err


def test_outside_of_an_incident_it_is_only_told(invoke, mail):
    """Scripts that worked before still work."""
    invoke("pause", "mail", "-r", "database", "--by", "eve@desk")
    done = invoke("resume", "mail", "-r", "go on", "--by", "bob@desk")
    assert 0 == done.code
    assert "warning: eve@desk did 'pause mail'" in done.err


def test_flags_and_limits_have_toes_too(invoke, redis):
    """They go by their names."""
    invoke(*OPEN)
    invoke("flag", "degrade", "hints", "-r", "x", "--by", "eve@desk", "--force")
    invoke("limit", "set", "reports", "5/second", "-r", "x", "--by", "eve@desk", "--force")
    assert 3 == invoke("flag", "restore", "hints", "-r", "x", "--by", "bob@desk").code
    assert 3 == invoke("limit", "clear", "reports", "-r", "x", "--by", "bob@desk").code
    assert 0 == invoke("flag", "restore", "hints", "-r", "x", "--by", "bob@desk", "--force").code


def test_at_a_terminal_one_is_asked(invoke, mail, env):
    """Who says no changes nothing; who says yes goes on."""
    invoke(*OPEN)
    invoke("pause", "mail", "-r", "database", "--by", "eve@desk")
    words = ("resume", "mail", "-r", "go on", "--by", "bob@desk")
    with Terminal(*words, env=env) as terminal:
        terminal.wait_for("Go on?")
        terminal.type("n\n")
        assert 1 == terminal.end()
        assert "nothing was changed" in terminal.text
    with Terminal(*words, env=env) as terminal:
        terminal.wait_for("Go on?")
        terminal.type("y\n")
        assert 0 == terminal.end()


def test_the_commander_is_reminded_and_never_blocked(invoke, mail):
    """After the receipt, on standard error; others are not."""
    invoke(*OPEN)
    done = invoke("pause", "mail", "-r", "database", "--by", "ana@desk", "--json")
    assert 0 == done.code
    assert done.json["event"]
    assert "give operations to: shedder incident assign operations NAME" in done.err
    invoke("incident", "take", "operations", "--by", "bob@desk")
    done = invoke("resume", "mail", "-r", "database", "--by", "ana@desk")
    assert "operations is bob@desk" in done.err
    assert "reminder" not in invoke("pause", "mail", "-r", "x", "--by", "bob@desk", "--force").err
