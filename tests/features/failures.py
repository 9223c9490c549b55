"""Jobs that have failed, as RQ's workers leave them."""

from __future__ import annotations

import base64
import zlib
from typing import TYPE_CHECKING

from rq.defaults import RQ_KEY_PREFIX
from rq.job import JobStatus
from rq.registry import FailedJobRegistry

if TYPE_CHECKING:
    from typing import Protocol

    from redis import Redis
    from rq.job import Job

    from shedder.store.keys import Keys
    from tests.features.scene import Scene

    class Where(Protocol):
        """One Redis, and its keys: a `Scene` or a stage of faults."""

        redis: Redis
        keys: Keys


YEAR = 31_536_000


def report(line: str) -> str:
    """A traceback that ends with `line`."""
    return f'Traceback (most recent call last):\n  File "app.py", line 1, in send\n    raise it\n{line}\n'


def fail(
    scene: Scene,
    lane: str,
    *jobs: str,
    line: str = "app.errors.Down: no answer",
    function: str = "app.mail.send",
    tenant: str = "",
    how: str = "ours",
) -> list[str]:
    """Let jobs have been enqueued, have been taken out of their lane, and have failed."""
    scene.fill(lane, *jobs, how=how, function=function, tenant=tenant)
    for each in jobs:
        fail_job(scene, scene.job(each), line)
    return list(jobs)


def fail_job(where: Where, job: Job, line: str = "app.errors.Down: no answer") -> None:
    """Let a job that waits fail, as `handle_job_failure` of RQ's workers does it."""
    where.redis.lrem(where.keys.engine.lists + job.origin, 0, job.id)
    job.set_status(JobStatus.FAILED)
    with where.redis.pipeline() as pipe:
        job._handle_failure(report(line), pipe)
        pipe.execute()


def failed(scene: Scene, lane: str = "mail") -> list[str]:
    """RQ's registry of failed jobs of a lane, the oldest failure first."""
    return FailedJobRegistry(lane, connection=scene.redis).get_job_ids()


def let_have_failed(scene: Scene, job: str, at_ms: int, line: str = "app.errors.Down: no answer") -> None:
    """Let the failure of a job have been at a time."""
    key = f"{RQ_KEY_PREFIX}:results:{job}"
    packed = base64.b64encode(zlib.compress(report(line).encode())).decode()
    scene.redis.delete(key)
    scene.redis.xadd(key, {"type": 2, "exc_string": packed}, id=f"{at_ms}-0")
    lane = scene.job(job).origin
    scene.redis.zadd(f"{RQ_KEY_PREFIX}:failed:{lane}", {job: at_ms // 1000 + YEAR})
