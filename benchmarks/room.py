"""A control room with much to show: 50 queues with 200 lanes, 200,000 waiting jobs, a policy, and samples."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx

from benchmarks.work import nothing
from shedder import Selection, Shedder
from shedder.cli.web import hold_seldom
from shedder.engine.jobs import function_field
from shedder.lanes import PRIORITIES, Lane
from shedder.policy.model import Policy, Rule
from shedder.queues.samples import SAMPLES_KEPT
from shedder.rq import SimpleWorker
from shedder.store.keys import SAMPLE_STEPS
from shedder.web.app import ControlRoom
from shedder.web.hosts import AsgiApp
from shedder.web.site import SiteSettings

if TYPE_CHECKING:
    import redis

QUEUES = tuple(f"queue-{number:02}" for number in range(50))
LANES = tuple(Lane(queue, priority).name for queue in QUEUES for priority in PRIORITIES)
WORKERS = 30
PAUSED, DIVERTED, LATE = QUEUES[0], QUEUES[1], QUEUES[2]
STEPS_OF_ALL = 2
"""The steps of samples that all lanes have; the first lane has all of them."""

_FUNCTION = f"{nothing.__module__}.{nothing.__qualname__}"
_AT_ONCE = 2000
_FORMAT = struct.Struct(">8I")


def furnish(client: redis.Redis, jobs: int) -> Shedder:
    """Put the jobs into the lanes, the oldest of each two minutes old, and an hour of samples for each lane."""
    client.flushall()
    shedder = Shedder(client, by="bench")
    now = datetime.now(UTC)
    for lane in LANES:
        client.sadd(shedder.keys.engine.queues, shedder.keys.engine.lists + lane)
    for first in range(0, jobs, _AT_ONCE):
        _enqueue(client, shedder, range(first, min(first + _AT_ONCE, jobs)), now, jobs)
    _sample(client, shedder, now)
    shedder.policies.apply(_policy(), reason="the night's run")
    shedder.pause(PAUSED, reason="the database is at 99 %")
    shedder.divert(DIVERTED, reason="the database is at 99 %")
    shedder.incidents.open("receipts are late", severity=2)
    for _ in range(WORKERS):
        SimpleWorker(list(QUEUES), connection=client, worker_ttl=3600).register_birth()
    return shedder


def _policy() -> Policy:
    return Policy(rules=tuple(
        Rule(queue=queue, selection=Selection(functions=("benchmarks.*",)), label=f"work of {queue}",
             tolerance=timedelta(seconds=30) if queue == LATE else timedelta(minutes=30))
        for queue in QUEUES
    ))  # fmt: skip


def _enqueue(client: redis.Redis, shedder: Shedder, numbers: range, now: datetime, jobs: int) -> None:
    engine = shedder.keys.engine
    with client.pipeline(transaction=False) as ask:
        for number in numbers:
            at = (now - timedelta(minutes=2) * (jobs - number) / jobs).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            ask.hset(f"{engine.jobs}job-{number:06}", mapping={
                "enqueued_at": at, "created_at": at, "status": "queued", "shedder": function_field(_FUNCTION, at),
            })  # fmt: skip
            ask.rpush(engine.lists + LANES[number % len(LANES)], f"job-{number:06}")
        ask.execute()


def _sample(client: redis.Redis, shedder: Shedder, now: datetime) -> None:
    end = int(now.timestamp())
    for number, lane in enumerate(LANES):
        steps = zip(shedder.keys.samples(lane), SAMPLE_STEPS, SAMPLES_KEPT, strict=True)
        for key, step, kept in list(steps)[: STEPS_OF_ALL if number else None]:
            client.rpush(key, *_samples(number, range(end - kept * step, end, step)))


def sample_on(client: redis.Redis, shedder: Shedder) -> None:
    """Write the samples that workers would have taken since the last one."""
    step, now = SAMPLE_STEPS[0], int(datetime.now(UTC).timestamp())
    last: Any = client.lrange(shedder.keys.samples(LANES[0])[0], -1, -1)
    moments = range(int.from_bytes(last[0][:4], "big") + step, now + 1, step)
    with client.pipeline(transaction=False) as ask:
        for number, lane in enumerate(LANES if moments else ()):
            ask.rpush(shedder.keys.samples(lane)[0], *_samples(number, moments))
            ask.ltrim(shedder.keys.samples(lane)[0], -SAMPLES_KEPT[0], -1)
        ask.execute()


def _samples(number: int, moments: range) -> Iterator[bytes]:
    """Samples of a lane that goes up and down: depth, age, started and ended jobs."""
    for at in moments:
        depth, done = 1000 + (at * (number + 7)) % 100, at % 100_000_000 * (1 + number % 5)
        yield _FORMAT.pack(at, depth, 0, number % 3, 120, 0, done, done)


# the pages in a process of their own


@contextmanager
def opened(url: str) -> Iterator[tuple[httpx.Client, int]]:
    """A browser at the control room of the Redis at `url`, and the process that serves it meanwhile."""
    words = [sys.executable, "-m", "benchmarks.room", url]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            with httpx.Client(base_url=process.stdout.readline().strip(), timeout=120) as browser:
                yield browser, process.pid
        finally:
            process.terminate()


def longest_hold(browser: httpx.Client) -> tuple[float, float]:
    """For how many seconds the event loop of the pages was held at most since this was asked last.

    By the clock, and without the moments in which the process had no processor.
    """
    by_clock, by_processor = browser.get(HOLD_PATH).json()
    return by_clock, by_processor


HOLD_PATH = "/longest-hold"
_GLANCE_SECONDS = 0.005


class Watching:
    """An ASGI app, and how long its event loop is held.

    Args:
        app: The app.
    """

    def __init__(self, app: Any) -> None:
        self._app, self._longest, self._longest_own = app, 0.0, 0.0
        self._watch: asyncio.Task[None] | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self._watch = self._watch or asyncio.create_task(self._look())
        if scope.get("path") != HOLD_PATH:
            await self._app(scope, receive, send)
            return
        body = json.dumps([self._longest, self._longest_own]).encode()
        self._longest = self._longest_own = 0.0
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})

    async def _look(self) -> None:
        while True:
            began, worked = time.perf_counter(), time.process_time()
            await asyncio.sleep(_GLANCE_SECONDS)
            held = time.perf_counter() - began - _GLANCE_SECONDS
            self._longest = max(self._longest, held)
            self._longest_own = max(self._longest_own, min(held, time.process_time() - worked))


def serve(url: str) -> None:
    """Serve the pages as `shedder web` does, to an operator, and print where."""
    import redis
    import uvicorn

    room = ControlRoom(redis.Redis.from_url(url), SiteSettings(allow_actions=True, is_hosted=True))
    while room.read().trouble:  # a busy machine may take longer for the first reading than the pages wait
        time.sleep(_GLANCE_SECONDS)
    hold_seldom()
    app = Watching(AsgiApp(room, user=lambda _request: "ana@desk"))
    with socket.create_server(("127.0.0.1", 0), backlog=256) as bound:
        bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        print(f"http://127.0.0.1:{bound.getsockname()[1]}", flush=True)
        settings = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", ws="none")
        uvicorn.Server(settings).run(sockets=[bound])


if __name__ == "__main__":
    serve(sys.argv[1])
