from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from rq import Queue as StockQueue
from rq import Repeat, Retry
from rq.cron import CronScheduler
from rq.decorators import job as decorate
from rq.defaults import RQ_KEY_PREFIX
from rq.exceptions import DuplicateJobError
from rq.group import Group
from rq.job import Dependency, Job, JobStatus, requeue_job
from rq.rate_limit import RateLimit
from rq.registry import ScheduledJobRegistry, StartedJobRegistry
from rq.scheduler import RQScheduler

from shedder.rq import Queue, SimpleWorker
from shedder.stored import text_of
from tests import jobs
from tests.waiting import wait_until
from tests.workers import Yard, run_burst

if TYPE_CHECKING:
    from redis import Redis

    from shedder.facade import Shedder

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


@pytest.fixture(params=["open", "paused", "diverted"])
def scene(request: pytest.FixtureRequest, redis: Redis, operator: Shedder, marks: str) -> Scene:
    """A lane, which is put under its control by `apply`."""
    return Scene(redis, operator, marks, request.param)


def test_enqueue(scene: Scene) -> None:
    """A job of `enqueue` obeys the control of its lane and runs once."""
    scene.apply()
    job = scene.low.enqueue(jobs.mark, scene.marks, "a")
    scene.check(job.id, starts=["a"])


def test_enqueue_before_the_control(scene: Scene) -> None:
    """A job that was in the lane before the control was set obeys it too."""
    job = scene.low.enqueue(jobs.mark, scene.marks, "a")
    scene.apply()
    scene.check(job.id, starts=["a"])


def test_enqueue_call(scene: Scene) -> None:
    """A job of `enqueue_call` obeys the control of its lane and runs once."""
    scene.apply()
    job = scene.low.enqueue_call(jobs.mark, args=(scene.marks, "a"))
    scene.check(job.id, starts=["a"])


def test_enqueue_many(scene: Scene) -> None:
    """Jobs of `enqueue_many` obey the control of their lane and run once, in order."""
    scene.apply()
    datas = [Queue.prepare_data(jobs.mark, (scene.marks, key)) for key in "abc"]
    many = scene.low.enqueue_many(datas)
    scene.check(*(job.id for job in many), starts=["a", "b", "c"])


def test_enqueue_many_on_a_pipeline(scene: Scene) -> None:
    """Jobs of `enqueue_many` on the caller's pipeline obey the control and run once, in order."""
    scene.apply()
    datas = [Queue.prepare_data(jobs.mark, (scene.marks, key)) for key in "ab"]
    with scene.redis.pipeline() as pipeline:
        many = scene.low.enqueue_many(datas, pipeline=pipeline)
        assert [] == scene.waiting() + scene.backlog()
        pipeline.execute()
    scene.check(*(job.id for job in many), starts=["a", "b"])


def test_unique(scene: Scene) -> None:
    """A unique job obeys the control of its lane, runs once and is refused a second time."""
    scene.apply()
    scene.low.enqueue(jobs.mark, scene.marks, "a", job_id="one", unique=True)
    with pytest.raises(DuplicateJobError):
        scene.low.enqueue(jobs.mark, scene.marks, "b", job_id="one", unique=True)
    scene.check("one", starts=["a"])


def test_unique_of_a_stock_producer(scene: Scene) -> None:
    """A unique job that RQ's own script pushes obeys the control of its lane and runs once."""
    scene.apply()
    stock = StockQueue(LANE, connection=scene.redis)
    stock.enqueue(jobs.mark, scene.marks, "a", job_id="one", unique=True)
    scene.check("one", starts=["a"])


def test_at_front(scene: Scene) -> None:
    """A job at the front is first in its lane, and first in its backlog."""
    scene.apply()
    last = scene.low.enqueue(jobs.mark, scene.marks, "last")
    first = scene.low.enqueue(jobs.mark, scene.marks, "first", at_front=True)
    scene.check(first.id, last.id, starts=["first", "last"])


def test_at_front_on_a_pipeline(scene: Scene) -> None:
    """A job that is put to the front on a pipeline is first in its lane."""
    scene.apply()
    last = scene.low.enqueue(jobs.mark, scene.marks, "last")
    with scene.redis.pipeline() as pipeline:
        arguments = (jobs.mark, scene.marks, "first")
        first = scene.low.enqueue(*arguments, at_front=True, pipeline=pipeline)
        pipeline.execute()
    if scene.control == "diverted":
        scene.work()  # behind the backlog, because only the claim diverts it
        assert [last.id, first.id] == scene.backlog()
        scene.lift()
        scene.work()
        scene.check_done(first.id, last.id, starts=["last", "first"])
    else:
        scene.check(first.id, last.id, starts=["first", "last"])


