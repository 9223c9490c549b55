"""What `drain` does and says."""

from __future__ import annotations

import re

import pytest
from rq.defaults import RQ_KEY_PREFIX

from shedder.rq import Queue
from tests.cli import jobs
from tests.cli.conftest import fill, start_worker
from tests.cli.programs import Terminal, environment
from tests.servers import patient
from tests.waiting import wait_until


@pytest.fixture
def diverted(invoke, mail):
    """The queue `mail` with 5 newsletters in the backlog and 3 receipts waiting."""
    invoke("divert", "mail.low", "-r", "only receipts now")
    return mail


def test_the_order_is_given_and_told(invoke, diverted):
    """Without a terminal the order is given, its forecast told, and the command returns."""
    done = invoke("drain", "mail", "--rate", "2/second", "-r", "it is fine")
    assert 0 == done.code
    assert "The backlog of mail.low drains at 2/second: 5 jobs, at least 2.5s." == done.lines[0]
    assert "watch  shedder status mail.low --watch" in done.lines
    assert "stop   shedder drain mail.low --stop" in done.lines


def test_a_drain_that_stays_ends_the_command_and_not_the_divert(program, redis, diverted, background):
    """With --stay the command ends at an empty backlog, and says what is still in force."""
    start_worker(background, redis, "mail")
    done = program("drain", "mail.low", "--rate", "50/s", "--stay", "--wait", "-r", "fine")
    assert 0 == done.code
    assert "mail.low is still diverted: what arrives there is drained too." in done.lines
    assert redis.hexists(f"{RQ_KEY_PREFIX}:shedder:diverts", "mail.low")


def test_a_new_rate_says_what_it_was(invoke, diverted):
    """Said again, the order changes the rate."""
    invoke("drain", "mail.low", "--rate", "2/second", "-r", "fine")
    done = invoke("drain", "mail.low", "--rate", "1/minute", "-r", "too fast")
    assert "drains at 1/minute (it was 2/second): 5 jobs, at least 5m." in done.lines[0]


def test_a_drain_stops(invoke, diverted):
    """The jobs that are left stay in the backlog."""
    invoke("drain", "mail.low", "--rate", "1/hour", "-r", "fine")
    done = invoke("drain", "mail.low", "--stop", "-r", "slow again")
    assert 0 == done.code
    assert "The drain of mail.low has stopped: 5 jobs wait in the backlog." == done.lines[0]


def test_a_stopped_drain_shows_how_to_go_on(invoke, diverted):
    """The end of a drain has no undo; the receipt shows the order that was stopped instead."""
    invoke("drain", "mail.low", "--rate", "1/hour", "-r", "fine")
    done = invoke("drain", "mail.low", "--stop", "-r", "slow again")
    assert "go on  shedder drain mail.low --rate 1/hour" == done.lines[-1]
    assert not any("undo" in line for line in done.lines)


def test_a_drain_that_never_was_shows_no_way_on(invoke, diverted):
    """Without a rate that was stopped there is no order to give again."""
    done = invoke("drain", "mail.low", "--stop", "-r", "to be sure")
    assert not any("undo" in line or "--rate" in line for line in done.lines)


def test_all_of_it_at_once(invoke, diverted):
    """`--at-once` puts everything back and ends the divert."""
    done = invoke("drain", "mail.low", "--at-once", "-r", "only five")
    assert 0 == done.code
    assert ["5 jobs of mail.low are back in place; the divert has ended."] == done.lines
    assert 5 == diverted.low.count


def test_at_once_is_confirmed_on_a_terminal(env, diverted):
    """A person is asked before a pile is released, and a no changes nothing."""
    with Terminal("drain", "mail.low", "--at-once", "-r", "why", env=env) as terminal:
        terminal.wait_for("Put the whole backlog of mail.low back at once, without a rate? [y/N]")
        terminal.type("n\n")
        assert 1 == terminal.end()
    assert 0 == diverted.low.count


@pytest.mark.parametrize("how", [["--rate", "1/s"], ["--stop"], ["--at-once"]])
def test_without_a_divert_there_is_nothing_to_drain(how, invoke, mail):
    """Nothing matched: exit 3, in plain words."""
    done = invoke("drain", "mail", *how, "-r", "why")
    assert 3 == done.code
    assert "No divert is in force there: nothing to" in done.lines[0]


def test_a_watched_drain_ends_with_its_numbers(env, redis, diverted, background):
    """On a terminal the command stays, shows what is left, and tells what was released."""
    start_worker(background, redis, "mail")
    with Terminal("drain", "mail", "--rate", "50/second", "-r", "fine", env=env) as terminal:
        terminal.wait_for("The backlog of mail.low drains at 50/second: 5 jobs", "left")
        assert 0 == terminal.end()
        assert re.search(r"The backlog of mail.low: 5 jobs released in ", terminal.text)
    assert not redis.exists(f"{RQ_KEY_PREFIX}:shedder:diverts")


