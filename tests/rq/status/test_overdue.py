"""Jobs that are due while no scheduler runs are told by every view, with what to type."""

from __future__ import annotations

import inspect
import operator
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from rq import Queue as StockQueue
from rq import Repeat, Retry
from rq.job import JobStatus
from rq.registry import ScheduledJobRegistry
from rq.scheduler import RQScheduler
from rq.worker import Worker as StockWorker

from shedder import Shedder
from shedder.engine.names import SCHEDULED, registry_key, scheduler_lock_key
from shedder.policy.model import Policy, Rule
from shedder.rq import Queue, SimpleWorker, Worker
from shedder.selection import Selection
from shedder.status.overdue import BEHIND, GONE, JOBS_AT_ONCE, LOCK_SECONDS, NONE, Overdue
from shedder.updates.sentences import compose
from shedder.updates.situation import STAKEHOLDERS, read_situation
from shedder.wording import moment
from tests.rq.status.told import lane, status
from tests.waiting import wait_until

if TYPE_CHECKING:
    from redis import Redis

    from tests.workers import Yard


def schedule(redis: Redis, name: str = "mail", count: int = 1, *, ago: float = 120) -> datetime:
    """So many jobs that were due some seconds ago; when that was."""
    at = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=ago)
    for _ in range(count):
        Queue(name, connection=redis).enqueue_at(at, time.monotonic)
    return at


def make_due(redis: Redis, name: str = "mail", *, ago: float = 120) -> None:
    """What was to start later was due some seconds ago."""
    key = registry_key(SCHEDULED, name)
    redis.zadd(key, dict.fromkeys(redis.zrange(key, 0, -1), time.time() - ago))


def overdue(redis: Redis, name: str = "mail") -> Overdue | None:
    return lane(redis, name).overdue


def told(redis: Redis) -> str:
    return " ".join(each for each in status(redis).warnings if "overdue" in each)


def test_what_rq_calls_a_lock(redis: Redis) -> None:
    """RQ's scheduler keeps a lock of this name and length for a queue, and takes so many jobs at once."""
    scheduler = RQScheduler(["mail.low"], connection=redis)
    began = time.time()
    scheduler.acquire_locks()
    assert scheduler_lock_key("mail.low") == RQScheduler.get_locking_key("mail.low")
    ends = redis.pexpiretime(scheduler_lock_key("mail.low")) / 1000
    assert began - 1 <= ends - LOCK_SECONDS <= time.time()
    assert JOBS_AT_ONCE == inspect.signature(ScheduledJobRegistry.get_jobs_to_schedule).parameters["chunk_size"].default


@pytest.mark.parametrize("kind", [Worker, StockWorker])
def test_jobs_that_no_scheduler_takes(redis: Redis, yard: Yard, kind: type[Worker]) -> None:
    """A worker without a scheduler leaves them, whichever it is; one with a scheduler runs them."""
    at = schedule(redis, count=3)
    yard.start("mail", worker_class=kind).wait_until_idle(redis)
    assert Overdue(3, at, NONE) == overdue(redis)
    expected = (
        f"3 jobs of mail are overdue since {moment(at, datetime.now(UTC))}, and no scheduler runs for it: "
        "start a worker with one, `shedder worker mail --with-scheduler`."
    )
    assert (expected,) == status(redis).warnings
    yard.start("mail", worker_class=kind, with_scheduler=True)
    wait_until(lambda: redis.zcard(registry_key(SCHEDULED, "mail")) == 0, timeout=600, what="no job scheduled")
    assert (None, ()) == (overdue(redis), status(redis).warnings)


def test_a_retry_and_a_repeat_that_are_due(redis: Redis) -> None:
    """Retries with an interval and repeats stand where planned jobs do."""
    queue = Queue("mail", connection=redis)
    planned = [
        queue.enqueue(operator.truediv, 1, 0, retry=Retry(max=1, interval=60)),
        queue.enqueue(time.monotonic, repeat=Repeat(times=1, interval=60)),
    ]
    SimpleWorker(["mail"], connection=redis).work(burst=True)
    assert [JobStatus.SCHEDULED] * 2 == [job.get_status() for job in planned]
    assert overdue(redis) is None
    make_due(redis)
    found = overdue(redis)
    assert found is not None
    assert (2, NONE) == (found.jobs, found.scheduler)


