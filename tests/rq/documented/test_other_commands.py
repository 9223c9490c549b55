"""RQ's other commands do what its documentation says, with our classes.

`rq enqueue`, `cron`, `info`, `suspend` and `resume`, `empty` and `requeue`, each in a process of
its own, on lanes.
"""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Any

from rq.defaults import RQ_KEY_PREFIX
from rq.job import Job, JobStatus

from shedder.rq import Queue
from tests.jobs import ended, fail, mark
from tests.rq.documented.functions import HERE
from tests.waiting import PATIENCE_SECONDS, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from redis import Redis


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


def test_the_cron_scheduler_fills_lanes(started: Callable[..., Any], mail: Queue, marks: str, tmp_path: Path) -> None:
    """A file with an interval and one with a cron string; a worker of ours does the work."""
    (tmp_path / "cron_config.py").write_text(
        "from rq import cron\nfrom tests.jobs import mark\n"
        f"cron.register(mark, queue_name='mail.low', args=({marks!r}, 'often'), interval=1,"
        " job_timeout=60, result_ttl=60, meta={'tenant': 'acme'}, name='often')\n"
        f"cron.register(mark, queue_name='mail', args=({marks!r}, 'yearly'), cron='0 3 1 1 *')\n"
    )
    scheduler = started("cron", "cron_config.py", "--path", ".")
    started("worker", "mail")
    wait_until(lambda: ended(marks).count("often") >= 2, what="two runs")
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
        lambda: redis.hget(f"{RQ_KEY_PREFIX}:worker:desk-1", "state") == b"idle",
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
    wait_until(lambda: redis.hget(key, "state") == b"idle", what="a worker")
    rq("suspend")
    mail.low.enqueue(mark, marks, "first")
    wait_until(lambda: redis.hget(key, "state") == b"suspended", what="its state")
    rq("worker", "mail", "--burst", code=1)
    assert [] == ended(marks)
    rq("resume")
    wait_until(lambda: ended(marks) == ["first"], what="the job")
    rq("suspend", "--duration", "1")
    mail.low.enqueue(mark, marks, "second")
    wait_until(lambda: ended(marks) == ["first", "second"], what="the second job")


def test_jobs_are_removed_and_requeued_by_their_queues(rq: Callable[..., str], mail: Queue, marks: str) -> None:
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
