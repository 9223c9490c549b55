"""Jobs, queues and workers whose class gives RQ's keys another name."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from shedder.engine.names import rq_keys
from shedder.errors import InvalidInput
from shedder.rq import Queue, SimpleWorker, SpawnWorker, Worker
from tests.cli.programs import environment
from tests.forked import run_module
from tests.hosts import prefixed
from tests.servers import patient

if TYPE_CHECKING:
    from redis import Redis

    from shedder.embedded import EmbeddedServer

KEYS = rq_keys()
JOBS = "redis_job_namespace_prefix of PrefixedJob: 'own:job:' is not accepted; use 'rq:job:'"
LIST = f"{KEYS.engine.lists}mail"


def run(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
    return run_module(*words, env=environment(**env))


def enqueue_prefixed(server: EmbeddedServer) -> None:
    """A stock producer puts a job of a class with another prefix into `mail`."""
    done = run(
        "rq.cli", "enqueue", "--queue", "mail", "--job-id", "j1",
        "--job-class", "tests.hosts.prefixed.PrefixedJob", "operator.neg", ":1",
        RQ_REDIS_URL=patient(server.url),
    )  # fmt: skip
    assert 0 == done.returncode, done.stderr


@pytest.mark.parametrize("worker", [Worker, SimpleWorker, SpawnWorker])
@pytest.mark.parametrize("job_class", [prefixed.PrefixedJob, "tests.hosts.prefixed.PrefixedJob"])
def test_a_worker_refuses_jobs_of_another_prefix(redis: Redis, worker: Any, job_class: object) -> None:
    """No worker of ours starts that would look for its jobs where they are not."""
    with pytest.raises(InvalidInput, match=JOBS):
        worker(["mail"], connection=redis, job_class=job_class)


@pytest.mark.parametrize("queue", [Queue, prefixed.StockQueueOfPrefixedJobs])
def test_a_worker_refuses_a_queue_of_such_jobs(redis: Redis, queue: Any) -> None:
    """Neither does one that is given a queue of such jobs, ours or stock."""
    with pytest.raises(InvalidInput, match=JOBS):
        Worker([queue("mail", connection=redis, job_class=prefixed.PrefixedJob)], connection=redis)


def test_a_worker_refuses_a_class_of_queues_of_such_jobs(redis: Redis) -> None:
    """Nor one whose class of queues has them."""
    with pytest.raises(InvalidInput, match=JOBS):
        Worker([], connection=redis, queue_class=prefixed.StockQueueOfPrefixedJobs)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (prefixed.PrefixedWorker, "redis_worker_namespace_prefix of PrefixedWorker: 'own:worker:'"),
        (prefixed.UnlistedWorker, "redis_workers_keys of UnlistedWorker: 'own:workers'"),
    ],
)
def test_a_worker_refuses_another_name_of_its_own(redis: Redis, kind: Any, said: str) -> None:
    """A worker that commands would not find among all workers does not start."""
    with pytest.raises(InvalidInput, match=said):
        kind(["mail"], connection=redis)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (prefixed.PrefixedQueue, "redis_queue_namespace_prefix of PrefixedQueue: 'own:queue:'"),
        (prefixed.UnlistedQueue, "redis_queues_keys of UnlistedQueue: 'own:queues'"),
        (prefixed.QueueOfOwnRegistry, "started_job_registry of QueueOfOwnRegistry: 'own:wip:"),
    ],
)
def test_a_queue_refuses_another_name(redis: Redis, kind: Any, said: str) -> None:
    """A queue that stands where no command and no worker looks is not made."""
    with pytest.raises(InvalidInput, match=said):
        kind("mail", connection=redis)


@pytest.mark.parametrize("job_class", [prefixed.PrefixedJob, prefixed.KeyedJob])
def test_a_queue_refuses_jobs_of_another_prefix(redis: Redis, job_class: Any) -> None:
    """A queue of jobs that no worker of ours would find is not made."""
    with pytest.raises(InvalidInput, match=f"redis_job_namespace_prefix of {job_class.__name__}"):
        Queue("mail", connection=redis, job_class=job_class)


@pytest.mark.parametrize("is_on_pipeline", [False, True])
def test_a_queue_refuses_a_single_job_of_another_prefix(redis: Redis, is_on_pipeline: bool) -> None:
    """A job of such a class, made elsewhere, is not enqueued, and nothing was written."""
    job = prefixed.PrefixedJob.create(len, ("a",), connection=redis)
    queue = Queue("mail", connection=redis)
    with pytest.raises(InvalidInput, match=JOBS), redis.pipeline() as pipeline:
        queue.enqueue_job(job, pipeline=pipeline if is_on_pipeline else None)
    assert [] == redis.keys()


@pytest.mark.parametrize(
    "words",
    [
        ("rq.cli", "worker", "--worker-class", "shedder.rq.Worker"),
        ("rq.cli", "worker", "--worker-class", "shedder.rq.SpawnWorker", "--queue-class",
         "shedder.rq.Queue"),
        ("rq.cli", "worker-pool", "--worker-class", "shedder.rq.Worker", "--queue-class",
         "shedder.rq.Queue"),
        ("shedder", "worker"),
        ("shedder", "worker", "--class", "simple"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_a_command_refuses_before_a_job_is_touched(
    server: EmbeddedServer, redis: Redis, words: tuple[str, ...]
) -> None:
    """`rq worker` and `shedder worker` say which prefix is in the way, and leave the job alone."""
    enqueue_prefixed(server)
    before = sorted(redis.keys())
    done = run(
        *words, "mail", "--burst", "--job-class", "tests.hosts.prefixed.PrefixedJob",
        RQ_REDIS_URL=patient(server.url),
    )  # fmt: skip
    assert JOBS in done.stdout + done.stderr
    assert (before, [b"j1"]) == (sorted(redis.keys()), redis.lrange(LIST, 0, -1))


def test_shedder_worker_says_it_in_one_sentence(server: EmbeddedServer, redis: Redis) -> None:
    """No traceback, and the exit code with which `rq worker` fails."""
    done = run("shedder", "worker", "mail", "--job-class", "tests.hosts.prefixed.PrefixedJob",
               RQ_REDIS_URL=patient(server.url))  # fmt: skip
    assert (1, True) == (done.returncode, JOBS in done.stderr)
    assert "Traceback" not in done.stderr