def test_a_job_that_is_just_due_is_left_to_the_next_scheduler(redis: Redis) -> None:
    """For a minute nothing is told: a worker that is deployed anew has no scheduler for some seconds."""
    schedule(redis, ago=30)
    schedule(redis, ago=-3600)
    assert overdue(redis) is None
    schedule(redis, ago=90)
    found = overdue(redis)
    assert found is not None
    assert 2 == found.jobs


def test_a_scheduler_that_was_killed(redis: Redis, yard: Yard) -> None:
    """RQ's lock of it stands for a minute, in which no other can begin; that is told, too."""
    worker = yard.start("mail", with_scheduler=True)
    wait_until(lambda: redis.exists(scheduler_lock_key("mail")) == 1, timeout=600, what="the lock of a scheduler")
    worker.kill(and_children=True)
    schedule(redis)
    redis.pexpire(scheduler_lock_key("mail"), 20_000)
    found = overdue(redis)
    assert found is not None
    assert (1, GONE) == (found.jobs, found.scheduler)
    assert "the scheduler of it has shown no sign of life for 4" in told(redis)
    assert "and no earlier, start a worker with one, `shedder worker mail --with-scheduler`." in told(redis)
    redis.delete(scheduler_lock_key("mail"))
    found = overdue(redis)
    assert found is not None
    assert NONE == found.scheduler


def test_a_scheduler_that_is_behind(redis: Redis) -> None:
    """A live one takes a thousand jobs a second: it is told only when more are overdue."""
    RQScheduler(["mail"], connection=redis).acquire_locks()
    schedule(redis)
    assert overdue(redis) is None
    redis.zadd(registry_key(SCHEDULED, "mail"), dict.fromkeys(map(str, range(JOBS_AT_ONCE)), time.time() - 90))
    found = overdue(redis)
    assert found is not None
    assert (JOBS_AT_ONCE + 1, BEHIND) == (found.jobs, found.scheduler)
    assert "1,001 jobs of mail are overdue since " in told(redis)
    assert "the scheduler of it is behind" in told(redis)


def test_queues_without_a_scheduler_are_told_in_one_sentence(redis: Redis) -> None:
    """One worker with a scheduler would serve them all, and the lanes of a queue are one queue to it."""
    for name in ("mail", "mail.low", "reports"):
        schedule(redis, name, 2)
    assert "6 jobs of mail, mail.low and reports are overdue" in told(redis)
    assert "no scheduler runs for them" in told(redis)
    assert "`shedder worker mail reports --with-scheduler`" in told(redis)


def test_a_stock_scheduler_serves_the_main_lane_alone(redis: Redis) -> None:
    """A lane whose queue has a scheduler may have none, and is told by its own name."""
    RQScheduler(["mail"], connection=redis).acquire_locks()
    schedule(redis, "mail.low")
    assert "1 job of mail.low is overdue since" in told(redis)


NEWS = Rule(queue="mail", selection=Selection(functions=("news.*",)), label="newsletters")
RECEIPTS = Rule(queue="mail", selection=Selection(functions=("receipts.*",)), label="receipts")
WHOLE = Rule(queue="mail", label="mails")


@pytest.mark.parametrize(
    ("rules", "want"),
    [
        ((WHOLE,), ["mails: 1 job overdue since {at}, none waits"]),
        ((NEWS, RECEIPTS), [
            "newsletters: 1 job overdue since {at}, some of them perhaps of other work, none waits",
            "receipts: 1 job overdue since {at}, some of them perhaps of other work, none waits",
        ]),
    ],
)  # fmt: skip
def test_an_update_calls_no_work_fine_that_is_overdue(redis: Redis, rules: tuple[Rule, ...], want: list[str]) -> None:
    """Of kinds that share a queue nobody knows whose the overdue jobs are, so none of them is called fine."""
    operator, policy = Shedder(redis, by="oncall"), Policy(rules=rules)
    StockQueue("mail", connection=redis).enqueue_in(timedelta(hours=1), time.monotonic)
    assert "not affected" in compose(read_situation(operator, policy, None), audience=STAKEHOLDERS)
    make_due(redis)
    situation = read_situation(operator, policy, None)
    text = compose(situation, audience=STAKEHOLDERS).lower()
    since = situation.works[0].overdue_since
    assert since is not None
    assert "not affected" not in text
    for each in want:
        assert each.format(at=moment(since, situation.at)) in text
