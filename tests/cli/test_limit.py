"""What `shedder limit` does and says."""

from __future__ import annotations

import re

import pytest
from rq.defaults import RQ_KEY_PREFIX

from shedder import Shedder
from tests.faults.proxy import DROP_REPLY
from tests.features.changes import check, prepare, proxy_to
from tests.features.conftest import with_patient_limits
from tests.waiting import wait_until


@pytest.fixture
def app(redis):
    """An application that has declared its limits."""
    shedder = with_patient_limits(Shedder(redis), redis)
    shedder.limits.declare("reports", default="100/minute", description="nightly PDFs")
    shedder.limits.declare("search")
    shedder.limits.hit("search")
    wait_until(lambda: 2 == len(shedder.limit_states()))
    yield shedder
    shedder.close()


def test_the_receipt_says_what_holds_and_the_way_back(invoke, app):
    """First the fact, last how to clear and how to undo."""
    done = invoke("limit", "set", "reports", "10/minute", "-k", "tenant=acme", "-r", "floods us")
    assert (0, "reports for tenant=acme is limited to 10/minute.") == (done.code, done.lines[0])
    assert "clear  shedder limit clear reports --key tenant=acme" in done.lines
    assert re.search(r"undo +shedder undo \d+-\d+", done.out)


def test_shadow_and_end_are_told(invoke, app):
    """A limit that refuses nothing says so."""
    done = invoke("limit", "set", "search", "1/s", "--shadow", "--for", "1h", "-r", "try")
    assert re.match(r"search is limited to 1/second until .* in shadow mode", done.lines[0])


def test_a_cleared_limit_falls_back_to_the_code(invoke, app):
    """What holds again is told; a second time there is nothing to clear."""
    invoke("limit", "set", "reports", "10/minute", "-r", "why")
    done = invoke("limit", "clear", "reports", "-r", "fine")
    assert "reports is limited to 100/minute, as without this setting." == done.lines[0]
    assert "reports is not set: nothing to clear." == invoke("limit", "clear", "reports", "-r", "fine").lines[0]


def test_the_list_and_the_status_show_hits_and_who(invoke, app):
    """The rate in force, the default, what was let through and refused, and who did it."""
    invoke("limit", "set", "search", "2/minute", "-r", "slow", "--by", "oncall@ops")
    wait_until(lambda: app._watch.known.limits)
    for _ in range(5):
        app.limits.hit("search")
    listed = invoke("limit", "list")
    assert re.search(r"search +- +2/minute +- +2 +3 +oncall@ops: slow", listed.lines[1])
    assert re.search(r"limit search 2/minute since .* by oncall@ops: slow \[2", invoke("status").out)


def test_a_test_counts_nothing(invoke, app):
    """`test` says what a hit would be told, and its exit code says it too."""
    assert 0 == invoke("limit", "test", "search").code
    assert "search is off" in invoke("limit", "test", "search").out
    for _ in range(100):
        app.limits.hit("reports")
    done = invoke("limit", "test", "reports")
    assert 3 == done.code
    assert re.match(r"reports refuses: 100 of 100/minute used, the next in \d+\.\d s", done.out)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["report", "1/s"], 3, "known: reports"),
        (["reports", "0/s"], 2, "shedder pause"),
        (["reports", "fast"], 2, "200/second"),
        (["reports", "1/s", "--for", "soon"], 2, "--for"),
        (["re ports", "1/s"], 2, "without spaces"),
    ],
)
def test_bad_input_changes_nothing(invoke, app, redis, words, code, said):
    """What is not accepted is told in one line, with what would be."""
    done = invoke("limit", "set", *words, "-r", "why")
    assert (code, 1) == (done.code, len(done.err.splitlines()))
    assert said in done.err
    assert not redis.exists(f"{RQ_KEY_PREFIX}:shedder:limits", f"{RQ_KEY_PREFIX}:shedder:events")


def test_a_changed_limit_on_starts_says_what_it_replaced(invoke, mail):
    """The receipt and the undo tell both terms; the journal tells what was set."""
    words = ("limit", "starts", "mail", "--rate", "5/second", "--at-once", "1")
    invoke(*words, "-r", "slow", "--by", "oncall@ops")
    done = invoke("limit", "starts", "mail", "--rate", "9/second", "-r", "faster")
    assert "mail is limited to 9/second." == done.lines[0]
    assert re.search("This takes the place of 5/second, 1 at once since .* by oncall@ops: slow", done.out)
    assert "9/second, every job" in invoke("events").lines[-1]
    undone = invoke("undo", "-r", "too fast", "--json").json
    assert ("limit starts", "5/second") == (undone["kind"], undone["receipt"]["rate"])
    assert "mail is limited to 9/second." == invoke("undo", undone["receipt"]["event"], "-r", "x").lines[0]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["limit", "set", "reports", "9/minute"], "whether reports is changed; check with: shedder limit"),
        (["limit", "clear", "reports"], "whether reports is changed; check with: shedder limit"),
        (["flag", "degrade", "hints"], "whether hints is changed; check with: shedder flag"),
        (["flag", "restore", "hints"], "whether hints is changed; check with: shedder flag"),
        (["undo"], "whether it is undone; check with: shedder events"),
    ],
)
def test_a_reply_that_never_came_is_told_with_how_to_look(invoke, server, redis, words, says):
    """Exit 4 and one line; the change itself is there as a whole, with its event."""
    prepare(redis)
    with proxy_to(server) as proxy:
        proxy.order(DROP_REPLY, times=99)
        done = invoke(*words, "-r", "why", "-u", proxy.url, "--by", "ana@desk")
    assert (4, 1) == (done.code, len(done.err.splitlines()))
    assert says in done.err
    check(redis)


def test_json_follows_its_schema(invoke, app):
    """Each answer is one JSON object of a known shape."""
    done = invoke("limit", "set", "search", "2/minute", "-r", "x", "--json").json
    assert "2/minute" == done["limits"][0]["rate"]
    assert 2 == len(invoke("limit", "list", "--json").json["limits"])
    assert invoke("limit", "test", "search", "--json").json["is_within"]
    assert 1 == len(invoke("status", "--json").json["limits"])
    assert "limit" == invoke("undo", "-r", "x", "--json").json["kind"]
