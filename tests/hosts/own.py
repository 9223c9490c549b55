"""A user's own classes, each with a mixin or RQ's own way of extension."""

from __future__ import annotations

import rq
from rq.job import Job
from rq.timeouts import UnixSignalDeathPenalty

from shedder.rq import QueueMixin, WorkerMixin


class OwnQueue(QueueMixin, rq.Queue):
    """Their queue."""


class OwnJob(Job):
    """Their job, which says so when it runs."""

    def perform(self) -> object:
        self.connection.rpush("own", f"job {self.origin}")
        return super().perform()


class OwnDeathPenalty(UnixSignalDeathPenalty):
    """Their death penalty, which says so for each job of a function."""

    def __init__(self, timeout: int, *args: object, **more: object) -> None:
        super().__init__(timeout, *args, **more)


class OwnWorker(WorkerMixin, rq.Worker):
    """Their worker."""

    death_penalty_class = OwnDeathPenalty

    def main_work_horse(self, job: Job, queue: rq.Queue) -> None:
        self.connection.rpush("own", f"worker {queue.name} {type(queue).__name__}")
        super().main_work_horse(job, queue)
