"""Flask-RQ's extension and worker, of our classes; the extra `flask` brings Flask-RQ.

Flask-RQ makes its queues and workers itself, of RQ's own classes. The
extension here makes them of ours; what it takes from Flask-RQ's insides is checked in
`tests/hosts/test_flask_rq.py`.

```python
from shedder.flask import RQ  # it was: from flask_rq import RQ

rq = RQ()
rq.init_app(app)
```
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import click
import flask_rq
from flask_rq._worker import FlaskSubprocessWorker
from rq.executions import Execution

from shedder.lanes import lane_of_target
from shedder.rq.queue import Queue
from shedder.rq.worker import FreshProcessMixin

if TYPE_CHECKING:
    import flask
    from rq.queue import Queue as RQQueue

__all__ = ["RQ", "Worker"]


class Worker(FreshProcessMixin, FlaskSubprocessWorker):
    """Flask-RQ's worker (a fresh process of `flask` for each job) that loses no job and obeys."""


class RQ(flask_rq.RQ):
    """Flask-RQ's extension, whose queues have lanes and whose workers obey.

    A lane needs no entry in `RQ_QUEUES`: `get_queue("mail.low")`, `@rq.job(queue="mail.low")` and
    `flask rq worker mail.low` find it.

    Attributes:
        queue_class: What its queues are made of; a class with `shedder.rq.QueueMixin`.
        worker_class: What `flask rq worker` starts; a class with `shedder.rq.WorkerMixin`.
    """

    queue_class: type[Queue] = Queue
    worker_class: type[Worker] = Worker

    def init_app(self, app: flask.Flask) -> None:
        """Register the extension on an application."""
        super().init_app(app)
        ours = {name: self._of_ours(queue) for name, queue in self._queues[app].items()}
        self._queues[app] = _QueuesWithLanes(ours)
        _replace_work_horse(app)

    def make_worker(self, queues: Sequence[str] | None = None, **kwargs: Any) -> Worker:
        """A worker for queues and lanes, or for all queues that are configured."""
        served = [self.get_queue(name) for name in queues or self.queues]
        return self.worker_class(
            served,
            connection=served[0].connection,
            job_class=served[0].job_class,
            queue_class=self.queue_class,
            **kwargs,
        )

    def _of_ours(self, queue: RQQueue) -> Queue:
        return self.queue_class(
            queue.name,
            queue.connection,
            is_async=queue.is_async,
            job_class=queue.job_class,
            serializer=queue.serializer,
        )


class _QueuesWithLanes(dict[str, "RQQueue"]):
    """The queues that are configured; their lanes are found too, and not counted."""

    def __missing__(self, name: str) -> RQQueue:
        lane = lane_of_target(name)
        if name == lane.queue or lane.queue not in self:
            raise KeyError(name)
        return cast("Queue", self[lane.queue]).lane(lane.priority)


def _replace_work_horse(app: flask.Flask) -> None:
    """Let `flask rq work-horse`, which a worker starts for each job, be one that asks the gate."""
    group = cast("Any", app.cli.commands["rq"])
    group.command("work-horse", with_appcontext=True, hidden=True)(_work_horse)


@click.argument("queue")
@click.argument("worker")
@click.argument("job")
@click.argument("execution")
@click.pass_obj
def _work_horse(extension: RQ, queue: str, worker: str, job: str, execution: str) -> None:
    """Run one job of a worker; only a worker calls this."""
    of_job = extension.get_queue(queue)
    found = extension.worker_class.find_by_key(
        worker,
        connection=of_job.connection,
        job_class=of_job.job_class,
        queue_class=type(of_job),
        serializer=of_job.serializer,
    )
    fetched = of_job.fetch_job(job)
    if found is None or fetched is None:
        return  # the worker or the job is gone: the claim goes back by its lease
    horse = cast("Worker", found)
    horse.execution = Execution.fetch(execution, job, connection=of_job.connection)
    horse._is_horse = True
    horse.main_work_horse(fetched, of_job)
