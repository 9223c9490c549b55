"""What `retry` does and says, with jobs that real workers have failed and bring to their end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rq.registry import FailedJobRegistry

from shedder.rq import Queue, SimpleWorker
from tests.cli import jobs
from tests.cli.conftest import start_worker
from tests.cli.programs import Terminal
from tests.cli.test_completion import completed
from tests.waiting import wait_until
from tests.workers import run_burst


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """The file that the jobs need."""
    return tmp_path / "database"


@pytest.fixture
def failed(redis, database) -> Queue:
    """The queue `mail` with 3 jobs that need the database, and 1 other, all failed."""
    queue = Queue("mail", connection=redis)
    for _ in range(3):
        queue.enqueue(jobs.need, str(database))
    queue.enqueue(jobs.break_down)
    run_burst(SimpleWorker(["mail"], connection=redis))
    assert 4 == FailedJobRegistry("mail", connection=redis).count
    return queue


def test_a_dry_run_tells_what_would_come_back_and_the_next_command(invoke, failed):
    """By function and exception, never with the text of an error; nothing changes."""
    done = invoke("retry", "mail", "--error", "ConnectionError: no database*", "--dry-run")
    assert 0 == done.code
    assert "3 of 4 failed jobs of mail would come back." == done.lines[0]
    assert any(line.split()[:3] == ["tests.cli.jobs.need", "ConnectionError", "3"] for line in done.lines)
    assert "10.0.0.7" not in done.out
    follow = "shedder retry mail --error 'ConnectionError: no database*' --rate 50/second -r \"it is back\""
    assert any(follow in line for line in done.lines)
    assert 4 == failed.failed_job_registry.count


def test_the_timeline_of_an_incident_has_one_line_for_a_retry(invoke, failed):
    """With all jobs that come back, and the way back."""
    invoke("incident", "open", "mails fail", "-s", "2")
    invoke("retry", "mail", "--exception", "Connection*", "--rate", "1/hour", "-r", "database is back")
    lines = [line for line in invoke("incident", "timeline").lines if "mail by" in line]
    assert 1 == len(lines), lines
    assert "retry mail by" in lines[0]
    assert "1/hour, 3 jobs in the backlog" in invoke("incident", "timeline").out.replace("\n  ", " ")


def test_when_nothing_matches_the_most_common_errors_are_shown(invoke, failed):
    """They are what people choose from; it exits with 3."""
    done = invoke("retry", "mail", "--exception", "Nope", "--dry-run")
    assert (3, "None of 4 failed jobs of mail would come back: exception Nope.") == (done.code, done.lines[0])
    assert ["ConnectionError", "3"] in [line.split() for line in done.lines]


def test_it_brings_them_back_and_says_how_to_stop_and_undo(invoke, redis, failed, database):
    """Without a terminal the order is given, and the command returns."""
    done = invoke("retry", "mail", "--exception", "Connection*", "--rate", "1000/s", "-r", "database is back")
    assert (0, "3 of 4 failed jobs come back at 1000/second.") == (done.code, done.lines[0])
    assert "stop   shedder retry mail --stop" in done.lines
    assert any(line.startswith("undo   shedder undo ") for line in done.lines)
    database.touch()
    wait_until(lambda: _end(redis) and 1 == failed.failed_job_registry.count, what="the jobs' end")
    assert 3 == failed.finished_job_registry.count


def _end(redis) -> bool:
    run_burst(SimpleWorker(["mail"], connection=redis))
    return True


def test_undo_says_how_many_are_among_the_failed_again(invoke, failed):
    """They are where they were."""
    invoke("retry", "mail", "--rate", "1/hour", "-r", "back")
    done = invoke("undo", "-r", "not yet")
    assert (0, "4 jobs are among the failed again, as before.") == (done.code, done.lines[0])
    assert 4 == failed.failed_job_registry.count


def test_stop_keeps_them_in_the_backlog(invoke, failed):
    """It exits with 3 where no retry is under way."""
    invoke("retry", "mail", "--rate", "1/hour", "-r", "back")
    done = invoke("retry", "mail", "--stop", "-r", "slow")
    assert (0, "The drain of mail has stopped: 4 jobs wait in the backlog.") == (done.code, done.lines[0])
    assert 3 == invoke("retry", "news", "--stop", "-r", "slow").code


def test_a_canary_waits_and_says_how_the_first_jobs_did(program, redis, failed, database, background):
    """Two that succeed; the next command brings back the rest."""
    database.touch()
    start_worker(background, redis, "mail")
    done = program("retry", "mail", "--exception", "Connection*", "--first", "2", "--rate", "100/s", "-r", "a canary")
    assert 0 == done.code
    assert "2 of 2 done." in done.lines
    assert any("shedder retry mail --dry-run --exception 'Connection*'" in line for line in done.lines)
    assert 2 == failed.failed_job_registry.count


def test_a_canary_that_fails_again_says_with_what_and_exits_with_1(program, redis, failed, background):
    """The exception's class is told; also as JSON."""
    start_worker(background, redis, "mail")
    words = ("retry", "mail", "--function", "*.need", "--first", "2", "--rate", "100/s", "-r", "a canary")
    done = program(*words)
    assert 1 == done.code
    assert "0 of 2 done, 2 failed again with ConnectionError." in done.lines
    told = json.loads(program(*words, "--json").out)
    assert ({"failed": 2, "well": 0}, 2) == (
        {name: told["ends"][name] for name in ("failed", "well")},
        len(told["ids"]),
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("mail",), "at which rate"),
        (("mail", "--stop", "--rate", "5/s"), "--stop goes with"),
        (("mail", "--rate", "5/s", "--detach", "--wait"), "exclude each other"),
        (("mail", "--rate", "5/s", "--since", "nonsense"), "--since"),
        (("mail", "--rate", "5/s", "--first", "0"), "first"),
        ((), "say what to retry"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(invoke, failed, words, said):
    """Before a job is touched."""
    done = invoke("retry", *words, "-r", "back")
    assert 2 == done.code
    assert said in done.err
    assert 4 == failed.failed_job_registry.count


def test_at_a_terminal_the_rate_is_asked_for(env, failed):
    """Neither the command nor the policy has one."""
    with Terminal("retry", "mail", "--detach", "-r", "back", env=env) as terminal:
        terminal.wait_for("At which rate")
        terminal.type("1/hour\r")
        terminal.wait_for("come back at 1/hour")


def test_functions_and_exceptions_complete(program, failed):
    """Those of the last failed jobs."""
    assert ["ConnectionError"] == completed(program, "retry", "mail", "--exception", "Conn")
    assert ["tests.cli.jobs.need"] == completed(program, "retry", "mail", "--function", "tests.cli.jobs.n")
