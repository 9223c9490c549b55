"""Whether the rate of a drain is kept, and whether released jobs can pile up."""

from __future__ import annotations

import time
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import rq

from benchmarks.claimers import Claimers
from benchmarks.fleet import Fleet, marks
from benchmarks.ground import Ground
from benchmarks.load import QUEUE, Load, fill
from benchmarks.progress import say
from benchmarks.rows import Row, Verdict, count
from benchmarks.settings import Settings
from benchmarks.work import mark
from shedder import Rate, Shedder
from shedder.engine.names import rq_keys
from shedder.queues.drain import LEAST_RELEASED, STARTS_AHEAD_SECONDS
from shedder.rq import SimpleWorker
from shedder.store.store import load_script
from shedder.units import burst_of

QUESTION = 6
TOLERANCE = 0.02
WARM_UP = 1.0
STALL_SECONDS = 2.0
STOCK_WORKERS = 2
MANY_CLAIMS = 1000
FEW = 20


@dataclass(frozen=True, slots=True)
class Pace:
    """When jobs left a backlog.

    Attributes:
        rate: The rate of the drain, jobs a second.
        moments: When jobs left, in seconds of one clock, in order.
        is_starved: The bucket was full most of the time: nobody was free to take more.
    """

    rate: int
    moments: Sequence[float]
    is_starved: bool


def run(settings: Settings) -> Iterator[Row]:
    """Claims alone at three rates, real workers at two, then stalled workers."""
    seconds = settings.pick(short=7, full=20)
    for rate in (50, 500, 5000):
        with Ground(latency_ms=settings.latency_ms) as ground:
            pace = _claims(ground, rate, seconds)
        yield _row(f"drain at {count(rate)}/s, claims alone", pace)
    for rate in (10, 50, 500):
        with Ground(latency_ms=settings.latency_ms) as ground:
            pace = _starts(ground, rate, seconds)
        yield _row(f"drain at {count(rate)}/s, two SimpleWorkers", pace)
    with Ground(latency_ms=settings.latency_ms) as ground:
        yield _stalled_stock(ground)
    with Ground(latency_ms=settings.latency_ms) as ground:
        yield _stalled_ours(ground)


def _claims(ground: Ground, rate: int, seconds: float) -> Pace:
    fill(ground.near, Load(int(rate * (seconds + 4)) + 100))
    _load_gate(ground)
    # before anybody claims: what is claimed until then goes at no pace
    Shedder(ground.near, by="bench").divert(QUEUE, reason="bench")
    at_once = 8 if rate > MANY_CLAIMS else 1
    with Claimers(ground, QUEUE, at_once=at_once) as claimers:
        is_starved = _drain(ground, rate, seconds)
        return Pace(rate, claimers.moments(), is_starved)


def _starts(ground: Ground, rate: int, seconds: float) -> Pace:
    fill(ground.near, Load(int(rate * (seconds + 4)) + 100, functions=(mark,)))
    Shedder(ground.near, by="bench").divert(QUEUE, reason="bench")
    with marks() as found, Fleet(ground, SimpleWorker, [QUEUE], workers=2):
        is_starved = _drain(ground, rate, seconds)
        return Pace(rate, sorted(at for _, at in found.read()), is_starved)


def _drain(ground: Ground, rate: int, seconds: float) -> bool:
    """Drain for some time; whether the bucket was full for most of it."""
    shedder = Shedder(ground.client(), by="bench")
    shedder.divert(QUEUE, reason="bench")
    receipt = shedder.drain(QUEUE, rate=Rate(rate), reason="bench")
    bucket = shedder.keys.drain(receipt.lanes[0].order, receipt.lanes[0].lane)
    full, looks = 0, 0
    until = time.monotonic() + WARM_UP + seconds
    while time.monotonic() < until:
        time.sleep(0.1)
        tokens: Any = ground.near.hget(bucket, "tokens")
        full += float(tokens or 0) >= 0.8 * (burst_of(Rate(rate)) - 1)
        looks += 1
    return full > looks / 2 and rate > FEW


def _load_gate(ground: Ground) -> None:
    for name in ("start_job", "claim_job"):
        ground.near.script_load(load_script(name).text)


