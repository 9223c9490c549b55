"""The kinds of workers that are tried, and what is asked of jobs and lanes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from shedder.engine.names import rq_keys
from shedder.rq import SimpleWorker, SpawnWorker, Worker
from shedder.store.codec import text_of

if TYPE_CHECKING:
    from redis import Redis
    from rq.job import Job, JobStatus

KEYS = rq_keys()
FORKS_AND_NOT = pytest.mark.parametrize("worker_class", [Worker, SimpleWorker])
ALL_KINDS = pytest.mark.parametrize("worker_class", [Worker, SimpleWorker, SpawnWorker])


def waiting(redis: Redis, lane: str = "mail") -> list[str]:
    """The ids in the list of `lane`, in order."""
    return [text_of(each) for each in redis.lrange(f"{KEYS.engine.lists}{lane}", 0, -1)]


def status_of(job: Job) -> JobStatus:
    """What RQ says of `job` now."""
    return job.get_status()


def oldest_claim_ms(redis: Redis) -> float:
    """How long ago the oldest claim gave its last sign of life."""
    oldest: Any = redis.zrange(KEYS.claims, 0, 0, withscores=True)
    if not oldest:
        return 0.0
    seconds, microseconds = redis.time()
    return float(seconds * 1000 + microseconds / 1000 - oldest[0][1])


def is_halted(pid: int) -> bool:
    """Whether the process is stopped by a signal."""
    stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
    return stat.rpartition(")")[2].split()[0] == "T"
