"""A queue with lanes."""

from __future__ import annotations

import asyncio
import copy
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Self

from rq.exceptions import DuplicateJobError
from rq.job import Job, JobStatus
from rq.queue import Queue as RQQueue
from rq.serializers import DefaultSerializer

from shedder.engine.jobs import function_of, texts_of
from shedder.engine.names import check_job_class, check_queue, rq_keys
from shedder.errors import ShedderError
from shedder.lanes import DEFAULT_PRIORITY, Lane, check_name, lane_of, parse_priority, why_refused
from shedder.policy.applied import async_policy_copy, policy_in_force
from shedder.queues.enqueue import enqueue_job, push_job, ring_on, save_on
from shedder.store.store import AsyncStore, Pipeline, Store, check_async_client, check_client

if TYPE_CHECKING:
    import redis.asyncio
    from rq.queue import EnqueueData
    from rq.registry import DeferredJobRegistry
    from rq.types import FunctionReferenceType

    from shedder.policy.model import Policy


_NOT_QUEUED_PLAINLY = (JobStatus.DEFERRED,)

_OLDEST_SERVER = (7, 0, 0)
"""What RQ takes the server for where asking it would hold the event loop; older ones are refused."""

_JOBS_PER_PART = 50
"""Making these takes 2 ms of an event loop."""


