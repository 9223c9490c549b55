"""What many queues cost: a claim of a worker that serves 50, idle workers, and orders for 1,000."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

import rq

from benchmarks.fleet import Fleet
from benchmarks.gauges import cpu_of_calls, sent_by_us, watched
from benchmarks.ground import Ground
from benchmarks.rows import Row, Verdict, count, seconds
from benchmarks.settings import Settings
from benchmarks.step_sizes import served_first
from benchmarks.work import nothing
from shedder import Policy, Rate, Rule, Selection, Shedder
from shedder.lanes import PRIORITIES, Lane
from shedder.queues.claims import claim_job
from shedder.rq import SimpleWorker

if TYPE_CHECKING:
    from rq.worker import BaseWorker

QUESTION = 18
QUEUES = 50
WORKERS = 30
TENANTS = 1000
RULES = 100
CLAIM_GOAL = 0.001
HOLD_GOAL = 0.005


@dataclass(frozen=True, slots=True)
class Cost:
    """What one call costs the server: the median.

    Attributes:
        cpu: Its processor time in seconds.
        commands: Commands on the server, those inside the script among them.
    """

    cpu: float
    commands: float


def names_of(queues: int) -> tuple[str, ...]:
    """The names of so many queues."""
    return tuple(f"tenant-{number:04}" for number in range(queues))


def run(settings: Settings) -> Iterator[Row]:
    """A claim, idle workers beside stock, status, and orders for a thousand queues."""
    times = settings.times(short=100, full=500)
    yield from _claims(settings, times)
    yield _claim_with_a_shed(settings, times)
    yield _idle(settings)
    yield from _orders(settings)


def _lanes(queues: Sequence[str]) -> list[str]:
    return [Lane(queue, priority).name for priority in PRIORITIES for queue in queues]


def _claims(settings: Settings, times: int) -> Iterator[Row]:
    for case, prepare in (
        ("nothing waits", lambda _shedder, _last: None),
        ("a job in the last lane", _enqueue),
    ):
        for control in ("nothing paused", "every other queue paused, the rest diverted but for the last"):
            with Ground(latency_ms=settings.latency_ms) as ground, served_first(ground.server.pid):
                shedder, names = Shedder(ground.client(), by="bench"), names_of(QUEUES)
                if control != "nothing paused":
                    shedder.pause(*names[:-1:2], reason="bench")
                    shedder.divert(*names[1:-1:2], reason="bench")
                many = _cost(ground, shedder, _lanes(names), times, prepare)
                few = _cost(ground, shedder, _lanes(names[-1:]), times, prepare)
            yield Row(
                QUESTION,
                f"a claim by a worker of {QUEUES} queues; {case}, {control}",
                f"{seconds(many.cpu)} of the server, {count(many.commands)} commands",
                f"of one queue: {seconds(few.cpu)}, {count(few.commands)} commands",
                goal=f"at most {seconds(CLAIM_GOAL)}",
                verdict=Verdict.of(many.cpu <= CLAIM_GOAL),
                note="processor time, the median",
                values={"ours": [many.cpu, many.commands], "one_queue": [few.cpu, few.commands]},
            )


def _enqueue(shedder: Shedder, lane: str) -> None:
    shedder.store.connection.delete(shedder.keys.claims)
    rq.Queue(lane, connection=shedder.store.connection).enqueue(nothing)


def _cost(
    ground: Ground, shedder: Shedder, lanes: Sequence[str], times: int, prepare: Callable[[Shedder, str], None]
) -> Cost:
    command = claim_job(shedder.keys, lanes, worker="bench", is_staying=True, policy=None)
    shedder.store.run(command)
    cpu, commands = [], []
    for _ in range(times):
        prepare(shedder, lanes[-1])
        with (
            watched(ground.near, ground.server.pid) as served,
            cpu_of_calls(shedder.store.connection, ground.server.pid) as calls,
        ):
            shedder.store.run(command)
        cpu.append(calls[0])
        commands.append(served.total)
    return Cost(median(cpu), median(commands))


def _claim_with_a_shed(settings: Settings, times: int) -> Row:
    rules = tuple(Rule(selection=Selection(functions=(f"app.jobs.f{number}",)), shed=1) for number in range(RULES))
    with Ground(latency_ms=settings.latency_ms) as ground, served_first(ground.server.pid):
        shedder, lanes = Shedder(ground.client(), by="bench"), _lanes(names_of(1))
        before = _cost(ground, shedder, lanes, times, _enqueue)
        shedder.policies.apply(Policy(rules=rules), reason="bench")
        shedder.policies.shed(reason="bench")
        shed = _cost(ground, shedder, lanes, times, _enqueue)
    return Row(
        QUESTION,
        f"a claim while {RULES} rules of a policy are shed",
        f"{seconds(shed.cpu)} of the server, {count(shed.commands)} commands",
        f"without: {seconds(before.cpu)}, {count(before.commands)} commands",
        goal=f"at most {seconds(CLAIM_GOAL)} more",
        verdict=Verdict.of(shed.cpu - before.cpu <= CLAIM_GOAL),
        note="a job that stays, of a stock producer; processor time, the median",
        values={"shed": [shed.cpu, shed.commands], "before": [before.cpu, before.commands]},
    )


def _idle(settings: Settings) -> Row:
    span = settings.pick(short=8, full=60)
    ours, theirs = (_idle_cost(settings, kind, span) for kind in (SimpleWorker, rq.SimpleWorker))
    return Row(
        QUESTION,
        f"{WORKERS} idle SimpleWorkers of {QUEUES} queues for {span} s",
        f"{ours.cpu * 100:.2f} % of a core, {count(round(ours.commands))} commands/s",
        f"stock: {theirs.cpu * 100:.2f} % of a core, {count(round(theirs.commands))} commands/s",
        note="the upkeep of all lanes among it",
        values={"ours": [ours.cpu, ours.commands], "theirs": [theirs.cpu, theirs.commands]},
    )


def _idle_cost(settings: Settings, kind: type[BaseWorker], span: float) -> Cost:
    with Ground(latency_ms=settings.latency_ms) as ground, Fleet(ground, kind, names_of(QUEUES), workers=WORKERS):
        time.sleep(3.0)
        with watched(ground.near, ground.server.pid) as served:
            time.sleep(span)
        return Cost(served.cpu / span, served.total / span)


def _orders(settings: Settings) -> Iterator[Row]:
    with Ground(latency_ms=settings.latency_ms) as ground, served_first(ground.server.pid):
        shedder = Shedder(ground.client(), by="bench")
        yield _order(ground, shedder, names_of(QUEUES), "status", lambda names: shedder.status(*names))
        names = names_of(TENANTS)
        for what, give in (
            ("pause --all", lambda names: shedder.pause(*names, reason="bench")),
            ("resume --all", lambda names: shedder.resume(*names, reason="bench")),
            ("limit starts --all", lambda names: shedder.limit_starts(*names, rate=Rate(10), reason="bench")),
            ("its undo", lambda _: shedder.undo(reason="bench", by="bench")),
            ("status", lambda names: shedder.status(*names)),
        ):
            yield _order(ground, shedder, names, what, give)


def _order(
    ground: Ground, shedder: Shedder, names: Sequence[str], what: str, give: Callable[[Sequence[str]], Any]
) -> Row:
    keys, near = shedder.keys, ground.near
    near.sadd(keys.engine.queues, *(keys.engine.lists + name for name in names))
    for name in names:
        near.rpush(keys.engine.lists + name, "a", "b", "c")
    with sent_by_us() as sent, watched(near, ground.server.pid) as served:
        began = time.monotonic()
        give(names)
        took = time.monotonic() - began
    scripts = max(served.calls.get("evalsha", 0), 1)
    each = served.usec.get("evalsha", 0) / scripts / 1e6
    return Row(
        QUESTION,
        f"{what}, {count(len(names))} queues",
        f"{seconds(took)}, {count(sent.round_trips)} round trips; {seconds(each)} of the server for a script",
        goal=f"at most {seconds(HOLD_GOAL)} for a script",
        verdict=Verdict.of(each <= HOLD_GOAL),
        note="three jobs wait in each queue; the time of a script is the mean",
        values={"seconds": took, "script_s": each, "scripts": scripts, "round_trips": sent.round_trips},
    )
