"""RQ's queue and worker classes, with lanes and controls."""

from shedder.rq.queue import Queue, QueueMixin
from shedder.rq.worker import SimpleWorker, SpawnWorker, Worker, WorkerMixin

__all__ = ["Queue", "QueueMixin", "SimpleWorker", "SpawnWorker", "Worker", "WorkerMixin"]