def test_ctrl_c_leaves_the_order_running(env, redis, diverted):
    """Who stops looking stops nothing, reads that, and how to stop it."""
    with Terminal("drain", "mail", "--rate", "1/hour", "-r", "fine", env=env) as terminal:
        terminal.wait_for("5 left")
        terminal.interrupt()
        assert 130 == terminal.end()
        assert (
            "shedder: stopped; the order stands: mail drains at 1/hour; to stop it:\n  shedder drain mail --stop"
        ) in terminal.text
    assert b'"drain"' in redis.hget(f"{RQ_KEY_PREFIX}:shedder:diverts", "mail.low")


def test_detached_on_a_terminal_returns_at_once(env, diverted):
    """`--detach` gives the order and does not stay."""
    with Terminal("drain", "mail", "--rate", "1/hour", "--detach", "-r", "fine", env=env) as terminal:
        assert 0 == terminal.end()
        assert "The backlog of mail.low drains at 1/hour" in terminal.text
        assert "left" not in terminal.text


def test_a_wait_that_is_too_short_is_a_no(invoke, diverted):
    """`--wait` with a duration exits with 3 when that was not enough, and the order stands."""
    done = invoke("drain", "mail", "--rate", "1/hour", "--wait", "200ms", "-r", "fine")
    assert 3 == done.code
    assert "warning: time is up; the order stands: mail drains at 1/hour" in done.err


def test_stock_workers_get_their_jobs_while_the_command_stays(program, redis, background):
    """Where only stock workers serve, `--wait` releases the jobs itself, until none is left."""
    fill(Queue("mail", connection=redis), receipts=12)
    program("divert", "mail", "-r", "why")
    start_worker(background, redis, "mail", stock=True, name="theirs")
    detached = program("drain", "mail", "--rate", "100/second", "-r", "fine")
    assert "1 stock RQ worker does not obey this: theirs. Where only stock" in detached.out
    done = program("drain", "mail", "--rate", "100/second", "--wait", "-r", "fine", "--json")
    assert 0 == done.code
    released = {each["lane"]: (each["released"], each["is_done"]) for each in done.json["progress"]}
    assert (12, True) == released["mail"]
    queue = Queue("mail", connection=redis)
    wait_until(lambda: queue.finished_job_registry.count == 12, what="the jobs")


def test_skipped_jobs_are_counted_and_named(program, redis, background):
    """Jobs that were cancelled in the backlog do not run, and the receipt says which."""
    queue = Queue("mail", connection=redis)
    kept, cancelled = queue.enqueue(jobs.send_receipt), queue.enqueue(jobs.send_receipt)
    program("divert", "mail", "-r", "why")
    cancelled.cancel()
    start_worker(background, redis, "mail")
    done = program("drain", "mail", "--rate", "100/second", "--wait", "-r", "fine")
    assert 0 == done.code
    assert re.search(r"Skipped, because they could not run any more: 1 cancell?ed\.", done.out)
    assert cancelled.id in done.out
    assert kept.id not in done.out


def test_a_drain_outlives_a_redis_that_restarts(server_factory, program, mail):
    """While Redis is away the command says so, and goes on when it is back."""
    own = server_factory(appendonly=True)
    client = own.client()
    fill(Queue("mail", connection=client), receipts=2)
    env = {"SHEDDER_REDIS_URL": patient(own.url)}
    program("divert", "mail", "-r", "why", env=env)
    words = ("drain", "mail", "--rate", "1/hour", "-r", "fine")
    with Terminal(*words, env=environment(**env)) as terminal:
        terminal.wait_for("2 left")
        own.kill()
        terminal.wait_for("Redis is away, trying again; the order stands")
        seen = len(terminal.text)
        own.start()
        terminal.wait_for("2 left", after=seen)
        terminal.interrupt()
        assert 130 == terminal.end()
    client.close()


def test_a_drain_that_nobody_serves_says_so_once(invoke, diverted, monkeypatch):
    """Whoever waits for it in a script learns why nothing moves, before the time is up."""
    monkeypatch.setattr("shedder.cli.drain.STEPS_BETWEEN_LOOKS", 1)
    done = invoke("drain", "mail", "--rate", "50/s", "-r", "fine", "--wait", "1s")
    assert 3 == done.code
    assert 1 == done.err.count("no worker serves mail.low, so its drain stands until one is started")


def test_a_drain_that_somebody_serves_says_nothing_of_it(program, redis, diverted, background):
    """A worker of its lanes is enough."""
    start_worker(background, redis, "mail")
    done = program("drain", "mail", "--rate", "50/s", "-r", "fine", "--wait")
    assert (0, False) == (done.code, "no worker" in done.err)
