"""Many open pages beside working workers: none misses an event, and the process does not grow."""

from __future__ import annotations

import asyncio
import json
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from shedder.rq import SimpleWorker
from tests.waiting import PATIENCE_SECONDS, wait_until
from tests.web.test_web import running
from tests.workers import Yard

if TYPE_CHECKING:
    from collections.abc import Callable

    from shedder.embedded import EmbeddedServer
    from tests.features.scene import Scene

MOST_GROWTH = 16 * 2**20
"""Bytes: what caches fill and what Python's memory leaves in pieces."""

OFTEN_SECONDS = 0.2
"""Between two looks of the short form; else a second."""

WARM_UP = 5
"""Events until all that is kept for good has been made."""


class Listener:
    """An open page: what it heard.

    Attributes:
        seen: The numbers of the events that it was shown, in order.
        went_back: Whether a message was older than the one before.
    """

    def __init__(self) -> None:
        self.seen: list[int] = []
        self.went_back = False
        self._at = ""

    async def listen(self, client: httpx.AsyncClient, page: str) -> None:
        """Hear until the task is cancelled; a stream that ends is asked for again, as browsers do."""
        while True:
            async with client.stream("GET", "/live", params={"page": page}) as answer:
                async for line in answer.aiter_lines():
                    if line.startswith("data:"):
                        self._take(json.loads(line.removeprefix("data:")))

    def _take(self, message: dict[str, Any]) -> None:
        self.went_back = self.went_back or message["at"] < self._at
        self._at = message["at"]
        numbers = {int(each) for text in message["parts"].values() for each in re.findall(r"change (\d+)", text)}
        self.seen += sorted(numbers - {*self.seen})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("pages", "seconds"), [(30, 0), pytest.param(100, 300, marks=pytest.mark.long)], ids=["short", "five minutes"]
)
def test_open_pages_miss_nothing(
    scene: Scene, server: EmbeddedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pages: int, seconds: int
) -> None:
    """Each of many open pages shows every change, in order, and the memory of their process does not grow."""
    if not seconds:
        for name in ("hosts.TICK_SECONDS", "reading.GOOD_FOR_SECONDS"):
            monkeypatch.setattr(f"shedder.web.{name}", OFTEN_SECONDS)
    with Yard(server, tmp_path) as yard, running(server) as (url, process):
        for _ in range(2):
            yard.start("mail", worker_class=SimpleWorker)
        listeners = [Listener() for _ in range(pages)]
        sizes = asyncio.run(_change_before(url, listeners, scene, lambda: memory_of(process.pid), seconds))
    assert [list(range(len(sizes)))] * pages == [each.seen for each in listeners]
    assert not any(each.went_back for each in listeners)
    assert sizes[-1] - sizes[WARM_UP] <= MOST_GROWTH


async def _change_before(
    url: str, listeners: list[Listener], scene: Scene, measure: Callable[[], int], seconds: int
) -> list[int]:
    """Change something before all listeners, each time when they have seen the last; memory after each."""
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=url, limits=limits, timeout=PATIENCE_SECONDS) as client:
        open_pages = [
            asyncio.create_task(each.listen(client, ("/", "/journal")[number % 2]))
            for number, each in enumerate(listeners)
        ]
        sizes: list[int] = []
        began = time.monotonic()
        while len(sizes) <= WARM_UP + 1 or time.monotonic() - began < seconds:
            await asyncio.to_thread(_change, scene, len(sizes))
            await asyncio.to_thread(_wait_for, listeners, len(sizes))
            sizes.append(measure())
        for each in open_pages:
            each.cancel()
        await asyncio.gather(*open_pages, return_exceptions=True)
        return sizes


def _change(scene: Scene, number: int) -> None:
    scene.ours("mail").enqueue("benchmarks.work.nothing")
    scene.shedder.pause("orders", reason=f"change {number}")


def _wait_for(listeners: list[Listener], number: int) -> None:
    wait_until(
        lambda: all(each.seen[-1:] == [number] for each in listeners),
        interval=0.02,
        what=f"change {number} on all pages",
    )


def memory_of(pid: int) -> int:
    """Bytes of memory that a process holds."""
    return int(re.findall(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())[0]) * 1024