def test_enqueue_at(scene: Scene) -> None:
    """A job whose time has come obeys the control of its lane and runs once."""
    scene.apply()
    job = scene.low.enqueue_at(PAST, jobs.mark, scene.marks, "a")
    assert [] == scene.waiting()
    _schedule_now(scene.redis)
    scene.check(job.id, starts=["a"])


def test_enqueue_in(scene: Scene) -> None:
    """A job of `enqueue_in` obeys the control of its lane and runs once."""
    scene.apply()
    job = scene.low.enqueue_in(timedelta(hours=1), jobs.mark, scene.marks, "a")
    _schedule_now(scene.redis)
    assert [] == scene.waiting() + scene.backlog()
    _let_time_pass(scene.redis, job.id)
    _schedule_now(scene.redis)
    scene.check(job.id, starts=["a"])


def test_enqueue_at_unique(scene: Scene) -> None:
    """A unique job that waited for its time obeys the control of its lane and runs once."""
    scene.apply()
    scene.low.enqueue_at(PAST, jobs.mark, scene.marks, "a", job_id="one", unique=True)
    _schedule_now(scene.redis)
    scene.check("one", starts=["a"])


def test_schedule_job(scene: Scene) -> None:
    """A job that is created first and then scheduled obeys the control and runs once."""
    scene.apply()
    job = scene.low.create_job(jobs.mark, args=(scene.marks, "a"))
    scene.low.schedule_job(job, PAST)
    _schedule_now(scene.redis)
    scene.check(job.id, starts=["a"])


def test_enqueue_job(scene: Scene) -> None:
    """A job that is created first and then enqueued obeys the control and runs once."""
    scene.apply()
    job = scene.low.enqueue_job(scene.low.create_job(jobs.mark, args=(scene.marks, "a")))
    scene.check(job.id, starts=["a"])


@pytest.mark.parametrize("is_many", [False, True])
def test_a_used_id_takes_nothing_over(redis: Redis, *, is_many: bool) -> None:
    """What a former job under the same id left in its hash is gone, however the new one comes."""
    queue = Queue("mail", connection=redis)
    job = queue.enqueue(jobs.mark, "a", job_id="a")
    redis.hset(job.key, mapping={"worker_name": "w", "ended_at": "2020-01-01T00:00:00Z"})

    if is_many:
        queue.enqueue_many([queue.prepare_data(jobs.mark, ("a",), job_id="a")])
    else:
        queue.enqueue(jobs.mark, "a", job_id="a")

    assert [None, None] == redis.hmget(job.key, "worker_name", "ended_at")


def test_push_job_id(scene: Scene) -> None:
    """The id of a saved job that is pushed by hand obeys the control and runs once."""
    scene.apply()
    job = scene.low.create_job(jobs.mark, args=(scene.marks, "a"), status=JobStatus.QUEUED)
    job.save()
    scene.low.push_job_id(job.id)
    scene.check(job.id, starts=["a"])


def test_retry(scene: Scene) -> None:
    """A job that failed and is tried again obeys a control that came meanwhile."""
    retry = Retry(max=3)
    job = scene.low.enqueue(jobs.fail, scene.marks, "a", retry=retry)
    scene.check_second_run(job.id, starts=["a", "a"])


def test_retry_at_front(scene: Scene) -> None:
    """A job that is tried again at the front is first in its lane."""
    retry = Retry(max=3, enqueue_at_front=True)
    first = scene.low.enqueue(jobs.fail, scene.marks, "a", retry=retry)
    last = scene.low.enqueue(jobs.mark, scene.marks, "b")
    scene.apply_while_a_job_runs()
    scene.work()
    if scene.control != "open":
        # a pipelined push to the front cannot know of the backlog: it goes behind it
        where = scene.waiting() if scene.control == "paused" else scene.backlog()
        wanted = [first.id, last.id] if scene.control == "paused" else [last.id, first.id]
        assert wanted == where
        scene.lift()
        scene.work()
    starts = ["a", "b", "a"] if scene.control == "diverted" else ["a", "a", "b"]
    scene.check_done(first.id, last.id, starts=starts)


