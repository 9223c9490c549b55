"""The lane that a job comes into: open, paused or diverted."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rq import Queue as StockQueue
from rq.job import Job, JobStatus
from rq.registry import ScheduledJobRegistry
from rq.scheduler import RQScheduler

from shedder.rq import Queue, SimpleWorker
from shedder.store.codec import text_of
from tests import jobs
from tests.workers import run_burst

if TYPE_CHECKING:
    from redis import Redis

    from shedder.api.shedder import Shedder

LANE = "mail.low"
PAST = datetime(2020, 1, 1, tzinfo=UTC)


@dataclass
class Scene:
    """A lane that is open, paused or diverted, and what happened to the jobs that came into it."""

    redis: Redis
    operator: Shedder
    marks: str
    control: str
    queue: Queue = field(init=False)
    _is_controlled: bool = False

    def __post_init__(self) -> None:
        self.queue = Queue("mail", connection=self.redis)

    @property
    def low(self) -> Queue:
        return self.queue.low

    def apply(self) -> None:
        """Set the control, once."""
        if self._is_controlled:
            return
        self._is_controlled = True
        if self.control == "paused":
            self.operator.pause(LANE, reason="a test")
        elif self.control == "diverted":
            self.operator.divert(LANE, reason="a test")

    def apply_while_a_job_runs(self) -> None:
        """Set the control in the middle of the next job, before what that job leads to."""
        jobs.meanwhile.append(self.apply)

    def lift(self) -> None:
        if self.control == "paused":
            self.operator.resume(LANE, reason="a test")
        elif self.control == "diverted":
            self.operator.drain_at_once(LANE, reason="a test")

    def work(self) -> None:
        run_burst(SimpleWorker(["mail"], connection=self.redis))

    def started(self) -> list[str]:
        return jobs.started(self.marks)

    def list_of_lane(self) -> list[str]:
        return _ids(self.redis, StockQueue(LANE, connection=self.redis).key)

    def waiting(self) -> list[str]:
        """The ids in the lane, in reading order."""
        keys = self.operator.keys
        parts = (keys.kept(LANE), keys.parked(LANE))
        return [each for part in parts for each in _ids(self.redis, part)] + self.list_of_lane()

    def backlog(self) -> list[str]:
        pattern = f"{self.operator.keys.root}backlog:*:{LANE}:*"
        return [each for key in sorted(self.redis.keys(pattern)) for each in _ids(self.redis, key)]

    def claims(self) -> int:
        return int(self.redis.zcard(self.operator.keys.claims))

    def check(self, *ids: str, starts: list[str], before: list[str] | None = None) -> None:
        """Jobs with these ids wait in the lane, obey its control, and run once when it is lifted.

        `starts` are the marks that all of it leaves, `before` those that were there before.
        """
        before = before or []
        assert before == self.started()
        if self.control == "open":
            assert list(ids) == self.list_of_lane()
        self.work()
        if self.control != "open":
            assert before == self.started()
            where = self.waiting() if self.control == "paused" else self.backlog()
            elsewhere = self.backlog() if self.control == "paused" else self.waiting()
            assert (list(ids), []) == (where, elsewhere)
            self.lift()
            self.work()
        self.check_done(*ids, starts=starts)

    def check_done(self, *ids: str, starts: list[str]) -> None:
        assert starts == self.started()
        assert ([], [], 0) == (self.waiting(), self.backlog(), self.claims())
        for each in ids:
            assert JobStatus.FINISHED == Job.fetch(each, connection=self.redis).get_status()

    def check_second_run(self, identifier: str, starts: list[str]) -> None:
        """What a first run led to obeys a control that was set during that run."""
        self.apply_while_a_job_runs()
        self.work()
        if self.control != "open":
            assert starts[:1] == self.started()
            where = self.waiting() if self.control == "paused" else self.backlog()
            assert [identifier] == where
            self.lift()
            self.work()
        self.check_done(identifier, starts=starts)


def let_time_pass(redis: Redis, job_id: str) -> None:
    registry = ScheduledJobRegistry(LANE, connection=redis)
    assert [job_id] == registry.get_job_ids()
    redis.zadd(registry.key, {job_id: PAST.timestamp()})


def schedule_now(redis: Redis) -> None:
    scheduler = RQScheduler(["mail", LANE], connection=redis, logging_level="WARNING")
    scheduler.acquire_locks()
    scheduler.enqueue_scheduled_jobs()
    scheduler.release_locks()
    scheduler.connection.close()
    scheduler.connection.connection_pool.disconnect()


def _ids(redis: Redis, key: str | bytes) -> list[str]:
    return [text_of(each) for each in redis.lrange(key, 0, -1)]
