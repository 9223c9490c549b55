"""How long it takes until every process has seen a change of a flag."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Iterator

import redis

from benchmarks.ground import Ground
from benchmarks.rows import Row, Verdict, seconds
from benchmarks.samples import quantile
from benchmarks.settings import Settings
from shedder import Shedder

QUESTION = 17
PROCESSES = 50
GOAL_SECONDS = 1.0
LOST_GOAL_SECONDS = 5.0
POLL_SECONDS = 0.002
PATIENCE_SECONDS = 30.0


def run(settings: Settings) -> Iterator[Row]:
    """With the message, and with the message lost."""
    turns = settings.times(short=3, full=10)
    with Ground() as ground:
        told = [seen for turn in range(turns) for seen in _turn(ground, f"wave-{turn}")]
        lost = [seen for turn in range(turns) for seen in _turn(ground, f"quiet-{turn}", lost=True)]
    yield _row("a change is seen", told, quantile(told, 0.99) < GOAL_SECONDS, GOAL_SECONDS, "p99")
    yield _row("a change whose message is lost is seen", lost, max(lost) < LOST_GOAL_SECONDS,
               LOST_GOAL_SECONDS, "all")  # fmt: skip


def _row(case: str, seen: list[float], is_reached: bool, goal: float, which: str) -> Row:
    p50, p99 = quantile(seen, 0.5), quantile(seen, 0.99)
    return Row(
        QUESTION, f"{case} by {PROCESSES} processes",
        f"p50 {seconds(p50)}, p99 {seconds(p99)}, max {seconds(max(seen))}",
        goal=f"{which} within {goal:g} s", verdict=Verdict.of(is_reached),
        note=f"each looks every {seconds(POLL_SECONDS)}; {len(seen)} measurements",
        values={"p50_s": p50, "p99_s": p99, "max_s": max(seen), "count": len(seen)},
    )  # fmt: skip


def _turn(ground: Ground, flag: str, *, lost: bool = False) -> list[float]:
    reading, writing = os.pipe()
    children = [_follower(ground.url, flag, writing) for _ in range(PROCESSES)]
    try:
        _lines(reading, PROCESSES)
        operator = Shedder(ground.client(), by="bench")
        began = time.time()
        if lost:
            _change_without_message(operator, flag)
        else:
            operator.degrade_flag(flag, reason="bench", force=True)
        return [float(line) - began for line in _lines(reading, PROCESSES)]
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        os.close(reading)
        os.close(writing)


def _change_without_message(operator: Shedder, flag: str) -> None:
    # what change_settings writes, without its PUBLISH
    keys, client = operator.keys, operator.store.connection
    client.hset(keys.flags, flag, '{"v": 1, "since": 1, "percent": 100, "by": "", "why": ""}')
    client.incr(keys.settings_version)


def _follower(url: str, flag: str, writing: int) -> int:
    child = os.fork()
    if child:
        return child
    try:
        flags = Shedder(redis.Redis.from_url(url), by="bench").flags
        while not flags.age_seconds() < float("inf"):
            flags.enabled(flag)
        os.write(writing, b"0\n")
        while flags.enabled(flag):
            time.sleep(POLL_SECONDS)
        os.write(writing, f"{time.time()}\n".encode())
        signal.pause()
    finally:
        os._exit(0)


def _lines(reading: int, count: int) -> list[str]:
    text, deadline = b"", time.monotonic() + PATIENCE_SECONDS
    while text.count(b"\n") < count:
        if not select.select([reading], [], [], max(0.0, deadline - time.monotonic()))[0]:
            raise AssertionError(f"only {text.count(10)} of {count} processes answered")
        text += os.read(reading, 65536)
    return text.decode().splitlines()
