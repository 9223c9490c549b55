"""What `shedder flag` does and says."""

from __future__ import annotations

import re

import pytest
from rq.defaults import RQ_KEY_PREFIX

from shedder import Shedder
from tests.waiting import wait_until

HINTS = {"description": "no suggestions while typing", "owner": "search", "group": "non-critical"}


@pytest.fixture
def app(redis):
    """An application that has declared its features."""
    shedder = Shedder(redis)
    shedder.flags.declare("search.hints", **HINTS)
    shedder.flags.declare("faces", group="non-critical")
    shedder.flags.declare("checkout")
    shedder.flags.enabled("faces")
    wait_until(lambda: 3 == len(shedder.flag_states()))
    yield shedder
    shedder.close()


def test_the_receipt_says_what_is_off_and_how_to_get_it_back(invoke, app):
    """First the fact, then what the customer notices, then what stood before, last the way back."""
    done = invoke("flag", "degrade", "search.hints", "-r", "database at 99 %", "--for", "30m")
    assert 0 == done.code
    assert re.match(r"search\.hints is degraded until .*UTC \(30m\)\.", done.lines[0])
    assert "search.hints: no suggestions while typing" in done.lines
    assert "restore  shedder flag restore search.hints" in done.lines
    assert re.search(r"undo +shedder undo \d+-\d+", done.out)
    wait_until(lambda: not app.flags.enabled("search.hints"))


def test_a_group_in_part(invoke, app):
    """A group and a percentage go together; a second order says what it replaces."""
    invoke("flag", "degrade", "faces", "-r", "first", "--by", "second@ops")
    done = invoke("flag", "degrade", "-g", "non-critical", "--percent", "50", "-r", "half")
    assert "faces and search.hints are degraded for 50 %." == done.lines[0]
    assert re.search(r"takes the place of 100 % since .* by second@ops: first", done.out)


def test_restoring_says_so_and_twice_is_no_error(invoke, app):
    """The second restore has nothing to do."""
    invoke("flag", "degrade", "faces", "-r", "why")
    assert "faces is on again." == invoke("flag", "restore", "faces", "-r", "why").lines[0]
    done = invoke("flag", "restore", "faces", "-r", "why")
    assert (0, "faces is not degraded: nothing to restore.") == (done.code, done.lines[0])


def test_the_list_and_the_status_say_who_did_it(invoke, app):
    """Degraded flags come first, with who and why; the status has them too."""
    invoke("flag", "degrade", "faces", "-r", "database at 99 %", "--by", "oncall@ops")
    listed = invoke("flag", "list")
    assert listed.lines[1].startswith("faces")
    assert "oncall@ops: database at 99 %" in listed.lines[1]
    assert "no suggestions while typing" in listed.out
    assert re.search(r"feature faces degraded since .* by oncall@ops: database", invoke("status").out)
    assert "flag degrade faces by oncall@ops" in invoke("events").out


def test_a_change_of_the_share_keeps_the_end(invoke, app):
    """What was to end in an hour still does, unless another end is said; the receipt tells both ends."""
    invoke("flag", "degrade", "faces", "--for", "1h", "-r", "why")
    done = invoke("flag", "degrade", "faces", "--percent", "50", "-r", "half of it")
    assert re.search(r"^faces is degraded for 50 % until .* \((1h|59m [0-9]+s)\)\.$", done.lines[0])
    assert re.search(r"takes the place of 100 % until .* \((1h|59m [0-9]+s)\) since", done.out)
    done = invoke("flag", "degrade", "faces", "--for", "ever", "-r", "no end")
    assert "faces is degraded." == done.lines[0]
    assert re.search(r"takes the place of 50 % until ", done.out)


def test_undo_restores(invoke, app):
    """`shedder undo` takes it back."""
    invoke("flag", "degrade", "faces", "-r", "why")
    assert "faces is on again." == invoke("undo", "-r", "wrong").lines[0]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["search.hint"], 3, "known: search.hints"),
        (["faces", "--percent", "101"], 2, "percent"),
        (["faces", "--percent", "0"], 2, "percent"),
        (["faces", "--for", "soon"], 2, "--for"),
        (["-g", "uncritical"], 3, "non-critical"),
        ([], 2, "say what to degrade"),
        (["a b"], 2, "without spaces"),
    ],
)
def test_bad_input_changes_nothing(invoke, app, redis, words, code, said):
    """What is not accepted is told in one line, with what would be."""
    done = invoke("flag", "degrade", *words, "-r", "why")
    assert (code, 1) == (done.code, len(done.err.splitlines()))
    assert said in done.err
    assert not redis.exists(f"{RQ_KEY_PREFIX}:shedder:flags", f"{RQ_KEY_PREFIX}:shedder:events")


def test_without_a_reason_nobody_is_guessed(invoke, app):
    """Without a terminal the reason must be given."""
    assert 2 == invoke("flag", "degrade", "faces").code


def test_json_follows_its_schema(invoke, app):
    """Each answer is one JSON object of a known shape."""
    assert "faces" == invoke("flag", "degrade", "faces", "-r", "x", "--json").json["flags"][0]["name"]
    assert 3 == len(invoke("flag", "list", "--json").json["flags"])
    assert 1 == len(invoke("status", "--json").json["flags"])
    assert "flag" == invoke("undo", "-r", "x", "--json").json["kind"]
    assert invoke("flag", "restore", "faces", "-r", "x", "--json").json["event"] == ""
