"""Lanes that the tests of found bugs fill and claim from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shedder.engine.names import rq_keys
from shedder.queues.claims import Claimed, claim_job
from shedder.rq import Queue
from shedder.store.store import Store
from tests import jobs

if TYPE_CHECKING:
    from redis import Redis

KEYS = rq_keys()
MAIL = KEYS.lane("mail")[0]
REPORTS = KEYS.lane("reports")[0]


def enqueue(redis: Redis, marks: str, *ids: str, lane: str = "mail") -> None:
    for job in ids:
        Queue(lane, connection=redis).enqueue(jobs.mark, marks, job, job_id=job)


def claim(redis: Redis, *lanes: str) -> Claimed:
    found = Store(redis, rq_keys()).run(claim_job(KEYS, lanes or ("mail",), worker="w"))
    assert isinstance(found, Claimed)
    return found
