"""What a user of stock RQ does instead, each way at its documented best."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

import rq
from rq.job import Job

from benchmarks.load import functions_as_globs

if TYPE_CHECKING:
    import redis

BACKLOG = "mail-backlog"
WINDOW = 1000


def divert_by_loop(connection: redis.Redis, queue: str, functions: Collection[Any]) -> int:
    """The loop that RQ's documentation leads to: fetch each job, remove it, push it elsewhere."""
    names = functions_as_globs(tuple(functions))
    source, backlog = (rq.Queue(queue, connection=connection), rq.Queue(BACKLOG, connection=connection))
    moved = 0
    for job_id in source.get_job_ids():
        job = source.fetch_job(job_id)
        if job is not None and job.func_name in names:
            source.remove(job)
            backlog.push_job_id(job.id)
            moved += 1
    return moved


def divert_by_pipelines(connection: redis.Redis, queue: str, functions: Collection[Any]) -> int:
    """In windows: fetch many jobs, remove and push those that match, in one pipeline each.

    `LREM` looks for each id from the front of the list, behind which those lie that stay.
    """
    source, backlog = (rq.Queue(queue, connection=connection), rq.Queue(BACKLOG, connection=connection))
    moved = 0
    for taken in _windows(connection, source.get_job_ids(), functions):
        with connection.pipeline() as trip:
            for job_id in taken:
                trip.lrem(source.key, 1, job_id)
            if taken:
                trip.rpush(backlog.key, *taken)
            trip.execute()
        moved += len(taken)
    return moved


def divert_by_rewriting(connection: redis.Redis, queue: str, functions: Collection[Any]) -> int:
    """Read everything, and write both lists anew: the fastest, and safe only while nobody works.

    A job that a worker takes meanwhile is pushed again, one that arrives is kept.
    """
    source, backlog = (rq.Queue(queue, connection=connection), rq.Queue(BACKLOG, connection=connection))
    ids = source.get_job_ids()
    taken = [job for each in _windows(connection, ids, functions) for job in each]
    gone = set(taken)
    left = [job_id for job_id in ids if job_id not in gone]
    with connection.pipeline() as trip:
        trip.ltrim(source.key, len(ids), -1)
        for first in range(0, len(taken), WINDOW):
            trip.rpush(backlog.key, *taken[first : first + WINDOW])
        for first in range(len(left), 0, -WINDOW):
            trip.lpush(source.key, *reversed(left[max(first - WINDOW, 0) : first]))
        trip.execute()
    return len(taken)


def _queues(connection: redis.Redis, queue: str) -> tuple[rq.Queue, rq.Queue]:
    return rq.Queue(queue, connection=connection), rq.Queue(BACKLOG, connection=connection)


def _windows(connection: redis.Redis, ids: list[str], functions: Collection[Any]) -> Any:
    names = functions_as_globs(tuple(functions))
    for first in range(0, len(ids), WINDOW):
        jobs = Job.fetch_many(ids[first : first + WINDOW], connection=connection)
        yield [job.id for job in jobs if job is not None and job.func_name in names]


Way = Callable[["redis.Redis", str, Collection[Any]], int]

BULK_WAYS: tuple[Way, ...] = (divert_by_pipelines, divert_by_rewriting)
