"""What the tests of the features act on: queues, an operator, and the hands of a worker."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import rq
from rq.job import Job

from shedder.api.shedder import Shedder
from shedder.queues.claims import Claimed, NothingClaimed
from shedder.queues.controls import diverts_from
from shedder.rq import Queue
from shedder.store.codec import text_of
from shedder.units import Rate, burst_of
from tests.model.hands import Hands

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from redis import Redis

    from shedder.lanes import Lane


class Scene:
    """One Redis with an operator before it and workers behind it."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis
        self.shedder = Shedder(redis, by="oncall@desk")
        self.keys = self.shedder.keys
        self.hands = Hands(redis, self.keys)
        self._stock: list[rq.Worker] = []

    # producers

    def ours(self, lane: str) -> Queue:
        return Queue(lane, connection=self.redis)

    def stock(self, lane: str) -> rq.Queue:
        return rq.Queue(lane, connection=self.redis)

    def fill(
        self, lane: str, *jobs: str, how: str = "ours", function: str = "app.mail.send", tenant: str = ""
    ) -> list[str]:
        """Enqueue jobs with these ids, in this order."""
        for job in jobs:
            self.hands.enqueue(how, lane, job, function, tenant, at_front=False)
        return list(jobs)

    def job(self, identifier: str) -> Job:
        return Job.fetch(identifier, connection=self.redis)

    # workers

    def claim(self, *queues: str) -> Claimed | NothingClaimed:
        names = [lane.name for lane in self.lanes(*queues)]
        return self.hands.claim(tuple(names), at_a_time=200)

    def take(self, *queues: str) -> bytes:
        """Claim a job that must be there; the claim."""
        claimed = self.claim(*queues)
        assert isinstance(claimed, Claimed)
        return claimed.token

    def run_one(self, *queues: str) -> str:
        """Let the next job start and end; its id, empty when none may start now."""
        claimed = self.claim(*queues)
        if not isinstance(claimed, Claimed):
            return ""
        if claimed.is_undecided and not self.hands.check(claimed.token).is_open:
            return self.run_one(*queues)
        assert "started" == self.hands.start(claimed.token).verdict
        self.hands.report(claimed.token)
        self.hands.finish(claimed.job_id)
        return claimed.job_id

    def run_all(self, *queues: str) -> list[str]:
        """Let jobs run until none may start; their ids."""
        done = []
        while job := self.run_one(*queues):
            done.append(job)
        return done

    def add_stock_worker(self, *lanes: str) -> rq.Worker:
        """Register a stock worker as RQ does; it takes nothing by itself."""
        worker = rq.Worker([self.stock(lane) for lane in lanes], connection=self.redis)
        worker.register_birth()
        self._stock.append(worker)
        return worker

    # what there is

    def lanes(self, *targets: str) -> tuple[Lane, ...]:
        return self.shedder.lanes(targets)

    def listed(self, lane: str) -> list[str]:
        """What stands in the RQ list, where stock workers can take it."""
        return self.ids(self.keys.engine.lists + lane)

    def waiting(self, lane: str) -> list[str]:
        """The lane in reading order."""
        listed, kept, parked, _ = self.keys.lane(lane)
        return [*self.ids(kept), *self.ids(parked), *self.ids(listed)]

    def backlog(self, lane: str) -> list[str]:
        """All backlogs of the lane, in reading order."""
        record = self.redis.hget(self.keys.diverts, lane)
        orders = diverts_from(lane, record)
        return [job for order in orders for key in order.backlog_keys for job in self.ids(key)]

    def ids(self, key: str) -> list[str]:
        return [text_of(job) for job in self.redis.lrange(key, 0, -1)]

    def verbs(self) -> list[str]:
        """What the journal says, oldest first."""
        return [event.verb for event in self.shedder.events(limit=1000)]

    def server_ms(self) -> float:
        seconds, microseconds = self.redis.time()
        return float(seconds * 1000 + microseconds / 1000)

    def allowed(self, rate: Rate, began: datetime) -> float:
        """Jobs that may have started since `began`, which is told in whole milliseconds."""
        seconds = self.server_ms() / 1000 - began.timestamp() + 0.001
        return burst_of(rate) + rate.per_second * seconds

    def let_pass(self, milliseconds: float) -> None:
        """Return when the server's clock shows so much more."""
        until = self.server_ms() + milliseconds
        while (left := until - self.server_ms()) > 0:
            time.sleep(left / 1000)


def numbered(prefix: str, count: int) -> Sequence[str]:
    """Ids such as `a-1` to `a-9`."""
    return [f"{prefix}-{number}" for number in range(1, count + 1)]