def test_retry_with_a_delay(scene: Scene) -> None:
    """A job that is tried again later obeys the control of its lane and runs once more."""
    job = scene.low.enqueue(jobs.fail, scene.marks, "a", retry=Retry(max=3, interval=60))
    scene.work()
    assert ["a"] == scene.started()
    scene.apply()
    _let_time_pass(scene.redis, job.id)
    _schedule_now(scene.redis)
    scene.check(job.id, starts=["a", "a"], before=["a"])


def test_returned_retry(scene: Scene) -> None:
    """A job that returns a `Retry` obeys a control that came meanwhile."""
    job = scene.low.enqueue(jobs.ask_again, scene.marks, "a")
    scene.check_second_run(job.id, starts=["a", "a"])


def test_returned_retry_with_a_delay(scene: Scene) -> None:
    """A job that returns a `Retry` for later obeys the control and runs once more."""
    job = scene.low.enqueue(jobs.ask_again, scene.marks, "a", interval=60)
    scene.work()
    scene.apply()
    _let_time_pass(scene.redis, job.id)
    _schedule_now(scene.redis)
    scene.check(job.id, starts=["a", "a"], before=["a"])


def test_repeat(scene: Scene) -> None:
    """A job that repeats at once obeys a control that came meanwhile."""
    job = scene.low.enqueue(jobs.mark, scene.marks, "a", repeat=Repeat(times=1))
    scene.check_second_run(job.id, starts=["a", "a"])


def test_repeat_with_a_delay(scene: Scene) -> None:
    """A job that repeats later obeys the control of its lane and runs once more."""
    repeat = Repeat(times=1, interval=60)
    job = scene.low.enqueue(jobs.mark, scene.marks, "a", repeat=repeat)
    scene.work()
    scene.apply()
    _let_time_pass(scene.redis, job.id)
    _schedule_now(scene.redis)
    scene.check(job.id, starts=["a", "a"], before=["a"])


def test_dependents(scene: Scene) -> None:
    """A job that waited for another one obeys a control that came meanwhile."""
    first = scene.queue.enqueue(jobs.mark, scene.marks, "first")
    last = scene.low.enqueue(jobs.mark, scene.marks, "last", depends_on=first)
    assert [] == scene.waiting()
    scene.check_second_run(last.id, starts=["first", "last"])


def test_dependents_of_finished_jobs(scene: Scene) -> None:
    """A job whose dependency is met already obeys the control of its lane."""
    first = scene.queue.enqueue(jobs.mark, scene.marks, "first")
    scene.work()
    scene.apply()
    last = scene.low.enqueue(jobs.mark, scene.marks, "last", depends_on=first)
    scene.check(last.id, starts=["first", "last"], before=["first"])


def test_dependents_of_failed_jobs(scene: Scene) -> None:
    """A job that may follow a failed one obeys a control that came meanwhile."""
    first = scene.queue.enqueue(jobs.fail, scene.marks, "first")
    depends_on = Dependency([first], allow_failure=True)
    last = scene.low.enqueue(jobs.mark, scene.marks, "last", depends_on=depends_on)
    scene.check_second_run(last.id, starts=["first", "last"])


def test_dependents_of_cancelled_jobs(scene: Scene) -> None:
    """A job that is freed by the cancelling of another one obeys the control of its lane."""
    first = scene.queue.enqueue(jobs.mark, scene.marks, "first")
    last = scene.low.enqueue(jobs.mark, scene.marks, "last", depends_on=first)
    scene.apply()
    first.cancel(enqueue_dependents=True)
    scene.check(last.id, starts=["last"])


def test_dependents_in_enqueue_many(scene: Scene) -> None:
    """Jobs of `enqueue_many` that wait for others obey a control that came meanwhile."""
    first = scene.queue.enqueue(jobs.mark, scene.marks, "first")
    data = Queue.prepare_data(jobs.mark, (scene.marks, "last"), depends_on=first)
    (last,) = scene.low.enqueue_many([data])
    scene.check_second_run(last.id, starts=["first", "last"])


def test_dependents_that_a_dead_worker_left(scene: Scene) -> None:
    """A job that RQ's maintenance finds ready obeys the control of its lane."""
    first = scene.queue.enqueue(jobs.mark, scene.marks, "first")
    last = scene.low.enqueue(jobs.mark, scene.marks, "last", depends_on=first)
    scene.queue.move_dependents_to_ready(first, exclude_job_id=first.id)
    first.delete()
    scene.apply()
    scene.low.ready_job_registry.cleanup()
    scene.check(last.id, starts=["last"])


