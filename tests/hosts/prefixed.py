"""Classes of a user's own that give RQ's keys other names."""

from __future__ import annotations

from rq.job import Job
from rq.queue import Queue as RQQueue
from rq.registry import StartedJobRegistry

from shedder.rq import Queue, Worker


class PrefixedJob(Job):
    """Jobs beside those of others on the same Redis."""

    redis_job_namespace_prefix = "own:job:"


class KeyedJob(Job):
    """Jobs whose keys a method makes."""

    @classmethod
    def key_for(cls, job_id: str) -> str:
        return f"own:{job_id}"


class StockQueueOfPrefixedJobs(RQQueue):
    """A stock queue whose jobs have keys of their own."""

    job_class = PrefixedJob


class PrefixedQueue(Queue):
    """A queue in a place of its own."""

    redis_queue_namespace_prefix = "own:queue:"


class UnlistedQueue(Queue):
    """A queue in a list of queues of its own."""

    redis_queues_keys = "own:queues"


class OwnStarted(StartedJobRegistry):
    """What runs, in a place of its own."""

    key_template = "own:wip:{0}"


class QueueOfOwnRegistry(Queue):
    """A queue with a registry in a place of its own."""

    @property
    def started_job_registry(self) -> StartedJobRegistry:
        return OwnStarted(queue=self, job_class=self.job_class)


class PrefixedWorker(Worker):
    """A worker beside those of others."""

    redis_worker_namespace_prefix = "own:worker:"


class UnlistedWorker(Worker):
    """A worker in a list of workers of its own."""

    redis_workers_keys = "own:workers"
