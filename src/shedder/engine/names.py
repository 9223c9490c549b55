"""The names that RQ gives its keys and registries, and the refusal of classes that give others.

All begin with RQ's own prefix, and `tests/rq/contract` compares each with what RQ itself uses. A
class of jobs, queues or workers may set a name of its own. Commands, scripts and other workers
would not look there, so that such a class is refused before it touches a job.
"""

from __future__ import annotations

import os
import re
from functools import cache
from typing import TYPE_CHECKING

from shedder.errors import InvalidInput
from shedder.lanes import check_name
from shedder.store.keys import EngineKeys, Keys

if TYPE_CHECKING:
    from rq.job import Job
    from rq.queue import Queue
    from rq.worker import BaseWorker


RQ_KEY_PREFIX = os.environ.get("RQ_KEY_PREFIX", "rq")
"""As `rq.defaults` has it, whose import would cost a command a quarter of its time."""

if not re.fullmatch(r"[A-Za-z0-9_.:{}-]+", RQ_KEY_PREFIX):
    raise InvalidInput(
        name="RQ_KEY_PREFIX", value=RQ_KEY_PREFIX, accepted="letters, digits and _ . : - { }, or unset it"
    )

QUEUE = f"{RQ_KEY_PREFIX}:queue:"
"""What the key of a queue's list begins with."""

QUEUES = f"{RQ_KEY_PREFIX}:queues"
"""Set of the keys of all queues."""

JOB = f"{RQ_KEY_PREFIX}:job:"
"""What the key of a job's hash begins with."""

RESULTS = f"{RQ_KEY_PREFIX}:results:"
"""What the key of a job's results, a stream, begins with."""

WORKER = f"{RQ_KEY_PREFIX}:worker:"
"""What the key of a worker's hash begins with."""

WORKERS = f"{RQ_KEY_PREFIX}:workers"
"""Set of the keys of all workers."""

STARTED, DEFERRED, SCHEDULED, READY = "wip", "deferred", "scheduled", "ready"
FINISHED, FAILED, CANCELED = "finished", "failed", "canceled"

_REGISTRIES = {
    "started_job_registry": STARTED,
    "deferred_job_registry": DEFERRED,
    "scheduled_job_registry": SCHEDULED,
    "ready_job_registry": READY,
    "finished_job_registry": FINISHED,
    "failed_job_registry": FAILED,
    "canceled_job_registry": CANCELED,
}

_LIMITS = f"{RQ_KEY_PREFIX}:rl:"


@cache
def rq_keys() -> Keys:
    """The keys of shedder beside those of RQ, as this process' `RQ_KEY_PREFIX` has them."""
    engine = EngineKeys(
        RQ_KEY_PREFIX, lists=QUEUE, jobs=JOB, executions=f"{RQ_KEY_PREFIX}:executions:", limits=_LIMITS,
        limit_keys=f"{RQ_KEY_PREFIX}:rl-keys", queues=QUEUES, suspended=f"{RQ_KEY_PREFIX}:suspended",
    )  # fmt: skip
    return Keys(engine)


def registry_key(kind: str, lane: str) -> str:
    """The sorted set of the jobs of `lane` that are `STARTED`, `DEFERRED` or another `kind`."""
    return f"{RQ_KEY_PREFIX}:{kind}:{lane}"


def registry_keys(lane: str) -> tuple[str, ...]:
    """The keys of all registries of `lane`."""
    return tuple(registry_key(kind, lane) for kind in _REGISTRIES.values())


def intermediate_key(lane: str) -> str:
    """Where RQ keeps what a stock worker that serves only `lane` has in hand."""
    return f"{QUEUE}{lane}:intermediate"


def rate_limited_key(name: str) -> str:
    """The sorted set of the jobs that wait for a slot of RQ's rate limit `name`."""
    return f"{_LIMITS}{name}:rate_limited"


def scheduler_lock_key(lane: str) -> str:
    """The lock of the scheduler that puts the jobs of `lane` that are due into it."""
    return f"{RQ_KEY_PREFIX}:scheduler-lock:{lane}"


def workers_key(lane: str) -> str:
    """Set of the keys of the workers that registered for `lane`."""
    return f"{WORKERS}:{lane}"


def check_job_class(kind: type[Job]) -> None:
    """Refuse a class of jobs whose hashes have other keys than RQ's own.

    Raises:
        InvalidInput: it has.
    """
    # not the attribute alone: a class may make the keys by a method of its own
    for found in (kind.redis_job_namespace_prefix, kind.key_for("")):
        _check("redis_job_namespace_prefix", kind, found, JOB)


def check_queue(queue: Queue) -> None:
    """Refuse a queue whose class, or whose jobs' class, gives keys other names.

    Raises:
        InvalidInput: it does.
    """
    kind = type(queue)
    check_queue_class(kind)
    check_job_class(queue.job_class)
    for attribute, registry in _REGISTRIES.items():
        _check(attribute, kind, getattr(queue, attribute).key, registry_key(registry, queue.name))


def check_queue_class(kind: type[Queue]) -> None:
    """Refuse a class of queues that gives keys other names; its registries only a queue tells.

    Raises:
        InvalidInput: it does.
    """
    _check("redis_queue_namespace_prefix", kind, kind.redis_queue_namespace_prefix, QUEUE)
    _check("redis_queues_keys", kind, kind.redis_queues_keys, QUEUES)
    check_job_class(kind.job_class)


def check_worker(worker: BaseWorker) -> None:
    """Refuse a worker whose class, queues or jobs have keys of other names, or of a queue that is refused.

    Raises:
        InvalidInput: one has, or is.
    """
    kind = type(worker)
    _check("redis_worker_namespace_prefix", kind, kind.redis_worker_namespace_prefix, WORKER)
    _check("redis_workers_keys", kind, kind.redis_workers_keys, WORKERS)
    check_job_class(worker.job_class)
    check_queue_class(worker.queue_class)
    for queue in worker.queues:
        check_queue(queue)
        check_name(queue.name)


def _check(attribute: str, kind: type, found: str, expected: str) -> None:
    if found != expected:
        raise InvalidInput(
            name=f"{attribute} of {kind.__name__}", value=found,
            accepted=f"{expected!r}, where all of shedder looks; RQ_KEY_PREFIX moves all keys",
        )  # fmt: skip
