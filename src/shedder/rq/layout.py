"""Which names does RQ give its keys?"""

from __future__ import annotations

from rq.defaults import RQ_KEY_PREFIX
from rq.job import Job
from rq.queue import Queue
from rq.suspension import WORKERS_SUSPENDED

from shedder.keys import EngineKeys, Keys


def rq_keys() -> Keys:
    """The keys of shedder beside those of RQ, as this process' `RQ_KEY_PREFIX` has them."""
    return Keys(
        EngineKeys(
            prefix=RQ_KEY_PREFIX,
            lists=Queue.redis_queue_namespace_prefix,
            jobs=Job.redis_job_namespace_prefix,
            executions=f"{RQ_KEY_PREFIX}:executions:",
            limits=f"{RQ_KEY_PREFIX}:rl:",
            limit_keys=f"{RQ_KEY_PREFIX}:rl-keys",
            queues=Queue.redis_queues_keys,
            suspended=WORKERS_SUSPENDED,
        )
    )
