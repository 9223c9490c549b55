"""How long our calls hold an event loop while the server stands still; `python -m benchmarks.loop_held`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from benchmarks.samples import median
from shedder.embedded import EmbeddedServer
from shedder.policy.applied import async_policy_copy
from shedder.rq import Queue
from tests import jobs
from tests.loops import async_client, held_once

ROUNDS = 21
SIZES = (1, 50, 200, 500)
"""Jobs of one call; 500 is the most that the page on asyncio proposes."""


def main() -> None:
    """Print the time for each number of jobs."""
    with EmbeddedServer() as server:
        asyncio.run(_measure(server))


async def _measure(server: EmbeddedServer) -> None:
    async with async_client(server) as client:
        with server.client() as connection:
            mail = Queue("mail", connection=connection, async_connection=client)
            for size in SIZES:
                held = [1e3 * await held_once(server, _enqueue(mail, size)) for _ in range(ROUNDS)]
                print(f"{size:>4} jobs in a call: held for {median(held):.1f} ms (p100 {max(held):.1f})")


def _enqueue(mail: Queue, size: int) -> Callable[[], Coroutine[Any, Any, None]]:
    async def one() -> None:
        client = mail.async_connection
        assert client is not None
        async_policy_copy(client)._asked_at = -float("inf")  # the policy is asked for as well
        await mail.enqueue_async(jobs.mark, "a", "b")

    async def many() -> None:
        await mail.enqueue_many_async([Queue.prepare_data(jobs.mark, ("a", "b")) for _ in range(size)])

    return one if size == 1 else many


if __name__ == "__main__":
    main()
