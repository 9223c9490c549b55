"""Who is warned, asked or refused when several people act in one incident."""

from __future__ import annotations

import json
import re
import socket

import pytest

from shedder import Shedder
from tests.cli.conftest import OPEN, RQ_KEY_PREFIX, all_keys
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


@pytest.fixture
def as_root(env: dict[str, str]) -> dict[str, str]:
    """The environment of a shell in which nobody has said who they are."""
    return {**env, "SHEDDER_BY": "", "LOGNAME": "root"}


def test_a_shared_account_is_told_once_how_to_say_who_acts(as_root, mail, program):
    """At a terminal, after the first change; a script is left in peace."""
    told = "several people use root@"
    with Terminal("pause", "mail", "-r", "database", env=as_root) as terminal:
        terminal.wait_for(told, "export SHEDDER_BY=ana@desk")
        assert 0 == terminal.end()
    assert told not in program("resume", "mail", "-r", "x", env=as_root).err
    with Terminal("pause", "mail", "-r", "database", env={**as_root, "SHEDDER_BY": "ana@desk"}) as terminal:
        assert 0 == terminal.end()
        assert told not in terminal.text


def test_it_is_not_told_again_within_the_hour(as_root, mail, redis):
    """Whoever works as root in an incident does not read it after each command."""
    head = {"v": 1, "verb": "pause", "by": f"root@{socket.gethostname()}", "why": "r", "lanes": ["mail"]}
    ago = int(redis.time()[0] * 1000) - 10 * 60_000
    redis.xadd(
        f"{RQ_KEY_PREFIX}:shedder:events", {"head": json.dumps(head), "before": "{}", "after": "{}"}, id=f"{ago}-0"
    )
    with Terminal("pause", "mail", "-r", "database", env=as_root) as terminal:
        assert 0 == terminal.end()
        assert "several people use" not in terminal.text


def test_a_shared_account_takes_no_role(as_root, invoke, program, redis):
    """Without a terminal it is refused, and nothing was changed."""
    invoke("incident", "open", "late", "-s", "2")
    before = all_keys(redis)
    done = program("incident", "take", "operations", env=as_root)
    assert (2, 1) == (done.code, len(done.err.splitlines()))
    assert "say once who you are: export SHEDDER_BY=ana@desk" in done.err
    for words in (("assign", "operations", "deploy@ops"), ("take", "operations", "--by", "app")):
        assert 2 == invoke("incident", *words).code
    assert before == all_keys(redis)


def test_whoever_takes_a_role_as_root_is_asked_for_a_name(as_root, invoke, mail):
    """At a terminal; the name holds for this command, and the line for the next ones follows."""
    invoke("incident", "open", "late", "-s", "2")
    with Terminal("incident", "take", "operations", env=as_root) as terminal:
        terminal.wait_for("Your name?")
        terminal.type("ana@desk\n")
        terminal.wait_for("ana@desk is operations now")
        assert 0 == terminal.end()
        assert "export SHEDDER_BY=ana@desk" in terminal.text


@pytest.mark.parametrize(("answer", "commander"), [("y", "oncall@desk"), ("n", "")])
def test_whoever_opens_an_incident_without_a_role_is_offered_command(env, redis, answer, commander):
    """At a terminal, once it is open; who says no leaves it to others."""
    with Terminal("incident", "open", "late", "-s", "2", env=env) as terminal:
        terminal.wait_for("Do you take command?")
        terminal.type(f"{answer}\n")
        assert 0 == terminal.end()
    assert commander == Shedder(redis).incidents.read(None).commander
    with Terminal("incident", "open", "late", "-s", "2", "--also", "--commander", "ana@desk", env=env) as terminal:
        assert 0 == terminal.end()
        assert "command?" not in terminal.text


@pytest.mark.parametrize(
    ("said", "found"),
    [("Eve forgot the limit.", "forgot"), ("Then eve paused it.", "eve"), ("All good.\nAna@desk slept.", "Ana@desk")],
)
def test_a_review_takes_no_sentence_that_blames_or_names(invoke, mail, redis, said, found):
    """It is refused when it is written, with what to say instead, as the check of the file would."""
    invoke(*OPEN)
    invoke("pause", "mail", "-r", "database", "--by", "eve@desk")
    invoke("pause", "mail.low", "-r", "database", "--by", "root@ops")
    invoke("incident", "resolve")
    before = all_keys(redis)
    done = invoke("incident", "review", "--badly", said)
    assert (2, 1) == (done.code, len(done.err.splitlines()))
    assert "badly: " in done.err
    assert f"without '{found}'" in done.err
    assert "say what made it easy, or hard to see" in done.err
    assert before == all_keys(redis)
    assert 0 == invoke("incident", "review", "--badly", "The root cause was a limit that nobody sees.").code