class QueueMixin(RQQueue):
    """Lanes and controls for a class of RQ queues; put it first among the bases.

    The queue itself is the lane of normal priority. The others are queues beside it, which
    `low`, `high` and `critical` give, with all of RQ's own methods. A job that is enqueued on the
    queue itself goes into the lane that the policy in force says; one of these lanes, once chosen,
    is final.

    Args:
        async_connection: A client of `redis.asyncio` to the same server and database, for
            `enqueue_async` and `enqueue_many_async`. It belongs to one event loop, and the
            application closes it.

    Raises:
        InvalidInput: a client is not of the kind that belongs there.
    """

    _is_lane_chosen = False
    _policy: Policy | None = None

    def __init__(self, *args: Any, async_connection: redis.asyncio.Redis | None = None, **options: Any) -> None:
        super().__init__(*args, **options)
        check_client(self.connection)
        if async_connection is not None:
            check_async_client(async_connection)
        self.async_connection = async_connection
        check_queue(self)

    def lane(self, priority: str) -> Self:
        """The queue that holds this queue's jobs of `priority`.

        Raises:
            InvalidInput: there is no such priority.
        """
        name = Lane(lane_of(self.name).queue, parse_priority(priority)).name
        return self._named(name)

    @property
    def critical(self) -> Self:
        """The lane of critical priority."""
        return self.lane("critical")

    @property
    def high(self) -> Self:
        """The lane of high priority."""
        return self.lane("high")

    @property
    def normal(self) -> Self:
        """The lane of normal priority: the queue under its plain name."""
        return self.lane("normal")

    @property
    def low(self) -> Self:
        """The lane of low priority."""
        return self.lane("low")

    @property
    def priority(self) -> str:
        """The priority of this lane's jobs."""
        return lane_of(self.name).priority

    def create_job(self, *args: Any, **options: Any) -> Job:
        """A job of this queue; one that waits for others gets its lane now.

        When they are done RQ puts it where it came from, through its own class of queues.

        Raises:
            InvalidInput: this queue's name could be meant for another.
        """
        check_name(self.name)
        job = self._plainly_created(*args, **options)
        if job.get_status(refresh=False) in _NOT_QUEUED_PLAINLY:
            job.origin = self._lane_by_policy(job).name
        return job

    def _plainly_created(self, *args: Any, **options: Any) -> Job:
        """RQ's own, without its check of the serializer for each job when it is RQ's own too.

        That check takes as long as all the rest of it.
        """
        if self.serializer is not DefaultSerializer:
            return super().create_job(*args, **options)
        plain = copy.copy(self)
        plain.serializer = None  # type: ignore[assignment]  # which RQ takes for its own, at once
        return super(QueueMixin, plain).create_job(*args, **options)

    def enqueue_job(
        self, job: Job, pipeline: Pipeline | None = None, at_front: bool = False, unique: bool = False
    ) -> Job:
        """Enqueue a job, in one round trip where RQ needs two.

        Raises:
            InvalidInput: this queue's name could be meant for another.
        """
        check_name(self.name)
        check_job_class(type(job))
        lane = self._lane_by_policy(job)
        if lane is not self:
            return lane.enqueue_job(job, pipeline=pipeline, at_front=at_front, unique=unique)
        deferred_in = self._deferred_elsewhere(job)
        if pipeline is not None or not self._is_async or job._dependency_ids or job.has_rate_limit:
            job = super().enqueue_job(job, pipeline=pipeline, at_front=at_front, unique=unique)
        elif unique and not job._id:
            raise ValueError("unique=True requires an explicit job_id")
        else:
            self._enqueue_here(job, at_front=at_front, unique=unique)
        if deferred_in is not None:
            deferred_in.remove(job, pipeline=pipeline)
        return job

    async def enqueue_async(self, f: FunctionReferenceType, *args: Any, **kwargs: Any) -> Job:
        """`enqueue` for coroutines: one round trip of the asyncio client, and no thread.

        It takes what `enqueue` takes, but no `pipeline`. A job with `depends_on` or a `rate_limit`
        needs code of RQ that waits for Redis, and a queue with `is_async=False` runs the job at
        once: these go through a thread and the other client.

        Raises:
            ShedderError: the queue has no asyncio client.
            DuplicateJobError: the job is to be unique, and its id exists.
        """
        store = self._async_store()
        options = self.parse_args(f, *args, **kwargs)._asdict()
        if options.pop("pipeline") is not None:
            raise ValueError("enqueue_async takes no pipeline; enqueue_many_async sends many jobs at once")
        at_front, unique = options.pop("at_front"), options.pop("unique")
        if unique and not options["job_id"]:
            raise ValueError("unique=True requires an explicit job_id")
        job = self.create_job(**options)
        check_job_class(type(job))
        if job._dependency_ids or job.has_rate_limit or not self._is_async:
            return await asyncio.to_thread(self.enqueue_job, job, at_front=at_front, unique=unique)
        lane = (await self._informed(store))._lane_by_policy(job)
        lane._prepare_for_queue(job)
        command = enqueue_job(store.keys, lane.name, job, at_front=at_front, unique=unique)
        _refuse_twin(job, is_saved=await store.execute(command))
        return job

    async def enqueue_many_async(self, job_datas: Iterable[EnqueueData], group_id: str | None = None) -> list[Job]:
        """`enqueue_many` for coroutines: all jobs or none, in one round trip of the asyncio client.

        The jobs are made in parts, between which the event loop goes on. They are sent in one piece
        of about 0.03 ms for each job, so thousands are better given in several calls. Where one has
        `depends_on`, or the queue has `is_async=False`, all go through a thread and the other client.

        Raises:
            ShedderError: the queue has no asyncio client.
            ValueError: two jobs have one id.
        """
        store, datas = self._async_store(), list(job_datas)
        if not self._is_async or any(each.depends_on for each in datas):
            return await asyncio.to_thread(self.enqueue_many, datas, group_id=group_id)
        _refuse_equal_ids(datas)  # RQ looks only within one part
        here, jobs = await self._informed(store), []
        async with store.connection.pipeline() as pipeline:
            queued: Any = pipeline  # on which a command only waits, as on the other kind
            for start in range(0, len(datas), _JOBS_PER_PART):
                part = datas[start : start + _JOBS_PER_PART]
                jobs += here.enqueue_many(part, pipeline=queued, group_id=group_id)
                await asyncio.sleep(0)
            await pipeline.execute()
        return jobs

    def _async_store(self) -> AsyncStore:
        if self.async_connection is None:
            message = f"the queue {self.name} has no asyncio client: give it async_connection=redis.asyncio.Redis(...)"
            raise ShedderError(message)
        return AsyncStore(self.async_connection, rq_keys())

    async def _informed(self, store: AsyncStore) -> Self:
        """This queue with all that it would else wait for Redis to know."""
        other = copy.copy(self)
        other.redis_server_version = self.redis_server_version or _OLDEST_SERVER
        if not self._is_lane_settled:
            other._policy = await async_policy_copy(store.connection).follow()
        return other

    def push_job_id(self, job_id: str, pipeline: Pipeline | None = None, at_front: bool = False) -> None:
        """Put the id of a saved job where the controls of this lane say.

        On a pipeline it is RQ's own push, and the claim applies the controls: a script could fail
        there (NOSCRIPT), and RQ pushes on pipelines where an error loses or fails jobs.
        """
        if pipeline is None:
            command = push_job(rq_keys(), self.name, job_id, at_front=at_front)
            Store(self.connection, rq_keys()).execute(command)
            return
        super().push_job_id(job_id, pipeline=pipeline, at_front=at_front)
        ring_on(pipeline, rq_keys(), self.name)

    def _enqueue_async_job(
        self, job: Job, pipeline: Pipeline | None = None, at_front: bool = False, unique: bool = False
    ) -> Job:
        check_job_class(type(job))
        lane = self._lane_by_policy(job)
        if lane is not self:
            if pipeline is not None:
                pipeline.sadd(self.redis_queues_keys, lane.key)
            return lane._enqueue_async_job(job, pipeline, at_front, unique)
        deferred_in = self._deferred_elsewhere(job)
        self._enqueue_here(job, pipeline, at_front, unique)
        if deferred_in is not None:
            deferred_in.remove(job, pipeline=pipeline)
        return job

    def _deferred_elsewhere(self, job: Job) -> DeferredJobRegistry | None:
        """The registry of another lane that has `job`, which RQ looks for in this lane's own."""
        is_deferred = job.get_status(refresh=False) in _NOT_QUEUED_PLAINLY
        if not is_deferred or job.origin == self.name:
            return None
        registry: DeferredJobRegistry = self._named(job.origin).deferred_job_registry
        return registry

    def _enqueue_here(
        self, job: Job, pipeline: Pipeline | None = None, at_front: bool = False, unique: bool = False
    ) -> Job:
        if job.get_status(refresh=False) in _NOT_QUEUED_PLAINLY:
            return super()._enqueue_async_job(job, pipeline, at_front, unique)
        self._prepare_for_queue(job)
        if pipeline is not None and not unique:
            save_on(pipeline, job)
            self.push_job_id(job.id, pipeline=pipeline, at_front=at_front)
            return job
        command = enqueue_job(rq_keys(), self.name, job, at_front=at_front, unique=unique)
        _refuse_twin(job, is_saved=Store(self.connection, rq_keys()).execute(command))
        return job

    def _persist_job(self, job: Job, pipeline: Pipeline, status: JobStatus = JobStatus.QUEUED) -> None:
        # RQ writes the status and then the whole job with its status; once is enough
        job._status = status
        save_on(pipeline, job)

    @property
    def _is_lane_settled(self) -> bool:
        return (
            self._is_lane_chosen
            or self.priority != DEFAULT_PRIORITY
            or not self._is_async
            or why_refused(self.name) != ""
        )

    def _lane_by_policy(self, job: Job) -> Self:
        if self._is_lane_settled:
            return self
        policy = policy_in_force(self.connection) if self._policy is None else self._policy
        if not policy.rules:
            return self
        lane = policy.lane_for(self.name, function=function_of(job) or None, meta=texts_of(job))
        return self if lane.name == self.name else self._named(lane.name)

    def _named(self, name: str) -> Self:
        other = copy.copy(self)
        other._is_lane_chosen = True
        other.name = name
        other._key = f"{self.redis_queue_namespace_prefix}{name}"
        return other


def _refuse_equal_ids(datas: list[EnqueueData]) -> None:
    counts = Counter(each.job_id for each in datas if each.job_id is not None)
    for job_id, count in counts.most_common(1):
        if count > 1:
            raise ValueError(f"Job ID '{job_id}' appears more than once in enqueue_many_async()")


def _refuse_twin(job: Job, *, is_saved: bool) -> None:
    if not is_saved:
        raise DuplicateJobError(f"Job with ID '{job.id}' already exists")


class Queue(QueueMixin):
    """`rq.Queue` with lanes: a drop-in replacement.

    ```python
    mail = Queue("mail", connection=redis)
    mail.enqueue(send_receipt, order_id)       # normal priority, RQ's queue `mail`
    mail.low.enqueue(send_newsletter, user_id)  # RQ's queue `mail.low`
    ```

    In a coroutine, on a queue with `async_connection=redis.asyncio.Redis()`:

    ```python
    await mail.low.enqueue_async(send_newsletter, user_id)
    ```
    """
