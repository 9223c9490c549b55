"""What `drain` does and says where the jobs fail."""

from __future__ import annotations

import re

import pytest

from shedder.api.shedder import Shedder
from shedder.cli.progress import drain_line
from shedder.rq import Queue, SimpleWorker
from tests.cli import jobs
from tests.cli.conftest import start_worker
from tests.cli.programs import Terminal
from tests.workers import run_burst

ASKS = "30 of 30 jobs of mail that ended in the last 5 minutes failed (LookupError)"


@pytest.fixture
def failing(redis, invoke):
    """The queue `mail` with 30 jobs that failed, and 60 more of them in the backlog."""
    queue = Queue("mail", connection=redis)
    queue.enqueue_many([Queue.prepare_data(jobs.break_down) for _ in range(30)])
    run_burst(SimpleWorker([queue], connection=redis))
    queue.enqueue_many([Queue.prepare_data(jobs.break_down) for _ in range(60)])
    invoke("divert", "mail.normal", "-r", "the database is down")
    return queue


@pytest.fixture
def broken(redis, invoke):
    """The queue `mail` with 60 jobs in the backlog that will fail."""
    queue = Queue("mail", connection=redis)
    queue.enqueue_many([Queue.prepare_data(jobs.break_down) for _ in range(60)])
    invoke("divert", "mail.normal", "-r", "the database is down")
    return queue


def drains(redis):
    """The drains that stand."""
    return [each.drain for lane in Shedder(redis).status().lanes for each in lane.diverts if each.drain]


@pytest.mark.parametrize("how", [("--rate", "50/s"), ("--at-once",)])
def test_a_drain_while_the_lane_fails_is_refused(invoke, redis, failing, how):
    """Without a terminal nothing is changed, and the numbers and the way on are said."""
    done = invoke("drain", "mail", *how, "-r", "why")
    assert (3, "") == (done.code, done.out)
    assert f"{ASKS}; nothing was changed; drain when they succeed, or add --force" in done.err
    assert [] == drains(redis)


def test_forced_it_drains_and_warns(invoke, redis, failing):
    """`--force` goes on, and the numbers are said all the same."""
    done = invoke("drain", "mail", "--rate", "50/s", "--force", "-r", "why")
    assert 0 == done.code
    assert f"warning: {ASKS}" in done.err
    assert 1 == len(drains(redis))


def test_at_a_terminal_it_asks(env, redis, failing):
    """A no changes nothing."""
    with Terminal("drain", "mail", "--rate", "50/s", "-r", "why", env=env) as terminal:
        terminal.wait_for("Drain all the same? [y/N]")
        terminal.type("n\n")
        assert 1 == terminal.end()
        assert "30 of 30 jobs of mail" in terminal.text
    assert [] == drains(redis)


@pytest.mark.parametrize(
    ("how", "code"),
    [
        (("--rate", "9/s"), 0),
        (("--stop",), 0),
        (("--rate", "10/s"), 3),
        (("--rate", "11/s"), 3),
        (("--rate", "9/s", "--halt-at", "never"), 3),
    ],
)
def test_what_releases_more_is_asked_for(invoke, failing, how, code):
    """A higher rate counts as an order, a lower one or a stop does not."""
    invoke("drain", "mail", "--rate", "10/s", "--force", "-r", "why")
    assert code == invoke("drain", "mail", *how, "-r", "why").code


def test_a_lane_with_nothing_to_drain_is_not_asked_for(invoke, failing):
    """Only lanes whose backlog would drain count."""
    invoke("drain", "mail", "--at-once", "--force", "-r", "why")
    done = invoke("drain", "mail", "--rate", "50/s", "-r", "why")
    assert "No divert is in force there: nothing to drain." == done.lines[0]


