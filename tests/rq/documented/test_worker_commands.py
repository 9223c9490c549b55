"""Do RQ's own commands do what its documentation says, with our classes?

`rq worker`, `worker-pool`, `enqueue`, `cron`, `info`, `suspend` and `resume`, each in a process of
its own, on lanes. The environment alone, and a user's own classes, are in `tests/hosts`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from rq.defaults import RQ_KEY_PREFIX
from rq.job import Job, JobStatus
from rq.serializers import JSONSerializer

from shedder.rq import Queue
from tests.cli.programs import end, environment
from tests.jobs import ended, fail, mark
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from redis import Redis

    from shedder.embedded import EmbeddedServer

CLASSES = {"RQ_WORKER_CLASS": "shedder.rq.Worker", "RQ_QUEUE_CLASS": "shedder.rq.Queue"}
PATIENCE_SECONDS = 90


@pytest.fixture
def env(server: EmbeddedServer) -> dict[str, str]:
    """The environment that names the server and our classes."""
    return environment(RQ_REDIS_URL=server.url, **CLASSES)


@pytest.fixture
def rq(env: dict[str, str], tmp_path: Path) -> Callable[..., str]:
    """Runs `rq` to its end in the test's folder; what it printed."""

    def run(*words: str, code: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "rq.cli", *words], env=env, cwd=tmp_path, text=True,
            capture_output=True, timeout=PATIENCE_SECONDS, check=False,
        )  # fmt: skip
        assert code == done.returncode, done.stderr[-3000:]
        return done.stdout + done.stderr

    return run


