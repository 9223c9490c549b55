"""What Celery does on the same server, where it has the verb."""

from __future__ import annotations

import importlib
import importlib.util
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from benchmarks.fleet import Marks, die_with_parent, wait_for
from benchmarks.rows import Row, per_second
from benchmarks.samples import compare
from benchmarks.work import leave_mark

if TYPE_CHECKING:
    from benchmarks.ground import Ground

QUEUE = "celery-bench"
SKIPPED = "skipped: Celery is not installed (pip install '.[bench]')"


def is_here() -> bool:
    """Whether Celery can be imported."""
    return importlib.util.find_spec("celery") is not None


def enqueue(ground: Ground, jobs: int, repeat: int, ours: Callable[[], float]) -> Iterator[Row]:
    """`apply_async` beside our `enqueue`."""
    case = "enqueue, one by one, beside Celery's apply_async"
    if not is_here():
        yield Row(7, case, "", SKIPPED)
        return
    app, task = application(ground)
    task.apply_async((0,))

    def theirs() -> float:
        began = time.perf_counter()
        for number in range(jobs):
            task.apply_async((number,))
        return jobs / (time.perf_counter() - began)

    ratio = compare(ours, theirs, repeat=repeat, what="enqueue beside Celery, jobs/s")
    app.close()
    yield Row(
        7, case, per_second(ratio.ours), f"Celery: {per_second(ratio.theirs)}", str(ratio),
        note="Celery keeps no record of a job that waits beside its message",
        values={"ours": ratio.ours, "theirs": ratio.theirs, "ratios": ratio.ratios},
    )  # fmt: skip


def application(ground: Ground) -> tuple[Any, Any]:
    """A Celery application on this server, and a task that leaves a mark."""
    celery: Any = importlib.import_module("celery")

    app = celery.Celery("bench", broker=ground.url)
    app.conf.update(
        task_ignore_result=True,
        task_default_queue=QUEUE,
        worker_prefetch_multiplier=1,
        broker_connection_retry_on_startup=True,
    )

    def mark(number: int) -> None:
        leave_mark(str(number))

    return app, app.task(name="bench.mark")(mark)


@contextmanager
def worker(ground: Ground) -> Iterator[int]:
    """A worker with one process, `--pool solo`."""
    pid = os.fork()
    if pid == 0:
        try:
            die_with_parent()
            _say_nothing()
            app, _ = application(ground)
            app.worker_main(["worker", "--pool", "solo", "--loglevel", "CRITICAL",
                             "--without-gossip", "--without-mingle"])  # fmt: skip
        finally:
            os._exit(0)
    try:
        yield pid
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _say_nothing() -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)


def stop_consuming(app: Any) -> None:
    """Celery's verb for a pause: every worker stops to take from the queue, and answers."""
    app.control.cancel_consumer(QUEUE, reply=True, timeout=5.0, limit=1)


def consume_again(app: Any) -> None:
    """The way back."""
    app.control.add_consumer(QUEUE, reply=True, timeout=5.0, limit=1)


def wait_for_start(marks: Marks, *, more_than: int) -> None:
    """Return when jobs start."""
    wait_for(lambda: marks.count() > more_than, timeout=30)
