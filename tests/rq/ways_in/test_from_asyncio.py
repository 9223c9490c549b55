"""A job obeys the control of its lane and runs once when a coroutine enqueues it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from rq import RateLimit

from shedder.rq import Queue
from tests import jobs
from tests.loops import async_client
from tests.rq.ways_in.scene import Scene

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from shedder.embedded import EmbeddedServer


def in_loop(scene: Scene, server: EmbeddedServer, work: Callable[[Queue], Awaitable[Any]]) -> Any:
    """What `work` gives, called in a loop with the scene's queue."""

    async def main() -> Any:
        async with async_client(server) as client:
            scene.queue.async_connection = client
            return await work(scene.low)

    return asyncio.run(main())


def test_enqueue_async(scene: Scene, server: EmbeddedServer) -> None:
    """A job of `enqueue_async` obeys the control of its lane and runs once."""
    scene.apply()
    job = in_loop(scene, server, lambda low: low.enqueue_async(jobs.mark, scene.marks, "a"))
    scene.check(job.id, starts=["a"])


def test_enqueue_async_at_front(scene: Scene, server: EmbeddedServer) -> None:
    """A job at the front is first in its lane, and first in its backlog."""
    scene.apply()
    last = in_loop(scene, server, lambda low: low.enqueue_async(jobs.mark, scene.marks, "last"))
    first = in_loop(scene, server, lambda low: low.enqueue_async(jobs.mark, scene.marks, "first", at_front=True))
    scene.check(first.id, last.id, starts=["first", "last"])


def test_enqueue_many_async(scene: Scene, server: EmbeddedServer) -> None:
    """Jobs of `enqueue_many_async` obey the control of their lane and run once, in order."""
    scene.apply()
    datas = [Queue.prepare_data(jobs.mark, (scene.marks, key)) for key in "abc"]
    many = in_loop(scene, server, lambda low: low.enqueue_many_async(datas))
    scene.check(*(job.id for job in many), starts=["a", "b", "c"])


def test_a_job_with_a_rate_limit(scene: Scene, server: EmbeddedServer) -> None:
    """RQ's own rate limit promotes a coroutine's job into its lane, where it obeys the control."""
    scene.apply()
    limit = RateLimit(key="provider", concurrency=1)
    job = in_loop(scene, server, lambda low: low.enqueue_async(jobs.mark, scene.marks, "a", rate_limit=limit))
    scene.check(job.id, starts=["a"])