def test_cron(scene: Scene) -> None:
    """A job of the cron scheduler obeys the control of its lane and runs once."""
    cron = CronScheduler(connection=scene.redis)
    cron.register(jobs.mark, LANE, args=(scene.marks, "a"), interval=3600)
    scene.apply()
    cron.enqueue_jobs()
    ids = scene.waiting()
    assert 1 == len(ids)
    scene.check(*ids, starts=["a"])


def test_rate_limit(scene: Scene) -> None:
    """A job that RQ's rate limit lets through at once obeys the control of its lane."""
    scene.apply()
    limit = RateLimit("tenant", concurrency=1)
    job = scene.low.enqueue(jobs.mark, scene.marks, "a", rate_limit=limit)
    scene.check(job.id, starts=["a"])
    assert [] == _slots(scene.redis, "tenant")


def test_rate_limit_promotion(scene: Scene) -> None:
    """A job that RQ's rate limit lets through later obeys a control that came meanwhile."""
    limit = RateLimit("tenant", concurrency=1)
    scene.low.enqueue(jobs.mark, scene.marks, "first", rate_limit=limit)
    last = scene.low.enqueue(jobs.mark, scene.marks, "last", rate_limit=limit)
    assert JobStatus.RATE_LIMITED == last.get_status()
    scene.check_second_run(last.id, starts=["first", "last"])
    assert [] == _slots(scene.redis, "tenant")


def test_rate_limit_of_a_diverted_lane(
    redis: Redis, operator: Shedder, yard: Yard, marks: str, tmp_path: Path
) -> None:
    """A job that RQ's rate limit let into a diverted lane does not keep its slot from others."""
    queue, limit = Queue("mail", connection=redis), RateLimit("tenant", concurrency=1)
    hold = str(tmp_path / "go")
    queue.low.enqueue(jobs.hold, marks, "1", hold, rate_limit=limit, job_id="1")
    queue.low.enqueue(jobs.mark, marks, "2", rate_limit=limit, job_id="2")
    queue.high.enqueue(jobs.mark, marks, "3", rate_limit=limit, job_id="3")
    yard.start("mail")
    wait_until(lambda: jobs.started(marks) == ["1"])
    operator.divert(LANE, reason="a test")
    Path(hold).touch()
    wait_until(lambda: jobs.started(marks) == ["1", "3"], what="the job of the other lane")


def test_rate_limit_with_retry(scene: Scene) -> None:
    """A rate limited job that is tried again obeys a control that came meanwhile."""
    limit = RateLimit("tenant", concurrency=1)
    arguments = (jobs.fail, scene.marks, "a")
    job = scene.low.enqueue(*arguments, rate_limit=limit, retry=Retry(max=2))
    scene.check_second_run(job.id, starts=["a", "a"])
    assert [] == _slots(scene.redis, "tenant")


def test_rate_limit_of_a_scheduled_job(scene: Scene) -> None:
    """A rate limited job whose time has come obeys the control of its lane."""
    scene.apply()
    limit = RateLimit("tenant", concurrency=1)
    job = scene.low.enqueue_at(PAST, jobs.mark, scene.marks, "a", rate_limit=limit)
    _schedule_now(scene.redis)
    scene.check(job.id, starts=["a"])


def test_requeue_of_failed_jobs(scene: Scene) -> None:
    """A failed job that the registry requeues obeys the control of its lane."""
    job = scene.low.enqueue(jobs.fail, scene.marks, "a")
    scene.work()
    scene.apply()
    scene.low.failed_job_registry.requeue(job)
    scene.check(job.id, starts=["a", "a"], before=["a"])


def test_requeue_of_failed_rate_limited_jobs(scene: Scene) -> None:
    """A failed rate limited job that the registry requeues obeys the control of its lane."""
    limit = RateLimit("tenant", concurrency=1)
    job = scene.low.enqueue(jobs.fail, scene.marks, "a", rate_limit=limit)
    scene.work()
    scene.apply()
    scene.low.failed_job_registry.requeue(job)
    scene.check(job.id, starts=["a", "a"], before=["a"])


def test_requeue_job(scene: Scene) -> None:
    """A failed job of `requeue_job` obeys the control of its lane."""
    job = scene.low.enqueue(jobs.fail, scene.marks, "a")
    scene.work()
    scene.apply()
    requeue_job(job.id, connection=scene.redis)
    scene.check(job.id, starts=["a", "a"], before=["a"])


