"""What the control room costs: its first byte, its size, its commands, a hundred open pages, its event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import httpx
import jinja2

from benchmarks.gauges import cpu_seconds, watched
from benchmarks.ground import Ground
from benchmarks.room import LANES, LATE, QUEUES, furnish, longest_hold, opened, sample_on
from benchmarks.rows import Row, Verdict, count, per_second, seconds
from benchmarks.samples import median, quantile
from benchmarks.settings import Settings
from benchmarks.step_sizes import served_first

if TYPE_CHECKING:
    from redis import Redis

    from shedder import Shedder

QUESTION = 20
FIRST_BYTE_GOAL = 0.1
SIZE_GOAL = 50_000
HOLD_GOAL = 0.05
PAGES = 100
VIEWS = ("/", f"/lane/{LATE}", f"/lane/{QUEUES[0]}?span=14d", "/drains", "/journal", "/settings", "/work",
         f"/breakdown/{LATE}?by=function")  # fmt: skip
RENEWED, OLD = 1.2, 4.0
"""Seconds since the last reading: it answers and is renewed beside; it is read anew."""


@dataclass(slots=True)
class Seen:
    """What asking for a page several times has shown.

    Attributes:
        first_bytes: Seconds until the first byte, each time.
        wholes: Seconds until the last one, each time.
        size: Bytes of the page as it is sent, compressed.
        commands: Commands on the server, those inside scripts among them, the least of all times.
        cpu: Processor seconds of the pages' process, the least of all times.
    """

    first_bytes: list[float] = field(default_factory=list)
    wholes: list[float] = field(default_factory=list)
    size: int = 0
    commands: int = 0
    cpu: float = 0.0

    def ask(self, browser: httpx.Client, path: str) -> None:
        """Ask for a page once."""
        first, whole, self.size = _ask(browser, path)
        self.first_bytes.append(first)
        self.wholes.append(whole)

    @property
    def times(self) -> str:
        """When the first and the last byte came."""
        return f"first byte {_times(self.first_bytes)}; the whole {_times(self.wholes)}"

    @property
    def values(self) -> dict[str, list[float]]:
        """What was measured."""
        return {"first_bytes": self.first_bytes, "wholes": self.wholes}


def run(settings: Settings) -> Iterator[Row]:
    """Each view from a shared reading, the first one after a while, and a hundred open pages."""
    times, jobs = settings.times(short=9, full=30), settings.size(short=200_000, full=200_000)
    with Ground(latency_ms=settings.latency_ms) as ground:
        shedder = furnish(ground.near, jobs)
        what = f"{count(jobs)} jobs in {len(LANES)} lanes"
        with opened(ground.url) as (browser, pages), served_first(ground.server.pid, pages):
            first, whole, _ = _ask(browser, "/")
            for path in VIEWS:
                sample_on(ground.near, shedder)
                yield _view(ground, browser, pages, path, times=times, what=what)
            for age, said in ((RENEWED, "the last reading is 1.2 s old"), (OLD, "nobody has looked for 4 s")):
                for path in ("/", f"/lane/{LATE}"):
                    seen = _seen(ground, shedder, browser, times, path, age=age)
                    yield _age(seen, f"{path} when {said}; {what}", slowed=_slowed_by_rest(age))
            yield Row(
                QUESTION,
                f"/ after the start; {what}",
                f"first byte {seconds(first)}; the whole {seconds(whole)}",
                values={"first": first, "whole": whole},
            )
            yield from _open_pages(ground, browser, pages, settings.pick(short=10, full=60))


def _ask(browser: httpx.Client, path: str) -> tuple[float, float, int]:
    """Seconds until the first and until the last byte of a page came, and the bytes that were sent."""
    began = time.perf_counter()
    with browser.stream("GET", path, headers={"accept-encoding": "gzip"}) as answer:
        body = answer.iter_raw()
        size = len(next(body))
        first = time.perf_counter() - began
        size += sum(map(len, body))
        whole = time.perf_counter() - began
    assert answer.status_code == 200, (path, answer.status_code)
    return first, whole, size


def _seen(ground: Ground, shedder: Shedder, browser: httpx.Client, times: int, path: str, *, age: float) -> Seen:
    found = Seen()
    for _ in range(times):
        sample_on(ground.near, shedder)
        time.sleep(age)
        found.ask(browser, path)
    return found


def _view(ground: Ground, browser: httpx.Client, pages: int, path: str, *, times: int, what: str) -> Row:
    _ask(browser, path)
    found, commands, cpu = Seen(), [], []
    for _ in range(times):
        before = cpu_seconds(pages)
        with watched(ground.near, ground.server.pid) as served:
            found.ask(browser, path)
        cpu.append(cpu_seconds(pages) - before)
        commands.append(served.total)
    # a reading that was renewed meanwhile is not of the view
    found.commands, found.cpu = min(commands), min(cpu)
    return Row(
        QUESTION,
        f"{path} from a shared reading; {what}",
        f"{found.times} ({seconds(found.cpu)} of the processor); {found.size / 1000:.1f} kB; "
        f"{count(found.commands)} commands",
        goal=f"{seconds(FIRST_BYTE_GOAL)}, {SIZE_GOAL // 1000} kB",
        verdict=Verdict.of(median(found.first_bytes) <= FIRST_BYTE_GOAL and found.size <= SIZE_GOAL),
        note="compressed; the commands are those of the view beside the shared reading",
        values={**found.values, "size": found.size, "commands": found.commands, "cpu": found.cpu},
    )


def _slowed_by_rest(rest: float) -> float:
    """How many times longer a computation of this process takes when it has rested for so many seconds.

    A virtual machine may take the memory of a program that rests for cold.
    """
    page = jinja2.Environment(autoescape=True).from_string(
        "{% for each in rows %}{{ each }} of {{ loop.index }}{% endfor %}"
    )

    def took() -> float:
        began = time.perf_counter()
        for _ in range(20):
            page.render(rows=range(500))
        return time.perf_counter() - began

    hot = min(took() for _ in range(5))
    time.sleep(rest)
    return took() / hot


def _age(found: Seen, case: str, *, slowed: float) -> Row:
    return Row(
        QUESTION,
        case,
        found.times,
        goal=seconds(FIRST_BYTE_GOAL),
        verdict=Verdict.of(median(found.first_bytes) <= FIRST_BYTE_GOAL),
        note=f"any program of this machine that has rested as long takes {slowed:.1f}x its time at first",
        values={**found.values, "slowed_by_rest": slowed},
    )


def _times(found: Sequence[float]) -> str:
    return f"{seconds(median(found))}, p90 {seconds(quantile(found, 0.9))}"


def _open_pages(ground: Ground, browser: httpx.Client, pid: int, span: int) -> Iterator[Row]:
    time.sleep(OLD)
    with watched(ground.near, ground.server.pid) as served:
        _ask(browser, "/")
    reading = served.total
    cost: dict[int, tuple[float, tuple[float, float]]] = {}
    cpu = []
    for pages in (1, PAGES):
        before = cpu_seconds(pid)
        cost[pages] = asyncio.run(_cost_of(ground.near, ground.server.pid, browser, pages, span))
        cpu.append((cpu_seconds(pid) - before) / span)
    (one, alone), (many, (hold, own)) = cost[1], cost[PAGES]
    yield Row(
        QUESTION,
        f"{PAGES} open pages of all lanes for {span} s",
        f"{per_second(many)} commands, {100 * cpu[1]:.0f} % of a core for the pages",
        f"one open page: {per_second(one)}, {100 * cpu[0]:.0f} %",
        ratio=f"{many / one:.2f}",
        goal="one reading a second",
        verdict=Verdict.of(many <= 1.1 * reading),
        note=f"a reading has {count(reading)} commands, those inside of scripts among them; one page alone asks for it "
        "every other second",
        values={"one": one, "many": many, "reading": reading},
    )
    yield Row(
        QUESTION,
        f"longest hold of the event loop with {PAGES} open pages",
        f"{seconds(hold)}; {seconds(own)} of the processor",
        f"one open page: {seconds(alone[0])}; {seconds(alone[1])}",
        goal=seconds(HOLD_GOAL),
        verdict=Verdict.of(hold <= HOLD_GOAL),
        note="moments in which the machine ran something else among them",
        values={"one": alone, "many": [hold, own]},
    )


async def _cost_of(
    near: Redis, pid: int, browser: httpx.Client, pages: int, span: int
) -> tuple[float, tuple[float, float]]:
    """Commands a second while so many pages are open, and the longest holds of the event loop."""
    limits = httpx.Limits(max_connections=pages)
    async with httpx.AsyncClient(base_url=browser.base_url, limits=limits, timeout=120) as client:
        heard = asyncio.Semaphore(0)
        open_pages = [asyncio.create_task(_listen(client, heard)) for _ in range(pages)]
        for _ in open_pages:
            await heard.acquire()
        await asyncio.to_thread(longest_hold, browser)
        with watched(near, pid) as served:
            began = time.monotonic()
            await asyncio.sleep(span)
            took = time.monotonic() - began
        hold = await asyncio.to_thread(longest_hold, browser)
        for each in open_pages:
            each.cancel()
        await asyncio.gather(*open_pages, return_exceptions=True)
    return served.total / took, hold


async def _listen(client: httpx.AsyncClient, heard: asyncio.Semaphore) -> None:
    async with client.stream("GET", "/live", params={"page": "/"}) as answer:
        is_first = True
        async for _ in answer.aiter_raw():
            if is_first:
                heard.release()
                is_first = False
