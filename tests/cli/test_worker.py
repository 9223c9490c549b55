"""`shedder worker` starts RQ's worker with our classes."""

from __future__ import annotations

import re

import pytest

from shedder.rq import Queue, SimpleWorker
from tests.cli import jobs
from tests.servers import patient


@pytest.mark.parametrize("kind", ["fork", "simple", "spawn"])
def test_a_worker_of_each_class_does_its_jobs(kind, program, redis, mail):
    """Options of `rq worker` pass through, lanes are served, and logs go to standard error."""
    done = program("worker", "mail", "--burst", "--class", kind, "--name", "w1", "--max-jobs", "8")
    assert 0 == done.code
    assert "" == done.out
    assert "w1" in done.err
    assert 3 == mail.finished_job_registry.count
    assert 5 == mail.low.finished_job_registry.count


def test_a_worker_obeys_a_pause(program, redis, mail):
    """It is a worker of ours."""
    program("pause", "mail.low", "-r", "why")
    program("worker", "mail", "--burst", "--class", "simple", "--quiet")
    assert (0, 5) == (mail.count, mail.low.count)


def test_a_settings_module_is_read_by_the_worker_too(program, redis, server, tmp_path):
    """With -c the queues of the settings are served."""
    (tmp_path / "our_settings.py").write_text(f"REDIS_URL = {patient(server.url)!r}\nQUEUES = ['from_settings']\n")
    queue = Queue("from_settings", connection=redis)
    queue.enqueue(jobs.send_receipt)
    done = program("worker", "-c", "our_settings", "--burst", "--class", "simple", cwd=tmp_path,
                   env={"SHEDDER_REDIS_URL": ""})  # fmt: skip
    assert 0 == done.code
    assert 1 == queue.finished_job_registry.count


def test_a_server_that_is_away_is_told_at_the_start(program):
    """A worker that cannot start says so in one line, with exit 4."""
    done = program("worker", "mail", "-u", "redis://127.0.0.1:1")
    assert 4 == done.code
    assert 1 == len(done.err.splitlines())


def test_a_queue_that_could_be_meant_for_another_is_refused(program):
    """A worker for such a name ends at once, with one line that says what to do."""
    done = program("worker", "mail", "orders.normal", "--burst")
    assert 1 == done.code
    (line,) = done.err.splitlines()
    assert "the queue 'orders.normal' is refused" in line
    assert "rename it, or use the queue orders" in line


def test_a_wrong_option_is_refused(program):
    """What `rq worker` does not know is refused as any other option."""
    done = program("worker", "mail", "--nonsense")
    assert 2 == done.code
    (line,) = done.err.splitlines()
    assert line.startswith("shedder: No such option")  # the rest differs from click to click
    assert "--nonsense" in line
    assert line.endswith(" See shedder worker --help")


def test_what_ends_rqs_own_command_is_one_line(program, redis, mail):
    """A failure inside `rq worker` shows no traceback."""
    done = program("worker", "mail", "--burst", "--exception-handler", "no.such.handler")
    assert 1 == done.code
    assert "Traceback" not in done.err
    assert "handler" in done.err


def test_a_prefix_gives_each_start_a_name_of_its_own(program, redis):
    """Of a worker that was killed nothing is in the way of the next one."""
    names = set()
    for _ in range(2):
        done = program("worker", "mail", "--burst", "--class", "simple", "--name-prefix", "w")
        names |= set(re.findall(r"Worker (w-[0-9a-f]{8}): started", done.err))
    assert 2 == len(names)


@pytest.mark.parametrize("name", [["--name", "w1"], ["--name=w1"], ["-n", "w1"], ["-nw1"]])
def test_a_worker_has_one_name(program, redis, name):
    """Which of two was meant is not guessed."""
    done = program("worker", "mail", "--burst", "--name-prefix", "w", *name)
    assert 2 == done.code
    assert "leave --name or --name-prefix out" in done.err


def test_a_name_that_is_taken_is_never_taken_over(program, redis):
    """Whether its worker is alive nobody can know, and the line says until when, and what to do."""
    SimpleWorker(["mail"], name="w1", connection=redis).register_birth()
    done = program("worker", "mail", "--burst", "--class", "simple", "--name", "w1")
    assert 1 == done.code
    assert "There exists an active worker named 'w1' already." in done.err
    assert "its record ends within " in done.err
    assert "--name-prefix w1" in done.err


def test_a_name_is_free_after_a_polite_end(program, redis):
    """RQ keeps the record for a minute more, with the time of the death."""
    words = ("worker", "mail", "--burst", "--class", "simple", "--name", "w1")
    assert [0, 0] == [program(*words).code for _ in range(2)]
