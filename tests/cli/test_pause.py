"""What `pause` and `resume` do and say."""

from __future__ import annotations

import re

import pytest
import rq
from rq.defaults import RQ_KEY_PREFIX

from shedder.rq import Queue
from tests.cli import jobs
from tests.cli.conftest import start_worker
from tests.cli.programs import Terminal
from tests.waiting import wait_until

UNDO = re.compile(r"undo +(shedder undo [0-9]+-[0-9]+)\n")


def test_the_receipt_says_what_is_and_what_comes_next(invoke, mail):
    """First the fact with numbers, then the lanes, and last the way back."""
    done = invoke("pause", "mail", "-r", "database at 99 %", "--by", "oncall@ops")
    assert 0 == done.code
    assert "mail is paused: 8 jobs wait, none runs." == done.lines[0]
    assert ["lane      waiting", "mail            3", "mail.low        5"] == [
        line.rstrip() for line in done.lines[2:5]
    ]
    assert "No worker serves this now." in done.out
    assert "resume  shedder resume mail" in done.lines
    assert UNDO.search(done.out)
    assert "" == done.err


def test_a_lane_alone_needs_no_table(invoke, mail):
    """Only one lane has something: the first line says it all."""
    assert "mail.low is paused: 5 jobs wait, none runs." == invoke("pause", "mail.low", "-r", "why").lines[0]


def test_a_pause_can_end_by_itself(invoke, mail):
    """The time of its end is told, absolute and relative."""
    done = invoke("pause", "mail", "-r", "why", "--for", "30m")
    assert re.match(r"mail is paused until (.* )?\d\d:\d\d UTC \(30m\): 8 jobs wait", done.out)


def test_a_second_pause_says_what_it_replaces(invoke, mail):
    """Nobody's reason is overwritten in silence."""
    invoke("pause", "mail", "-r", "first", "--by", "oncall@ops")
    done = invoke("pause", "mail", "-r", "second", "--by", "second@ops")
    assert re.search(r"takes the place of the pause since .* by oncall@ops: first", done.out)


def test_stock_workers_are_named_with_what_that_means(invoke, mail, redis, background):
    """A worker that cannot obey is named, and so is one that does."""
    start_worker(background, redis, "mail", name="ours")
    start_worker(background, redis, "other", "mail", stock=True, name="theirs")
    out = invoke("pause", "mail", "-r", "why").out
    assert "1 worker obeys: ours." in out
    assert "1 stock RQ worker does not obey this: theirs. The jobs that wait were taken out" in out


def test_running_jobs_are_listed_and_waited_for(program, redis, background, gate):
    """`--wait` gives up after its time with exit 3, and returns when they have ended."""
    queue = Queue("mail", connection=redis)
    job = queue.enqueue(jobs.run_until_gone, str(gate))
    start_worker(background, redis, "mail", name="ours")
    wait_until(lambda: job.get_status() == "started", what="the job")
    done = program("pause", "mail", "--wait", "100ms", "-r", "why")
    assert 3 == done.code
    assert "mail is paused: 0 jobs wait, 1 still runs." == done.lines[0]
    assert re.search(rf"{job.id} +\S+ +tests.cli.jobs.run_until_gone +ours", done.out)
    assert f"time is up and {job.id} still runs; mail is paused" in done.err
    gate.unlink()
    done = program("pause", "--wait", "mail", "-r", "why", "--json")
    assert 0 == done.code
    assert [] == done.json["still_running"]


def test_ctrl_c_while_waiting_leaves_the_pause_in_force(env, redis, background, gate):
    """The last line says what was left, and the exit code that somebody pressed Ctrl-C."""
    job = Queue("mail", connection=redis).enqueue(jobs.run_until_gone, str(gate))
    start_worker(background, redis, "mail")
    wait_until(lambda: job.get_status() == "started", what="the job")
    with Terminal("pause", "mail", "--wait", "-r", "why", env=env) as terminal:
        terminal.wait_for("waiting for 1 running job: tests.cli.jobs.run_until_gone")
        terminal.interrupt()
        assert 130 == terminal.end()
        assert "shedder: stopped; mail is paused, and what runs goes on" in terminal.text
    assert redis.hexists(f"{RQ_KEY_PREFIX}:shedder:pauses", "mail")
    gate.unlink()


def test_the_reason_is_asked_for_on_a_terminal(env, redis, mail):
    """A person who gave none is asked until there is one; the journal has it."""
    with Terminal("pause", "mail", env=env) as terminal:
        terminal.wait_for("Why pause mail?")
        terminal.type("\n")
        terminal.wait_for("Why pause mail?", after=terminal.text.index("?") + 1)
        terminal.type("database at 99 %\n")
        terminal.wait_for("mail is paused: 8 jobs wait")
        assert 0 == terminal.end()
    assert b"database at 99 %" in redis.xrange(f"{RQ_KEY_PREFIX}:shedder:events")[0][1][b"head"]


def test_ctrl_c_at_the_question_changes_nothing(env, redis, mail):
    """Who thinks again has changed nothing, and reads that."""
    with Terminal("pause", "mail", env=env) as terminal:
        terminal.wait_for("Why pause mail?")
        assert 130 == terminal.interrupt_question()
        assert "shedder: stopped; nothing was changed" in terminal.text
    assert not redis.exists(f"{RQ_KEY_PREFIX}:shedder:pauses")


