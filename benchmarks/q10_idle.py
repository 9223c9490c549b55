"""What 100 idle workers cost the server."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import rq

from benchmarks.fleet import Fleet, Marks, marks, wait_for
from benchmarks.gauges import watched
from benchmarks.ground import Ground
from benchmarks.load import Load, fill
from benchmarks.progress import say
from benchmarks.rows import Row, Verdict, count, seconds
from benchmarks.settings import Settings
from benchmarks.work import mark, nothing
from shedder import Rate, Shedder
from shedder.rq import Queue, SimpleWorker

if TYPE_CHECKING:
    from rq.worker import BaseWorker

QUESTION = 10
WORKERS = 100
NAME = "first"
TRIALS = 10
DRAIN_RATE = 20


@dataclass(frozen=True, slots=True)
class Idle:
    """What idle workers cost, each second.

    Attributes:
        packets: Packets that they send.
        commands: Commands on the server, those inside scripts among them.
        cpu: Share of one processor that the server uses.
        latest: Longest seconds from an enqueue to the start, with the producer's own kind.
        latest_stock: The same with a stock producer.
    """

    packets: float
    commands: float
    cpu: float
    latest: float
    latest_stock: float


def run(settings: Settings) -> Iterator[Row]:
    """Ours, then stock; then ours while a slow drain is under way."""
    span = settings.pick(short=8, full=60)
    ours = _measure(settings, SimpleWorker, Queue, span)
    theirs = _measure(settings, rq.SimpleWorker, rq.Queue, span)
    yield Row(
        QUESTION,
        f"{WORKERS} idle SimpleWorkers for {span} s",
        _text(ours),
        f"stock: {_text(theirs)}",
        f"{ours.commands / max(theirs.commands, 0.01):.3g}x the commands",
        "no more commands than stock at the same bound of pickup latency",
        Verdict.of(ours.commands <= theirs.commands),
        "pickup: the longest of ten, from a producer of the same kind, and from a stock one",
        {"ours": [ours.packets, ours.commands, ours.cpu],
         "theirs": [theirs.packets, theirs.commands, theirs.cpu]},
    )  # fmt: skip
    yield _while_draining(settings, span)


def _measure(settings: Settings, worker_class: type[BaseWorker], queue_class: type[rq.Queue], span: float) -> Idle:
    with (
        marks() as found,
        Ground(latency_ms=settings.latency_ms) as ground,
        Fleet(ground, worker_class, [NAME], workers=WORKERS),
    ):
        _warm_up(ground, queue_class, found)
        with watched(ground.near, ground.server.pid) as served:
            time.sleep(span)
        say(f"{worker_class.__module__}: {served.total / span:.0f} commands/s")
        return Idle(
            packets=served.reads / span,
            commands=served.total / span,
            cpu=served.cpu / span,
            latest=_latest(ground, queue_class, found),
            latest_stock=_latest(ground, rq.Queue, found),
        )


def _warm_up(ground: Ground, queue_class: type[rq.Queue], found: Marks) -> None:
    """The scripts are known, and what workers do at their start is over."""
    queue_class(NAME, connection=ground.near).enqueue(mark, 0)
    wait_for(lambda: found.count() == 1, timeout=60)
    time.sleep(3.0)


def _latest(ground: Ground, queue_class: type[rq.Queue], found: Marks) -> float:
    queue = queue_class(NAME, connection=ground.client())
    times = []
    for number in range(TRIALS):
        before = found.count()
        began = time.monotonic()
        queue.enqueue(mark, number)
        wait_for(lambda before=before: found.count() > before, timeout=30)  # type: ignore[misc]
        times.append(max(at for _, at in found.read()) - began)
        time.sleep(0.1)
    return max(times)


def _text(idle: Idle) -> str:
    return (
        f"{count(round(idle.commands))} commands/s in {count(round(idle.packets))} packets/s, "
        f"{idle.cpu * 100:.2f} % of a core; picked up within {seconds(idle.latest)}, "
        f"within {seconds(idle.latest_stock)} from a stock producer"
    )


def _while_draining(settings: Settings, span: float) -> Row:
    with Ground(latency_ms=settings.latency_ms) as ground:
        fill(ground.near, Load(int(DRAIN_RATE * (span + 30)), functions=(nothing,), queue=NAME))
        shedder = Shedder(ground.client(), by="bench")
        shedder.divert(NAME, reason="bench")
        with Fleet(ground, SimpleWorker, [NAME], workers=WORKERS):
            shedder.drain(NAME, rate=Rate(DRAIN_RATE), reason="bench")
            time.sleep(2.0)
            with watched(ground.near, ground.server.pid) as served:
                time.sleep(span)
            ended: Any = ground.near.hget(shedder.keys.meters, f"{NAME}:ended")
    assert int(ended) > 0
    return Row(
        QUESTION,
        f"{WORKERS} SimpleWorkers that wait for a drain at {DRAIN_RATE}/s",
        f"{count(round(served.total / span))} commands/s in {count(round(served.reads / span))} "
        f"packets/s, {served.cpu / span * 100:.1f} % of a core",
        note="the jobs that run among it",
        values={"commands": served.total / span, "packets": served.reads / span,
                "cpu": served.cpu / span},
    )  # fmt: skip
