"""What `doctor` says, and what it asks before it repairs anything."""

from __future__ import annotations

import pytest
from rq.defaults import RQ_KEY_PREFIX

from shedder.rq import Queue, SimpleWorker
from tests.cli import jobs
from tests.cli.conftest import all_keys
from tests.cli.programs import Terminal, run_program
from tests.workers import run_burst


@pytest.fixture(autouse=True)
def _durable(redis):
    """A server with nothing wrong of its own."""
    redis.config_set("appendonly", "yes")
    yield
    redis.config_set("appendonly", "no")


@pytest.fixture
def lost(redis, mail):
    """A job of `mail` that is in no list."""
    return redis.lpop(f"{RQ_KEY_PREFIX}:queue:mail").decode()


def test_a_sound_system_exits_with_0(invoke, mail):
    """Without a problem the verdict says so, a line for each finding follows, and exit is 0."""
    done = invoke("doctor")
    assert 0 == done.code
    assert done.lines[0].startswith("No problem")
    assert "fine     jobs: 8 jobs are in exactly one place each." in done.lines
    assert invoke("doctor", "--json").json["is_healthy"]


def test_work_that_fails_is_a_problem(invoke, redis):
    """It is no fault of the installation, and who asks whether all is well has to know."""
    for _ in range(20):
        Queue("cards", connection=redis).enqueue(jobs.charge_card)
    run_burst(SimpleWorker(["cards"], connection=redis))
    done = invoke("doctor")
    assert 3 == done.code
    assert done.lines[0].startswith("1 problem")
    assert any(line.startswith("problem  fails: 2/s of cards fail: 20 of 20 jobs in 5m, ") for line in done.lines)
    redis.flushall()
    Queue("cards", connection=redis).enqueue(jobs.charge_card)
    run_burst(SimpleWorker(["cards"], connection=redis))
    assert "fine     ends: 1 of the 1 job that ended in five minutes failed." in invoke("doctor").lines


def test_a_problem_exits_with_3_and_is_named(invoke, lost):
    """A lost job is named, a script can tell, and the command that repairs it is there."""
    done = invoke("doctor")
    assert 3 == done.code
    assert done.lines[0].startswith("1 problem")
    assert any(line.startswith("problem  jobs in no place: 1 job is") for line in done.lines)
    assert f"         {lost}" in done.lines
    assert "repair  shedder doctor --fix -r why" in done.lines
    assert [lost] == invoke("doctor", "--json").json["audit"]["nowhere"]


def test_mending_shows_acts_and_looks_again(invoke, redis, lost):
    """With --fix and --yes it says what it will do, does it, and exits by what is so then."""
    done = invoke("doctor", "--fix", "--yes", "-r", "fail-over")
    assert 0 == done.code
    assert "will repair jobs in no place: put 1 back at the end of their lanes" in done.err
    assert "  jobs in no place: 1 put at the end of their lanes" in done.lines
    assert lost.encode() == redis.lindex(f"{RQ_KEY_PREFIX}:queue:mail", -1)
    assert "repair mail by " in invoke("events").out


def test_mending_as_json(invoke, lost):
    """The object tells what was mended, and how everything is then."""
    found = invoke("doctor", "--fix", "--yes", "-r", "fail-over", "--json").json
    assert (True, [1]) == (found["is_healthy"], [each["count"] for each in found["repairs"]])


def test_nothing_to_mend_changes_nothing(invoke, redis, mail):
    """With --fix on a sound system nobody is asked, and nothing is written."""
    before = all_keys(redis)
    assert 0 == invoke("doctor", "--fix", "--yes", "-r", "r").code
    assert before == all_keys(redis)


@pytest.mark.parametrize(("words", "hint"), [((), "say --yes"), (("--yes",), "say why"), (("-r", "x"), "say --yes")])
def test_where_nobody_can_answer_all_must_be_said(invoke, redis, lost, words, hint):
    """Without a terminal --fix needs --yes and a reason, and refuses before it looks."""
    before = all_keys(redis)
    done = invoke("doctor", "--fix", *words)
    assert (2, True) == (done.code, hint in done.err)
    assert before == all_keys(redis)


def test_at_a_terminal_a_person_decides(env, redis, lost):
    """What will be done is shown first; who says no changes nothing."""
    before = all_keys(redis)
    with Terminal("doctor", "--fix", "-r", "x", env=env) as terminal:
        terminal.wait_for("will repair jobs in no place", "Repair this? [y/N]")
        terminal.type("n\n")
        assert 1 == terminal.end()
    assert before == all_keys(redis)
    with Terminal("doctor", "--fix", "-r", "x", env=env) as terminal:
        terminal.wait_for("Repair this? [y/N]")
        terminal.type("y\n")
        assert 0 == terminal.end()
    assert lost.encode() == redis.lindex(f"{RQ_KEY_PREFIX}:queue:mail", -1)


def test_an_unreachable_server_is_one_line(env):
    """It says what to do, and exits with 4."""
    done = run_program("doctor", "-u", "redis://127.0.0.1:1", env=env)
    assert (4, 1) == (done.code, len(done.err.splitlines()))