def test_rescue_of_abandoned_jobs(scene: Scene) -> None:
    """A started job whose worker died, and which RQ tries again, obeys the control of its lane."""
    job = scene.low.enqueue(jobs.mark, scene.marks, "a", retry=Retry(max=2))
    _abandon(scene.redis, job)
    scene.apply()
    StartedJobRegistry(LANE, connection=scene.redis).cleanup()
    scene.check(job.id, starts=["a"])


def test_pipeline(scene: Scene) -> None:
    """A job that is enqueued on the caller's pipeline obeys the control of its lane."""
    scene.apply()
    with scene.redis.pipeline() as pipeline:
        job = scene.low.enqueue(jobs.mark, scene.marks, "a", pipeline=pipeline)
        assert [] == scene.waiting() + scene.backlog()
        pipeline.execute()
    scene.check(job.id, starts=["a"])


def test_group(scene: Scene) -> None:
    """Jobs of a group obey the control of their lane and run once."""
    scene.apply()
    datas = [Queue.prepare_data(jobs.mark, (scene.marks, key)) for key in "ab"]
    group = Group.create(connection=scene.redis)
    many = group.enqueue_many(scene.low, datas)
    assert {job.id for job in many} == {job.id for job in group.get_jobs()}
    scene.check(*(job.id for job in many), starts=["a", "b"])


def test_stock_producer(scene: Scene) -> None:
    """A job of a producer that knows nothing of lanes obeys the control and runs once."""
    scene.apply()
    job = StockQueue(LANE, connection=scene.redis).enqueue(jobs.mark, scene.marks, "a")
    scene.check(job.id, starts=["a"])


def test_stock_producer_before_the_control(scene: Scene) -> None:
    """A job of a stock producer that was there before the control obeys it."""
    job = StockQueue(LANE, connection=scene.redis).enqueue(jobs.mark, scene.marks, "a")
    scene.apply()
    scene.check(job.id, starts=["a"])


def test_decorator(scene: Scene) -> None:
    """A job of RQ's decorator obeys the control of its lane and runs once."""
    scene.apply()
    function: Any = decorate(scene.low, connection=scene.redis)(jobs.decorated)
    job = function.enqueue(scene.marks, "a")
    scene.check(job.id, starts=["a"])


def test_decorator_with_a_queue_class(scene: Scene) -> None:
    """RQ's decorator takes a lane by its name and the class of its queue."""
    scene.apply()
    wrap: Callable[..., Any] = decorate(LANE, connection=scene.redis, queue_class=Queue)
    job = wrap(jobs.decorated).enqueue(scene.marks, "a")
    scene.check(job.id, starts=["a"])


def test_order_is_kept_over_all_ways(scene: Scene) -> None:
    """Jobs of different producers run in the order in which they came."""
    scene.apply()
    stock = StockQueue(LANE, connection=scene.redis)
    for number in range(12):
        queue = stock if number % 3 == 0 else scene.low
        with scene.redis.pipeline() as pipeline:
            on = pipeline if number % 2 else None
            queue.enqueue(jobs.mark, scene.marks, str(number), pipeline=on)
            pipeline.execute()
        if number % 4 == 3:
            scene.work()
    if scene.control != "open":
        assert [] == scene.started()
        scene.lift()
    scene.work()
    scene.check_done(starts=[str(number) for number in range(12)])


def _ids(redis: Redis, key: str | bytes) -> list[str]:
    return [text_of(each) for each in redis.lrange(key, 0, -1)]


def _slots(redis: Redis, key: str) -> Any:
    return redis.zrange(f"{RQ_KEY_PREFIX}:rl:{key}:allowed", 0, -1)


def _let_time_pass(redis: Redis, job_id: str) -> None:
    registry = ScheduledJobRegistry(LANE, connection=redis)
    assert [job_id] == registry.get_job_ids()
    redis.zadd(registry.key, {job_id: PAST.timestamp()})


def _schedule_now(redis: Redis) -> None:
    scheduler = RQScheduler(["mail", LANE], connection=redis, logging_level="WARNING")
    scheduler.acquire_locks()
    scheduler.enqueue_scheduled_jobs()
    scheduler.release_locks()
    scheduler.connection.close()
    scheduler.connection.connection_pool.disconnect()


def _abandon(redis: Redis, job: Job) -> None:
    registry = StartedJobRegistry(LANE, connection=redis)
    redis.lrem(f"{RQ_KEY_PREFIX}:queue:{LANE}", 1, job.id)
    job.set_status(JobStatus.STARTED)
    redis.zadd(registry.key, {f"{job.id}:execution": PAST.timestamp()})
