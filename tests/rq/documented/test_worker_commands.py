"""`rq worker` and `rq worker-pool` do what RQ's documentation says, with our classes.

Each in a process of its own, on lanes. The environment alone, and a user's own classes, are in
`tests/hosts`.
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

import pytest
from rq.defaults import RQ_KEY_PREFIX
from rq.job import Job, JobStatus
from rq.serializers import JSONSerializer

from shedder.rq import Queue
from tests.jobs import ended, mark
from tests.rq.documented.functions import HANDLED, break_down, show
from tests.waiting import PATIENCE_SECONDS, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from redis import Redis

HERE = "tests.rq.documented.test_worker_commands"


def note_it(job: Job, kind: type, *_: Any) -> bool:
    job.connection.rpush(HANDLED, f"one {kind.__name__}")
    return True


def note_it_too(job: Job, kind: type, *_: Any) -> bool:
    job.connection.rpush(HANDLED, f"two {kind.__name__}")
    return True


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


def test_a_worker_ends_when_nothing_has_come_for_so_long(rq: Callable[..., str], mail: Queue, marks: str) -> None:
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
def test_a_worker_takes_a_strategy(rq: Callable[..., str], redis: Redis, marks: str, strategy: str) -> None:
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


def test_a_worker_takes_a_serializer_by_its_short_name(rq: Callable[..., str], redis: Redis) -> None:
    """`--serializer json`."""
    mail = Queue("mail", connection=redis, serializer="json")
    job = mail.low.enqueue(show, 1, two=3)
    rq("worker", "mail", "--serializer", "json", "--burst")
    assert '[[1], {"two": 3}]' == job.return_value()
    assert JSONSerializer is mail.low.serializer


# rq worker-pool


def test_a_pool_keeps_its_number_of_workers(started: Callable[..., Any], mail: Queue, redis: Redis, marks: str) -> None:
    """`-n`: one that is killed is replaced; all of them are ours; a signal ends the pool."""
    pool = started("worker-pool", "mail", "-n", "2", "-l", "WARNING")
    key = f"{RQ_KEY_PREFIX}:workers"
    wait_until(lambda: redis.scard(key) == 2, what="two workers")
    before = redis.smembers(key)
    victim = min(before)
    wait_until(lambda: redis.hget(victim, "state") == b"idle", what="an idle one")
    os.kill(int(redis.hget(victim, "pid")), signal.SIGKILL)
    wait_until(lambda: len(redis.smembers(key) - before) == 1, what="the new one")
    assert {True} == {redis.hexists(each, "shedder") for each in redis.smembers(key) - before}
    mail.low.enqueue(mark, marks, "first")
    wait_until(lambda: ended(marks) == ["first"], what="the job")
    # before that a worker of a pool has the pool's handlers, and a signal is lost: RQ's own
    new = redis.smembers(key) - {victim}
    wait_until(lambda: {redis.hget(each, "state") for each in new} == {b"idle"}, what="rest")
    pool.send_signal(signal.SIGTERM)
    assert 0 == pool.wait(PATIENCE_SECONDS)


def test_a_pool_takes_the_options_of_its_page(rq: Callable[..., str], mail: Queue, redis: Redis) -> None:
    """Handlers, another worker class, a job class, the burst."""
    job = mail.low.enqueue(break_down)
    rq(
        "worker-pool", "mail", "-n", "1", "-b", "-w", "shedder.rq.SimpleWorker", "-j", "rq.job.Job",
        "-S", "pickle", "-P", ".", "--exception-handler", f"{HERE}.note_it", "-q",
    )  # fmt: skip
    assert (JobStatus.FAILED, [b"one LookupError"]) == (
        job.get_status(), redis.lrange(HANDLED, 0, -1),
    )  # fmt: skip
