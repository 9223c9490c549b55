"""A queue with lanes."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Self

from rq.exceptions import DuplicateJobError
from rq.job import Job, JobStatus
from rq.queue import Queue as RQQueue
from rq.serializers import DefaultSerializer

from shedder.engine.jobs import function_of, texts_of
from shedder.engine.names import check_job_class, check_queue, rq_keys
from shedder.lanes import DEFAULT_PRIORITY, Lane, lane_of, parse_priority
from shedder.policy.applied import policy_in_force
from shedder.queues.enqueue import enqueue_job, push_job, ring_on, save_on
from shedder.store.store import Pipeline, Store

if TYPE_CHECKING:
    from rq.registry import DeferredJobRegistry


_NOT_QUEUED_PLAINLY = (JobStatus.DEFERRED,)


class QueueMixin(RQQueue):
    """Lanes and controls for a class of RQ queues; put it first among the bases.

    The queue itself is the lane of normal priority. The others are queues beside it, which
    `low`, `high` and `critical` give, with all of RQ's own methods. A job that is enqueued on the
    queue itself goes into the lane that the policy in force says; one of these lanes, once chosen,
    is final.
    """

    _is_lane_chosen = False

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
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
        """
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
        """Enqueue a job, in one round trip where RQ needs two."""
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
        if not Store(self.connection, rq_keys()).execute(command):
            raise DuplicateJobError(f"Job with ID '{job.id}' already exists")
        return job

    def _persist_job(self, job: Job, pipeline: Pipeline, status: JobStatus = JobStatus.QUEUED) -> None:
        # RQ writes the status and then the whole job with its status; once is enough
        job._status = status
        save_on(pipeline, job)

    def _lane_by_policy(self, job: Job) -> Self:
        is_settled = self._is_lane_chosen or self.priority != DEFAULT_PRIORITY
        if is_settled or not self._is_async:
            return self
        policy = policy_in_force(self.connection)
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


class Queue(QueueMixin):
    """`rq.Queue` with lanes: a drop-in replacement.

    ```python
    mail = Queue("mail", connection=redis)
    mail.enqueue(send_receipt, order_id)       # normal priority, RQ's queue `mail`
    mail.low.enqueue(send_newsletter, user_id)  # RQ's queue `mail.low`
    ```
    """