@pytest.fixture
def started(env: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Starts `rq`, which goes on until the test ends."""
    with ExitStack() as processes:

        def start(*words: str) -> subprocess.Popen[bytes]:
            process = subprocess.Popen(
                [sys.executable, "-m", "rq.cli", *words], env=env, cwd=tmp_path,
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                start_new_session=True,
            )  # fmt: skip
            processes.callback(end, process)
            return process

        yield start


def break_down() -> None:
    raise LookupError("as the test wants")


def show(*args: Any, **kwargs: Any) -> str:
    return json.dumps([args, kwargs])


def note_it(job: Job, kind: type, *_: Any) -> bool:
    job.connection.rpush(HANDLED, f"one {kind.__name__}")
    return True


def note_it_too(job: Job, kind: type, *_: Any) -> bool:
    job.connection.rpush(HANDLED, f"two {kind.__name__}")
    return True


HERE = "tests.rq.documented.test_worker_commands"
HANDLED = f"{RQ_KEY_PREFIX}:handled"


# rq worker


def test_a_worker_takes_all_options_of_its_page(
    rq: Callable[..., str], mail: Queue, redis: Redis, marks: str, tmp_path: Path
) -> None:
    """Names, times, logs, a file with its number, handlers, at most so many jobs."""
    jobs = [mail.low.enqueue(mark, marks, f"{number}") for number in range(3)]
    failed = mail.high.enqueue(break_down)
    said = rq(
        "worker", "mail", "--name", "desk-1", "--results-ttl", "77", "--worker-ttl", "300",
        "--maintenance-interval", "100", "--job-monitoring-interval", "5", "--max-jobs", "3",
        "--log-format", "said %(message)s", "--date-format", "%H", "--pid", "pid", "--path", ".",
        "--exception-handler", f"{HERE}.note_it", "--exception-handler", f"{HERE}.note_it_too",
        "--disable-job-desc-logging", "--connection-class", "redis.Redis", "--burst",
    )  # fmt: skip
    assert ["0", "1"] == ended(marks)
    assert 1 == len(mail.low)
    assert 0 < redis.ttl(jobs[0].key) <= 77
    assert JobStatus.FAILED == failed.get_status()
    assert [b"one LookupError", b"two LookupError"] == redis.lrange(HANDLED, 0, -1)
    assert int((tmp_path / "pid").read_text())
    assert ("said Worker desk-1" in said, "tests.jobs.mark" in said) == (True, False)


def test_a_worker_ends_when_nothing_has_come_for_so_long(
    rq: Callable[..., str], mail: Queue, marks: str
) -> None:
    """`--max-idle-time`, without `--burst`."""
    mail.low.enqueue(mark, marks, "first")
    rq("worker", "mail", "--max-idle-time", "1")
    assert ["first"] == ended(marks)


def test_a_worker_reads_its_settings_module(
    rq: Callable[..., str], mail: Queue, redis: Redis, marks: str, tmp_path: Path
) -> None:
    """`-c`: queues, name and `DICT_CONFIG`."""
    (tmp_path / "settings.py").write_text(
        "QUEUES = ['mail']\nNAME = 'worker-1024'\nDICT_CONFIG = {'version': 1,"
        " 'disable_existing_loggers': False, 'handlers': {'file':"
        " {'class': 'logging.FileHandler', 'filename': 'said'}}, 'root': {'handlers': ['file'],"
        " 'level': 'INFO'}}\n"
    )
    mail.low.enqueue(mark, marks, "first")
    rq("worker", "-c", "settings", "--path", ".", "--burst")
    assert ["first"] == ended(marks)
    assert "worker-1024" in (tmp_path / "said").read_text()


@pytest.mark.parametrize("strategy", ["default", "round_robin", "random"])
def test_a_worker_takes_a_strategy(
    rq: Callable[..., str], redis: Redis, marks: str, strategy: str
) -> None:
    """`--dequeue-strategy` over several queues; within a priority, as `claims` shows."""
    names = ("one", "two", "three")
    for queue in (Queue(name, connection=redis) for name in names):
        for number in range(2):
            queue.enqueue(mark, marks, f"{queue.name} {number}")
    rq("worker", *names, "--dequeue-strategy", strategy, "--burst")
    expected = {
        "default": [f"{name} {number}" for name in names for number in range(2)],
        "round_robin": [f"{name} {number}" for number in range(2) for name in names],
    }
    got = ended(marks)
    assert expected.get(strategy, got) == got
    assert 6 == len(set(got))


def test_a_worker_takes_a_serializer_by_its_short_name(
    rq: Callable[..., str], redis: Redis
) -> None:
    """`--serializer json`."""
    mail = Queue("mail", connection=redis, serializer="json")
    job = mail.low.enqueue(show, 1, two=3)
    rq("worker", "mail", "--serializer", "json", "--burst")
    assert '[[1], {"two": 3}]' == job.return_value()
    assert JSONSerializer is mail.low.serializer


# rq worker-pool


def test_a_pool_keeps_its_number_of_workers(
    started: Callable[..., Any], mail: Queue, redis: Redis, marks: str
) -> None:
    """`-n`: one that is killed is replaced; all of them are ours; a signal ends the pool."""
    pool = started("worker-pool", "mail", "-n", "2", "-l", "WARNING")
    key = f"{RQ_KEY_PREFIX}:workers"
    wait_until(lambda: redis.scard(key) == 2, timeout=60, what="two workers")
    before = redis.smembers(key)
    victim = min(before)
    wait_until(lambda: redis.hget(victim, "state") == b"idle", timeout=60, what="an idle one")
    os.kill(int(redis.hget(victim, "pid")), signal.SIGKILL)
    wait_until(lambda: len(redis.smembers(key) - before) == 1, timeout=60, what="the new one")
    assert {True} == {redis.hexists(each, "shedder") for each in redis.smembers(key) - before}
    mail.low.enqueue(mark, marks, "first")
    wait_until(lambda: ended(marks) == ["first"], timeout=60, what="the job")
    # before that a worker of a pool has the pool's handlers, and a signal is lost: RQ's own
    new = redis.smembers(key) - {victim}
    wait_until(
        lambda: {redis.hget(each, "state") for each in new} == {b"idle"}, timeout=60, what="rest"
    )
    pool.send_signal(signal.SIGTERM)
    assert 0 == pool.wait(PATIENCE_SECONDS)


def test_a_pool_takes_the_options_of_its_page(
    rq: Callable[..., str], mail: Queue, redis: Redis
) -> None:
    """Handlers, another worker class, a job class, the burst."""
    job = mail.low.enqueue(break_down)
    rq(
        "worker-pool", "mail", "-n", "1", "-b", "-w", "shedder.rq.SimpleWorker", "-j", "rq.job.Job",
        "-S", "pickle", "-P", ".", "--exception-handler", f"{HERE}.note_it", "-q",
    )  # fmt: skip
    assert (JobStatus.FAILED, [b"one LookupError"]) == (
        job.get_status(), redis.lrange(HANDLED, 0, -1),
    )  # fmt: skip


# rq enqueue


def test_jobs_are_enqueued_from_the_command_line(
    rq: Callable[..., str], mail: Queue, redis: Redis, tmp_path: Path
) -> None:
    """Plain text, JSON, literals, files; every option, in a lane."""
    (tmp_path / "file.json").write_text('{"a": 1}')
    words = ("enqueue", "--queue", "mail.low", f"{HERE}.show")
    rq(*words, "abc", "k=v", ':{"j": 1}', "n:=[1]", "%(1, 2)", "t%=True", ":@file.json",
       "--job-id", "shown", "--timeout", "2m", "--result-ttl", "60", "--ttl", "500",
       "--failure-ttl", "70", "--description", "as told", "--retry-max", "2",
       "--retry-interval", "5", "--retry-interval", "6")  # fmt: skip
    rq(*words, "--depends-on", "shown", "--job-id", "after", "--quiet")
    rq(*words, "--at-front", "--job-id", "front")
    rq(*words, "--schedule-in", "1h", "--job-id", "later")
    rq(*words, "--schedule-at", "2040-05-27T21:45:00", "--job-id", "much-later")
    assert ["front", "shown"] == mail.low.job_ids
    assert ["after"] == mail.low.deferred_job_registry.get_job_ids()
    assert ["later", "much-later"] == mail.low.scheduled_job_registry.get_job_ids()
    shown = Job.fetch("shown", redis)
    assert ("as told", 120, 60, 500, 70, 2, [5, 6]) == (
        shown.description, shown.timeout, shown.result_ttl, shown.ttl, shown.failure_ttl,
        shown.retries_left, shown.retry_intervals,
    )  # fmt: skip
    rq("worker", "mail", "--burst")
    assert [["abc", {"j": 1}, [1, 2], {"a": 1}], {"k": "v", "n": [1], "t": True}] == json.loads(
        str(shown.return_value())
    )
    assert JobStatus.FINISHED == Job.fetch("after", redis).get_status()


# rq cron


def test_the_cron_scheduler_fills_lanes(
    started: Callable[..., Any], mail: Queue, marks: str, tmp_path: Path
) -> None:
    """A file with an interval and one with a cron string; a worker of ours does the work."""
    (tmp_path / "cron_config.py").write_text(
        "from rq import cron\nfrom tests.jobs import mark\n"
        f"cron.register(mark, queue_name='mail.low', args=({marks!r}, 'often'), interval=1,"
        " job_timeout=60, result_ttl=60, meta={'tenant': 'acme'}, name='often')\n"
        f"cron.register(mark, queue_name='mail', args=({marks!r}, 'yearly'), cron='0 3 1 1 *')\n"
    )
    scheduler = started("cron", "cron_config.py", "--path", ".")
    started("worker", "mail")
    wait_until(lambda: ended(marks).count("often") >= 2, timeout=60, what="two runs")
    assert {"often"} == set(ended(marks))
    scheduler.send_signal(signal.SIGINT)
    assert 0 == scheduler.wait(PATIENCE_SECONDS)


# rq info, suspend, resume, empty, requeue


def test_the_monitor_shows_lanes_and_workers(
    rq: Callable[..., str], started: Callable[..., Any], mail: Queue, redis: Redis
) -> None:
    """Bars, raw numbers, only some queues, only workers, by queue."""
    started("worker", "reports", "--name", "desk-1")
    wait_until(
        lambda: redis.hget(f"{RQ_KEY_PREFIX}:worker:desk-1", "state") == b"idle", timeout=60,
        what="a worker",
    )  # fmt: skip
    mail.low.enqueue(len, "a")
    mail.enqueue(len, "a")
    Queue("reports", connection=redis).low.enqueue(len, "a", depends_on=mail.enqueue(len, "b"))
    assert "mail.low" in rq("info")
    assert "queue mail.low 1" in rq("info", "--raw", "mail.low")
    assert "queue mail " not in rq("info", "--raw", "mail.low")
    said = rq("info", "--only-workers")
    assert "desk-1" in said
    assert "reports.critical, reports.high, reports, reports.low" in said
    by_queue = rq("info", "--by-queue", "--only-workers", "reports.low")
    assert "desk-1 (idle)" in by_queue


def test_a_suspension_holds_until_it_is_resumed_or_runs_out(
    rq: Callable[..., str], started: Callable[..., Any], mail: Queue, redis: Redis, marks: str
) -> None:
    """`rq suspend`, `--duration` and `rq resume`; a worker says that it is suspended."""
    started("worker", "mail", "--name", "desk-1")
    key = f"{RQ_KEY_PREFIX}:worker:desk-1"
    wait_until(lambda: redis.hget(key, "state") == b"idle", timeout=60, what="a worker")
    rq("suspend")
    mail.low.enqueue(mark, marks, "first")
    wait_until(lambda: redis.hget(key, "state") == b"suspended", timeout=60, what="its state")
    rq("worker", "mail", "--burst", code=1)
    assert [] == ended(marks)
    rq("resume")
    wait_until(lambda: ended(marks) == ["first"], timeout=60, what="the job")
    rq("suspend", "--duration", "1")
    mail.low.enqueue(mark, marks, "second")
    wait_until(lambda: ended(marks) == ["first", "second"], timeout=60, what="the second job")


def test_jobs_are_removed_and_requeued_by_their_queues(
    rq: Callable[..., str], mail: Queue, marks: str
) -> None:
    """`rq empty`, one queue and all; `rq requeue` by id and all, back into the lane."""
    for number in range(2):
        mail.low.enqueue(fail, marks, f"{number}", times=1)
    rq("worker", "mail", "--burst")
    ids = mail.low.failed_job_registry.get_job_ids()
    rq("requeue", "--queue", "mail.low", ids[0])
    assert ids[:1] == mail.low.job_ids
    rq("requeue", "--queue", "mail.low", "--all")
    assert ids == mail.low.job_ids
    rq("empty", "mail.low")
    assert 0 == len(mail.low)
    mail.high.enqueue(len, "a")
    rq("empty", "--all")
    assert 0 == len(mail.high)
