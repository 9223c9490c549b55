"""What a hit on a limit costs beside the raw library, and what passes when the rate changes."""

from __future__ import annotations

import time
import timeit
from collections.abc import Callable, Iterator
from itertools import count as numbers
from typing import TYPE_CHECKING

import limits
from limits.storage import RedisStorage
from limits.strategies import (
    FixedWindowRateLimiter,
    MovingWindowRateLimiter,
    RateLimiter,
    SlidingWindowCounterRateLimiter,
)

from benchmarks.ground import Ground
from benchmarks.rows import Row, Verdict, seconds
from benchmarks.samples import Ratio, compare
from benchmarks.settings import Settings
from shedder import Rate, Shedder
from shedder.settings.windows import StableItem

if TYPE_CHECKING:
    from redis import Redis

QUESTION = 15
RATIO_GOAL = 1.2
OFF_GOAL = 1e-6
HITS = 1_000
TRIES = 300
AMOUNTS = (100, 50, 200)
PATIENCE_SECONDS = 5.0
RAW: dict[str, type[RateLimiter]] = {
    "moving window": MovingWindowRateLimiter,
    "sliding window counter": SlidingWindowCounterRateLimiter,
    "fixed window": FixedWindowRateLimiter,
}


def run(settings: Settings) -> Iterator[Row]:
    """Costs first, then grants in the minute of a change."""
    with Ground(latency_ms=settings.latency_ms) as ground:
        client = ground.client()
        shedder = Shedder(client, by="bench")
        yield _off(shedder)
        yield _on(shedder, client, settings.times(short=7, full=25))
        yield from _changes(ground, client)
        shedder.close()


def _off(shedder: Shedder) -> Row:
    hit = shedder.limits.hit
    took = _each(lambda: hit("nobody-set-this"))
    return Row(
        QUESTION, "a hit on a limit that is off", seconds(took), f"a dict: {seconds(_dict())}",
        goal="under 1 µs", verdict=Verdict.of(took < OFF_GOAL), values={"seconds": took},
    )  # fmt: skip


def _on(shedder: Shedder, client: Redis, repeat: int) -> Row:
    shedder.limits.declare("bench", default="100/minute")
    raw = MovingWindowRateLimiter(_storage(client))
    item = limits.parse("100/minute")
    keys = numbers()

    def ours() -> float:
        return _a_hit(lambda: shedder.limits.hit("bench", f"k{next(keys) % 50}"))

    def theirs() -> float:
        return _a_hit(lambda: raw.hit(item, "bench", f"k{next(keys) % 50}"))

    ratio: Ratio = compare(ours, theirs, repeat=repeat, what="a hit")
    return Row(
        QUESTION, "a hit on a limit that is on", seconds(ratio.ours),
        f"limits alone: {seconds(ratio.theirs)}", str(ratio),
        goal=f"at most {RATIO_GOAL:g}x", verdict=Verdict.of(ratio.median <= RATIO_GOAL),
        values={"ours_s": ratio.ours, "theirs_s": ratio.theirs, "ratio": ratio.median},
    )  # fmt: skip


def _changes(ground: Ground, client: Redis) -> Iterator[Row]:
    ours = _ours_granted(ground)
    for name, kind in RAW.items():
        _leave_the_edge_of_the_minute(name)
        raw = _granted(kind(_storage(client)), lambda amount: limits.parse(f"{amount}/minute"))
        ground.clear()
        stable = _granted(kind(_storage(client)), lambda amount: StableItem(amount, 60))
        ground.clear()
        is_offered = name == "moving window"
        yield Row(
            QUESTION, f"grants in the minute of a change {AMOUNTS} a minute, {name}",
            str(ours) if is_offered else "not offered", f"limits alone: {raw}",
            goal="at most 200" if is_offered else "",
            verdict=Verdict.of(ours == max(AMOUNTS)) if is_offered else Verdict.NO_GOAL,
            note=f"limits with a stable name: {stable}",
            values={"ours": ours, "raw": raw, "stable": stable},
        )  # fmt: skip


def _ours_granted(ground: Ground) -> int:
    app, operator = Shedder(ground.client(), by="bench"), Shedder(ground.client(), by="bench")
    granted = 0
    for amount in AMOUNTS:
        rate = Rate(amount, 60)
        operator.set_limit("change", rate, reason="bench", force=True)
        _await(app, str(rate))
        granted += sum(app.limits.hit("change") for _ in range(TRIES))
    app.close()
    return granted


def _await(app: Shedder, rate: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    app.limits.hit("wake")
    while time.monotonic() < deadline:
        setting = app._watch.known.limits.get("change")
        if setting is not None and setting.body["rate"] == rate:
            return
        time.sleep(0.001)
    raise AssertionError("the change was not seen")


def _granted(limiter: RateLimiter, item_of: Callable[[int], limits.RateLimitItem]) -> int:
    items = [item_of(amount) for amount in AMOUNTS]
    return sum(limiter.hit(item, "change") for item in items for _ in range(TRIES))


def _leave_the_edge_of_the_minute(name: str) -> None:
    # a window of theirs that begins with the minute must not end within the three changes
    if name != "moving window":
        time.sleep(max(0.0, time.time() % 60 - 55))


def _storage(client: Redis) -> RedisStorage:
    return RedisStorage("redis://", connection_pool=client.connection_pool)


def _a_hit(hit: Callable[[], bool]) -> float:
    return timeit.timeit(hit, number=HITS) / HITS


def _each(call: Callable[[], object]) -> float:
    call()
    return min(timeit.repeat(call, number=100_000, repeat=5)) / 100_000


def _dict() -> float:
    known: dict[str, int] = {}
    return _each(lambda: known.get("nobody-set-this"))
