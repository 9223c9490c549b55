"""Puts 2,000,000 jobs into a queue within seconds.

A few jobs are enqueued as an application would, by RQ or by shedder, and a script of the benchmark
copies them: each copy has the same fields, an id of its own and a time of enqueueing of its own.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from benchmarks import work
from benchmarks.progress import say
from shedder.rq import Queue

if TYPE_CHECKING:
    import redis
    import rq

QUEUE = "mail"

BULK = (work.send_newsletter, work.send_digest)
"""Three jobs in ten each: the 60 % that a divert by function takes."""

MIX: tuple[Callable[..., None], ...] = (
    work.send_newsletter, work.send_digest, work.build_report, work.send_newsletter,
    work.charge_card, work.send_digest, work.build_report, work.send_newsletter,
    work.send_digest, work.charge_card,
)  # fmt: skip
"""The functions of ten jobs in a row."""

BULK_SHARE = sum(each in BULK for each in MIX) / len(MIX)

_JOBS_PER_CALL = 1000
_CALLS_PER_TRIP = 20
_IDS = "00000000-0000-4000-8000-"

_COPY = """
local list, job_prefix, ids = KEYS[1], ARGV[1], ARGV[2]
local first, count, second = tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]
local models, position = {}, 6
while position <= #ARGV do
  local size = tonumber(ARGV[position])
  models[#models + 1] = {unpack(ARGV, position + 1, position + size)}
  position = position + 1 + size
end
local pushed = {}
for index = 0, count - 1 do
  local id = ids .. string.format('%012d', first + index)
  local key = job_prefix .. id
  redis.call('HSET', key, unpack(models[(first + index) % #models + 1]))
  redis.call('HSET', key, 'enqueued_at', second .. string.format('%06dZ', index * 1000))
  pushed[#pushed + 1] = id
end
redis.call('RPUSH', list, unpack(pushed))
return #pushed
"""


@dataclass(frozen=True, slots=True)
class Load:
    """What is to wait in a queue.

    Attributes:
        jobs: How many.
        functions: What they do: one job each in turn.
        queue_class: Who writes them: `rq.Queue` or ours.
        queue: Name of the queue.
        data_bytes: Bytes of text, which does not compress, among the arguments of each job.
        tenants: Tenants that the jobs' metas name in turn; none for jobs without a meta.
    """

    jobs: int
    functions: tuple[Callable[..., None], ...] = MIX
    queue_class: type[rq.Queue] = Queue
    queue: str = QUEUE
    data_bytes: int = 0
    tenants: int = 0


def fill(connection: redis.Redis, load: Load) -> list[str]:
    """Put the jobs into the queue, oldest first; the ids in order. Nothing else is there then."""
    connection.flushall()
    models = _models(connection, load)
    connection.sadd("rq:queues", f"rq:queue:{load.queue}")
    copy: Any = connection.register_script(_COPY)
    calls = range(0, load.jobs, _JOBS_PER_CALL)
    began = datetime.now(UTC).replace(tzinfo=None) - timedelta(seconds=len(calls))
    for start in range(0, len(calls), _CALLS_PER_TRIP):
        with connection.pipeline(transaction=False) as trip:
            for number, first in enumerate(calls[start : start + _CALLS_PER_TRIP], start):
                second = (began + timedelta(seconds=number)).strftime("%Y-%m-%dT%H:%M:%S.")
                count = min(_JOBS_PER_CALL, load.jobs - first)
                keys = ["rq:queue:" + load.queue]
                copy(keys=keys, args=["rq:job:", _IDS, first, count, second, *models], client=trip)
            trip.execute()
    if load.jobs >= 1_000_000:
        say(f"{load.jobs:,} jobs wait in {load.queue}")
    return [f"{_IDS}{number:012d}" for number in range(load.jobs)]


def functions_as_globs(functions: Sequence[Callable[..., None]]) -> tuple[str, ...]:
    """The names of functions, as `--function` takes them."""
    return tuple(f"{each.__module__}.{each.__qualname__}" for each in functions)


def _models(connection: redis.Redis, load: Load) -> list[Any]:
    """For each function the number of values, then field, value, ... of a job's hash."""
    text = "".join(random.Random(7).choices("abcdefghijklmnopqrstuvwxyz0123456789", k=load.data_bytes))
    arguments: list[Any] = []
    scratch = load.queue_class(load.queue, connection=connection)
    for number, function in enumerate(load.functions):
        tenant = {"tenant": f"tenant-{number % load.tenants}", "request": _IDS} if load.tenants else None
        job = scratch.enqueue(function, 1, *([text] if text else []), meta=tenant)
        fields: Any = connection.hgetall(job.key)
        flat = [part for pair in fields.items() for part in pair]
        arguments += [len(flat), *flat]
    connection.flushall()
    return arguments