@pytest.mark.parametrize(
    ("said", "share", "line"),
    [
        ((), 0.5, "It halts by itself when 50% of its last 50 jobs failed, and at least 20 have ended."),
        (("--halt-at", "20%"), 0.2, "It halts by itself when 20% of its last 50 jobs failed"),
        (("--halt-at", "never"), None, "It does not halt by itself, even if every job fails."),
    ],
)
def test_the_receipt_says_at_which_share_it_halts(invoke, broken, said, share, line):
    """So does the JSON of the order."""
    assert line in invoke("drain", "mail", "--rate", "50/s", *said, "-r", "why").out
    assert share == invoke("drain", "mail", "--rate", "50/s", *said, "-r", "why", "--json").json["halt_at"]


def test_the_policy_says_at_which_share_it_halts(invoke, broken, tmp_path):
    """Where the command does not."""
    file = tmp_path / "shedder.toml"
    file.write_text('version = 1\n[defaults]\nhalt_at = "30%"\n')
    invoke("policy", "apply", str(file), "-r", "why")
    assert 0.3 == invoke("drain", "mail", "--rate", "50/s", "-r", "why", "--json").json["halt_at"]


@pytest.mark.parametrize("words", [("--halt-at", "much", "--rate", "1/s"), ("--halt-at", "20%", "--stop")])
def test_what_makes_no_sense_is_refused(invoke, broken, words):
    """A share is percent or `never`, and goes with a rate."""
    done = invoke("drain", "mail", *words, "-r", "why")
    assert 2 == done.code
    assert "--halt-at" in done.err


def test_a_halt_ends_the_bar(env, redis, broken, background):
    """It shows what fails, then says how many failed with what, what is left, and the command that goes on."""
    start_worker(background, redis, "mail")
    with Terminal("drain", "mail", "--rate", "10/second", "-r", "fine", env=env) as terminal:
        terminal.wait_for("/s fail: LookupError")
        assert 1 == terminal.end()
        text = " ".join(terminal.text.split())
        assert re.search(r"The drain of mail has halted: 20 of the last 20 jobs failed \(LookupError\).", text)
        assert re.search(r"20 jobs released, 20 failed so far; 40 jobs stay in the backlog, in order.", text)
        assert "go on, when jobs succeed shedder drain mail.normal --rate 10/second" in text


def test_a_halt_ends_a_wait_without_a_terminal(program, redis, broken, background):
    """With the exit code of a failure, and the halt in the JSON."""
    start_worker(background, redis, "mail")
    done = program("drain", "mail", "--rate", "50/second", "--wait", "-r", "fine", "--json")
    [progress] = done.json["progress"]
    assert (1, 20, 20) == (done.code, progress["halted"]["failed"], progress["failed"])
    assert ("LookupError", True, 40) == (progress["exception"], progress["is_done"], progress["backlog"])


def test_a_halt_of_stock_workers_is_said_too(program, redis, broken, background):
    """The command releases to them and looks in RQ's registries; its receipt says what a halt cannot hold back."""
    start_worker(background, redis, "mail", stock=True, name="theirs")
    done = program("drain", "mail", "--rate", "5/second", "--wait", "-r", "fine")
    assert 1 == done.code
    assert "After a halt they still start what is in their list: at most 10 jobs." in " ".join(done.out.split())
    assert re.search(r"The drain of mail has halted: \d\d of the last \d\d jobs failed.", done.out)


@pytest.mark.parametrize(
    ("failing", "exception", "want"),
    [
        (None, "", "49.4/s of 50.0/s, 10 left, ends in 0s"),
        (
            48.0,
            "sqlalchemy.exc.OperationalError",
            "49.4/s of 50.0/s, 48.0/s fail: OperationalError, 10 left, ends in 0s",
        ),
        (48.0, "", "49.4/s of 50.0/s, 48.0/s fail, 10 left, ends in 0s"),
    ],
)
def test_the_bar_tells_what_fails(failing, exception, want):
    """How many of the released jobs fail a second, and with what most of them do."""
    assert want == drain_line(49.4, left=10, rate=50.0, failing=failing, exception=exception)
