"""How a status is asked for, and which workers serve then."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rq.worker import SimpleWorker as StockWorker

from shedder.engine.names import rq_keys
from shedder.lanes import lane_of, lanes_of_target
from shedder.rq import SimpleWorker
from shedder.status.readings import LaneStatus, Status
from shedder.status.status import read_status
from shedder.store.store import Store

if TYPE_CHECKING:
    from redis import Redis


def status(redis: Redis, *targets: str) -> Status:
    lanes = [lane for target in targets for lane in lanes_of_target(target)]
    return read_status(Store(redis, rq_keys()), lanes if targets else None)


def lane(redis: Redis, name: str) -> LaneStatus:
    (found,) = read_status(Store(redis, rq_keys()), [lane_of(name)]).lanes
    return found


def serve(redis: Redis, *queues: str, is_stock: bool = False, name: str = "w") -> None:
    kind = StockWorker if is_stock else SimpleWorker
    kind(list(queues), name=name, connection=redis).register_birth()