def test_all_pauses_every_queue(invoke, redis, mail):
    """`--all` stands for every queue that RQ knows."""
    Queue("reports", connection=redis).enqueue(jobs.send_receipt)
    done = invoke("pause", "--all", "-r", "why")
    assert "mail and reports are paused: 9 jobs wait, none runs." == done.lines[0]


def test_all_queues_are_all_but_those_that_are_refused(invoke, redis):
    """`--all` says which queues of RQ it leaves out, and why."""
    for name in ("orders", "orders.normal"):
        rq.Queue(name, connection=redis).enqueue("app.mail.send")
    done = invoke("pause", "--all", "-r", "why")
    assert 0 == done.code
    assert "not among all queues: the queue 'orders.normal' is refused" in " ".join(done.err.split())
    assert "orders.normal" not in done.out


def test_a_queue_that_nobody_knows_is_paused_with_a_warning(invoke, mail):
    """A pause may be set before the first job; a typing error is mentioned."""
    done = invoke("pause", "maill", "-r", "why")
    assert 0 == done.code
    assert "maill is paused: 0 jobs wait, none runs." == done.lines[0]
    assert ("warning: no queue is called maill (did you mean mail?); it is paused all the same\n") == done.err


def test_an_end_that_no_longer_holds_is_told(invoke, mail):
    """A pause without an end in place of one with an end says until when that was."""
    invoke("pause", "mail", "--for", "1h", "-r", "first")
    done = invoke("pause", "mail", "-r", "second")
    assert re.search(r"takes the place of the pause until .* \((1h|59m [0-9]+s)\) since .*: first", done.out)


def test_at_a_terminal_the_nearest_queue_is_offered(env, redis, mail):
    """A yes takes the queue that is meant; its lane stays the one that was typed."""
    with Terminal("pause", "maill.low", "-r", "why", env=env) as terminal:
        terminal.wait_for("No queue is called maill. Did you mean mail? [y/n]")
        terminal.type("y\n")
        assert 0 == terminal.end()
    assert {b"mail.low"} == set(redis.hkeys(f"{RQ_KEY_PREFIX}:shedder:pauses"))


def test_at_a_terminal_an_unknown_queue_is_paused_only_after_a_yes(env, redis, mail):
    """A no to both questions changes nothing; with nothing near only the second one is asked."""
    with Terminal("pause", "maill", "-r", "why", env=env) as terminal:
        terminal.wait_for("Did you mean mail? [y/n]")
        terminal.type("n\n")
        terminal.wait_for("No queue is called maill. Pause maill all the same? [y/N]")
        terminal.type("n\n")
        assert 1 == terminal.end()
        assert "nothing was changed, because you said no" in terminal.text
    assert not redis.exists(f"{RQ_KEY_PREFIX}:shedder:pauses")
    with Terminal("pause", "reports", "-r", "why", env=env) as terminal:
        terminal.wait_for("No queue is called reports; there is mail. Pause reports all the same? [y/N]")
        terminal.type("y\n")
        assert 0 == terminal.end()
    with Terminal("resume", "reports", "-r", "why", env=env) as terminal:
        terminal.wait_for("reports is resumed")
        assert 0 == terminal.end()
        assert "No queue" not in terminal.text


def test_resume_ends_the_pause_and_says_whose_it_was(invoke, mail):
    """The receipt tells what may start now, and what stood until now."""
    invoke("pause", "mail", "-r", "database at 99 %", "--by", "oncall@ops")
    done = invoke("resume", "mail", "-r", "it is fine")
    assert 0 == done.code
    assert "mail is resumed: 8 jobs wait and may start." == done.lines[0]
    assert re.search(r"The pause stood since .* by oncall@ops: database at 99 %", done.out)
    assert UNDO.search(done.out)


def test_resuming_what_is_not_paused_is_no_failure(invoke, mail):
    """What is asked for holds already."""
    done = invoke("resume", "mail", "-r", "why")
    assert 0 == done.code
    assert ["mail is not paused: nothing to resume."] == done.lines


def test_a_part_that_was_not_paused_is_named(invoke, mail):
    """Of two, one was paused."""
    invoke("pause", "mail.low", "-r", "why")
    done = invoke("resume", "mail.low", "mail.high", "-r", "why")
    assert "mail.low is resumed: 5 jobs wait and may start." == done.lines[0]
    assert "mail.high was not paused." in done.lines


@pytest.mark.parametrize("option", ["-u", "-c"])
def test_the_way_back_names_the_same_server(option, program, redis, server, tmp_path, mail):
    """A command to be copied goes to the server that this one went to."""
    (tmp_path / "our_settings.py").write_text(f"REDIS_URL = {server.url!r}\n")
    value = {"-u": server.url, "-c": "our_settings"}[option]
    done = program("pause", "mail", "-r", "why", option, value, env={"SHEDDER_REDIS_URL": ""},
                   cwd=tmp_path)  # fmt: skip
    assert f"resume  shedder resume {option} {value} mail" in done.lines


def test_the_way_back_does_not_tell_the_password(server_factory, program):
    """A receipt is pasted into channels; the password of the URL is not in it."""
    own = server_factory(config={"requirepass": "hunter2"})
    done = program("pause", "mail", "-r", "why", "-u", f"{own.url}?password=hunter2")
    assert "resume  shedder resume -u URL mail" in done.lines
    assert "hunter2" not in done.out + done.err
