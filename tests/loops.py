"""An event loop that is watched for what holds it, and a server that stands still meanwhile."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import redis.asyncio

from tests.servers import patient

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator

    from shedder.embedded import EmbeddedServer

STILL_SECONDS = 0.5
"""How long the server stands still: what waits for it in the loop holds the loop as long."""

MOST_HELD_SECONDS = STILL_SECONDS / 2
"""More than any work of ours takes on a slow machine; `python -m benchmarks.loop_held` measures what it takes."""

ATTEMPTS = 5

_TICK_SECONDS = 0.001

_RESCUE_SECONDS = 10.0

_SCHEDULED = Path("/proc/thread-self/schedstat")


@dataclass(slots=True)
class Held:
    """How long an event loop was held at most, in seconds."""

    longest: float = 0.0


@asynccontextmanager
async def loop_watched() -> AsyncIterator[Held]:
    """Measure the longest time in which the running loop served nobody."""
    held, ends = Held(), asyncio.Event()
    watcher = asyncio.create_task(_tick(held, ends))
    await asyncio.sleep(0.01)
    try:
        yield held
    finally:
        await asyncio.sleep(0.01)
        ends.set()
        await watcher


async def _tick(held: Held, ends: asyncio.Event) -> None:
    last = _time_awake()
    while not ends.is_set():
        await asyncio.sleep(_TICK_SECONDS)
        now = _time_awake()
        held.longest, last = max(held.longest, now - last - _TICK_SECONDS), now


def _time_awake() -> float:
    """Seconds, without those in which this thread could run and other programs had the processor."""
    try:
        waited = int(_SCHEDULED.read_text(encoding="ascii").split()[1]) / 1e9
    except OSError:  # not Linux
        waited = 0.0
    return time.perf_counter() - waited


@contextmanager
def standing_still(server: EmbeddedServer) -> Iterator[None]:
    """Let the server answer nobody within the block."""
    # what holds the loop would else wait for ever for the end of its own block
    rescue = threading.Timer(_RESCUE_SECONDS, os.kill, (server.pid, signal.SIGCONT))
    os.kill(server.pid, signal.SIGSTOP)
    rescue.start()
    try:
        yield
    finally:
        rescue.cancel()
        os.kill(server.pid, signal.SIGCONT)


@asynccontextmanager
async def async_client(server: EmbeddedServer) -> AsyncIterator[redis.asyncio.Redis]:
    """An asyncio client of `server`, for the running loop."""
    async with redis.asyncio.Redis.from_url(patient(server.url)) as client:
        yield client


async def held_beside(server: EmbeddedServer, work: Callable[[], Coroutine[Any, Any, Any]]) -> float:
    """Seconds that `work` holds the loop at most, begun while the server stands still for a moment.

    A machine may hold a process at any time, but not each time, and what waits for the server waits
    each time. So the first attempt that is good, or the best of several, is meant.
    """
    held = []
    for _ in range(ATTEMPTS):
        held.append(await held_once(server, work))
        if held[-1] <= MOST_HELD_SECONDS:
            break
    return min(held)


async def held_once(server: EmbeddedServer, work: Callable[[], Coroutine[Any, Any, Any]]) -> float:
    """Seconds that `work` held the loop at most, this time."""
    with standing_still(server):
        async with loop_watched() as held:
            task = asyncio.create_task(work())
            await asyncio.sleep(STILL_SECONDS)
            os.kill(server.pid, signal.SIGCONT)
            await task
    return held.longest
