"""What one server carries, by arithmetic from measured costs, and what breaks first.

`docs/explanation/scale.md` does the arithmetic in words; `benchmarks.publish` writes it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from statistics import mean
from typing import TYPE_CHECKING, Any

import rq

from benchmarks.fleet import Fleet
from benchmarks.gauges import cpu_seconds
from benchmarks.ground import Ground
from benchmarks.load import Load, fill
from benchmarks.q08_worker import in_fork
from benchmarks.rows import Row, count, per_second, seconds
from benchmarks.samples import median
from benchmarks.settings import Settings
from benchmarks.work import nothing
from shedder import Selection, Shedder
from shedder.rq import Queue, SimpleWorker

if TYPE_CHECKING:
    from rq.worker import BaseWorker

QUESTION = 14
NAME = "first"
IDLE_WORKERS = 100
GIGABYTE = 1e9


def run(settings: Settings) -> Iterator[Row]:
    """Each input of the arithmetic."""
    with Ground() as ground:
        yield _life(ground, settings)
        yield _memory()
        yield _idle(ground, settings)
        yield _journal(ground, settings)
        yield _divert(ground)


def _life(ground: Ground, settings: Settings) -> Row:
    """Processor time of the server for a job, from its enqueueing to its end."""
    jobs = settings.pick(short=300, full=1000)
    costs: dict[str, list[float]] = {"ours": [], "theirs": []}
    for _ in range(settings.times(short=5, full=15)):
        costs["ours"].append(_life_once(ground, Queue, SimpleWorker, jobs))
        costs["theirs"].append(_life_once(ground, rq.Queue, rq.SimpleWorker, jobs))
    ours, theirs = median(costs["ours"]), median(costs["theirs"])
    return Row(
        QUESTION,
        "jobs that one core of the server carries from enqueue to end",
        f"{per_second(1 / ours)} ({seconds(ours)} a job)",
        f"stock: {per_second(1 / theirs)} ({seconds(theirs)} a job)",
        f"{theirs / ours:.2f}x",
        note="SimpleWorker and enqueue; the server runs commands on one core",
        values={"job_s": ours, "stock_job_s": theirs},
    )


def _life_once(ground: Ground, queue_class: type[rq.Queue], worker_class: type[BaseWorker], jobs: int) -> float:
    ground.clear()
    began = cpu_seconds(ground.server.pid)
    queue = queue_class(NAME, connection=ground.client())
    for number in range(jobs):
        queue.enqueue(nothing, number)
    in_fork(_burst(ground, worker_class))
    return (cpu_seconds(ground.server.pid) - began) / jobs


def _burst(ground: Ground, worker_class: type[BaseWorker]) -> Callable[[], float]:
    def work() -> float:
        worker_class([NAME], connection=ground.client()).work(burst=True, logging_level="CRITICAL")
        return 0.0

    return work


def _memory() -> Row:
    few, many = 20_000, 100_000
    each = (_used_with(many) - _used_with(few)) / (many - few)
    return Row(
        QUESTION,
        "small jobs that wait in a gigabyte of the server",
        f"{count(GIGABYTE / each)} ({each:.0f} bytes each)",
        note="function, one short argument; larger arguments add their compressed size",
        values={"job_bytes": each},
    )


def _used_with(jobs: int) -> int:
    """Bytes that a server uses which has done nothing but take `jobs`: scripts leave some too."""
    with Ground() as ground:
        fill(ground.near, Load(jobs))
        memory: Any = ground.near.info("memory")
        return int(memory["used_memory"])


def _idle(ground: Ground, settings: Settings) -> Row:
    ground.clear()
    time.sleep(2.0)  # what was cleared is still being freed
    span = settings.pick(short=5, full=20)
    clients: Any = ground.near.info("clients")
    before = int(clients["connected_clients"])
    quiet = [_cpu_while_asleep(ground, span)]
    with Fleet(ground, SimpleWorker, [NAME], workers=IDLE_WORKERS):
        time.sleep(2.0)
        busy = _cpu_while_asleep(ground, span)
        clients = ground.near.info("clients")
        connections = (int(clients["connected_clients"]) - before) / IDLE_WORKERS
    quiet.append(_cpu_while_asleep(ground, span))
    noise = max(quiet) - min(quiet)
    used = max(busy - mean(quiet), noise) / IDLE_WORKERS
    return Row(
        QUESTION,
        "idle workers that take a tenth of one core of the server",
        f"{count(0.1 / used)} ({used * 1e6:.0f} µs of the server each second, {connections:.1f} connections each)",
        note=f"{IDLE_WORKERS} of them, above what the server takes by itself, which differs by "
        f"{noise / IDLE_WORKERS * 1e6:.0f} µs each before and after",
        values={"idle_worker_s": used, "connections": connections},
    )


def _cpu_while_asleep(ground: Ground, span: float) -> float:
    """Processor seconds of the server a second, while this program does nothing."""
    began = cpu_seconds(ground.server.pid)
    time.sleep(span)
    return (cpu_seconds(ground.server.pid) - began) / span


def _journal(ground: Ground, settings: Settings) -> Row:
    ground.clear()
    shedder = Shedder(ground.client(), by="somebody@a-host")
    turns = settings.pick(short=200, full=1000)
    shedder.pause(NAME, reason="the reason that a person gives")
    shedder.resume(NAME, reason="the reason that a person gives")
    began = cpu_seconds(ground.server.pid)
    for _ in range(turns):
        shedder.pause(NAME, reason="the reason that a person gives")
        shedder.resume(NAME, reason="the reason that a person gives")
    cost = (cpu_seconds(ground.server.pid) - began) / (2 * turns)
    size: Any = ground.near.memory_usage(shedder.keys.events, samples=0)
    length: Any = ground.near.xlen(shedder.keys.events)
    each = size / length
    return Row(
        QUESTION,
        "controls that one core of the server carries",
        f"{per_second(1 / cost)} ({seconds(cost)} each); {each:.0f} bytes of the journal each, "
        f"{100_000 * each / 1e6:.0f} MB when it is full",
        note="pause and resume of a queue (four lanes) in turn, with the reads of a receipt; the "
        "journal keeps about 100,000 events",
        values={"event_s": cost, "event_bytes": each},
    )


def _divert(ground: Ground) -> Row:
    jobs = 100_000
    fill(ground.near, Load(jobs))
    shedder = Shedder(ground.client(), by="bench")
    selection = Selection.parse(functions=("benchmarks.work.send_*",))
    began = cpu_seconds(ground.server.pid)
    shedder.divert("mail", selection=selection, reason="bench")
    cost = (cpu_seconds(ground.server.pid) - began) / jobs
    return Row(
        QUESTION,
        "processor time of the server to divert by function, for each job looked at",
        f"{seconds(cost)}, so {seconds(cost * 1e6)} for a million",
        values={"scan_job_s": cost},
    )