def _row(case: str, pace: Pace) -> Row:
    rate, moments, burst = pace.rate, pace.moments, burst_of(Rate(pace.rate))
    steady = moments[bisect_left(moments, moments[0] + WARM_UP) :]
    low, high = _extremes(steady, 5.0)
    deviation = max(abs(low / (5 * rate) - 1), abs(high / (5 * rate) - 1))
    _, most = _extremes(moments, 1.0)
    is_reached = round(deviation, 4) <= TOLERANCE and most <= rate + burst
    return Row(
        QUESTION,
        case,
        f"any 5 s: {low / 5:.1f} to {high / 5:.1f}/s ({deviation * 100:.1f} % off at most); "
        f"any 1 s: {most} at most",
        goal=f"within 2 % over any 5 s; in 1 s at most {rate + burst:g} (burst {burst:g})",
        verdict=Verdict.of(is_reached),
        note="tokens were left over: nobody on this machine was free to take more"
        if pace.is_starved
        else "",
        values={"rate": rate, "low": low / 5, "high": high / 5, "most_in_1_s": most,
                "is_starved": pace.is_starved},
    )  # fmt: skip


def _extremes(moments: Sequence[float], width: float) -> tuple[int, int]:
    """The fewest and the most moments in any window of `width` seconds within the whole.

    The windows that begin at a moment hold the most, those that begin just behind it the fewest.
    """
    fewest, most = len(moments), 0
    for index, at in enumerate(moments):
        if at + width > moments[-1]:
            break
        fewest = min(fewest, bisect_right(moments, at + width) - index - 1)
        most = max(most, bisect_left(moments, at + width) - index)
    return fewest, most


def _stalled_stock(ground: Ground) -> Row:
    rate = 50
    fill(ground.near, Load(1000))
    shedder = Shedder(ground.client(), by="bench")
    cap = max(LEAST_RELEASED * STOCK_WORKERS, int(rate * STARTS_AHEAD_SECONDS))
    with Fleet(ground, rq.SimpleWorker, [QUEUE], workers=STOCK_WORKERS) as fleet:
        shedder.divert(QUEUE, reason="bench")
        receipt = shedder.drain(QUEUE, rate=Rate(rate), reason="bench")
        lengths = []
        for act in (fleet.go_on, fleet.halt, fleet.go_on):
            act()
            until = time.monotonic() + STALL_SECONDS + (1.0 if act == fleet.halt else 0)
            while time.monotonic() < until:
                shedder.release_for_stock_workers(receipt)
                listed: Any = ground.near.llen(f"rq:queue:{QUEUE}")
                lengths.append(int(listed))
                time.sleep(0.05)
    say(f"released and not started, stock workers: {max(lengths)}, cap {cap}")
    return Row(
        QUESTION,
        f"drain at {rate}/s for {STOCK_WORKERS} stock workers, halted for 3 s and let go on",
        f"{max(lengths)} released and not started at most",
        goal=f"never above its cap, here {cap}",
        verdict=Verdict.of(max(lengths) <= cap),
        values={"most": max(lengths), "cap": cap},
    )


def _stalled_ours(ground: Ground) -> Row:
    rate, workers = 500, 2
    fill(ground.near, Load(5000))
    shedder = Shedder(ground.client(), by="bench")
    keys = rq_keys()
    with Fleet(ground, SimpleWorker, [QUEUE], workers=workers) as fleet:
        shedder.divert(QUEUE, reason="bench")
        shedder.drain(QUEUE, rate=Rate(rate), reason="bench")
        held = []
        for act in (fleet.go_on, fleet.halt, fleet.go_on):
            act()
            until = time.monotonic() + STALL_SECONDS
            while time.monotonic() < until:
                listed: Any = ground.near.llen(f"rq:queue:{QUEUE}")
                claimed: Any = ground.near.zcard(keys.claims)
                held.append(int(listed) + int(claimed))
                time.sleep(0.01)
    return Row(
        QUESTION,
        f"drain at {rate}/s for {workers} workers of ours, halted for 2 s and let go on",
        f"{max(held)} released and not started at most",
        goal=f"one for each worker, here {workers}",
        verdict=Verdict.of(max(held) <= workers),
        values={"most": max(held), "cap": workers},
    )
