"""Two operators give orders at once, while others produce: thousands of interleavings."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from random import Random
from typing import TYPE_CHECKING

from shedder.errors import ShedderError
from shedder.policy.model import Policy
from shedder.units import Rate
from tests.faults import faults_retry
from tests.faults.accounting import Wrong
from tests.faults.faults_retry import fail_one, retry
from tests.faults.producers import produce
from tests.faults.schedule import Fault
from tests.faults.states import mend
from tests.faults.verbs import LANES, SOME, end_all_controls, fill_lanes, finish_begun, small_steps, wrong_when_idle
from tests.waiting import PATIENCE_SECONDS, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from shedder import Shedder
    from tests.faults.stage import Stage

ORDERS: dict[str, Callable[[Shedder], object]] = {
    "pause": lambda o: o.pause("mail", reason="x"),
    "resume": lambda o: o.resume("mail", reason="x"),
    "divert": lambda o: o.divert("mail", reason="x"),
    "divert some": lambda o: o.divert("mail", selection=SOME, reason="x"),
    "drain": lambda o: o.drain("mail", rate=Rate(100.0), reason="x"),
    "stop drain": lambda o: o.stop_drain("mail", reason="x"),
    "drain at once": lambda o: o.drain_at_once("mail", reason="x"),
    "undo": lambda o: o.undo(None, reason="x"),
    "limit": lambda o: o.limit_starts("mail", rate=Rate(100.0), reason="x"),
    "lift": lambda o: o.lift_limit("mail", reason="x"),
    "upkeep": finish_begun,
    "replay": lambda o: o.replay_stale("mail", reason="x"),
    "repair": mend,
    "retry": retry,
    "stop retry": lambda o: o.stop_retry("mail", reason="x"),
    "fail": fail_one,
}
_ALL = tuple(ORDERS)

AT_ONCE_OLD = Policy(stale_after=timedelta(milliseconds=20))
"""What waited for a moment in a backlog is old."""


@dataclass(frozen=True, slots=True)
class AtOnce:
    """Operators in processes of their own, each with a choice of orders.

    Attributes:
        first, second: What each of the two may order.
        is_ordered: Whether the jobs of a lane must stand in the order of their arrival in the end.
            Where one operator diverts what the other is putting back, and where stock producers
            push past a divert of some, only that nothing is lost or doubled is promised.
        policy: In force meanwhile.
    """

    first: Sequence[str]
    second: Sequence[str]
    is_ordered: bool = False
    policy: Policy | None = None

    @property
    def ways(self) -> Sequence[str]:
        """The ways in by which the producers enqueue."""
        ours = ("enqueue", "other", "unique")
        return ours if self.is_ordered else (*ours, "many", "stock", "stock other")

    def __call__(self, stage: Stage) -> None:
        """Play it."""
        if self.policy is not None:
            stage.operator().policies.apply(self.policy, reason="before")
        with small_steps():
            producers = [stage.start(partial(_produce, stage, lane, self.ways)) for lane in LANES[:2]]
            operators = [
                stage.start(partial(_command, stage, choice, stage.dice.random()))
                for choice in (self.first, self.second)
            ]
            end, patience = (time.monotonic() + each for each in (0.4 + 0.08 * stage.size, PATIENCE_SECONDS))
            # on a busy machine the operators may not have begun by then
            while (now := time.monotonic()) < end or (now < patience and not stage.redis.xlen(stage.keys.events)):
                stage.book.read(stage.ledger_path)
                stage.check_now()
                time.sleep(0.02)
            for child in (*producers, *operators):
                if not child.is_alive():
                    raise RuntimeError(f"a process ended by itself: {child.said()}")
                child.kill()
            stage.book.read(stage.ledger_path)
            stage.outcome.injected += stage.redis.xlen(stage.keys.events)
            stage.outcome.jobs += len(stage.book.sure)
            end_all_controls(stage)
            wrong = wrong_when_idle(stage)
            stage.outcome.wrong += [w for w in wrong if self.is_ordered or w.kind != "order"]


def limits_at_the_same_moment(stage: Stage) -> None:
    """Two operators say `limit starts` of the same lanes at the same instant, again and again.

    One limit stands then, on all lanes; whoever set it was told which it replaced, and an undo
    brings that one back.
    """
    operator = stage.operator()
    for _ in range(4 * stage.size):
        stage.redis.flushall()
        stage.forget()
        fill_lanes(stage)
        both = [stage.start(partial(_limit_at_once, stage, rate)) for rate in AT_ONCE_RATES]
        wait_until(lambda: stage.redis.llen(READY) == len(AT_ONCE_RATES), what="both operators")
        stage.redis.rpush(GO, *AT_ONCE_RATES)
        for child in both:
            if child.wait():
                stage.outcome.wrong.append(Wrong("other", child.said()))
        stage.outcome.injected += 1
        stage.outcome.wrong += [Wrong("other", what) for what in _wrong_limits(stage, operator)]
        stage.check_now()
        end_all_controls(stage)
        stage.redis.delete(READY, GO, TOLD)
        stage.outcome.jobs += len(stage.book.sure)
        stage.outcome.wrong += wrong_when_idle(stage)


AT_ONCE_RATES = (20.0, 30.0)
READY, GO, TOLD = "operators-ready", "operators-go", "operators-told"


def _limit_at_once(stage: Stage, rate: float) -> None:
    client = stage.server.client()
    operator = stage.operator(client)
    operator.status("mail")  # so that both are connected, and know the scripts' place
    client.rpush(READY, rate)
    client.blpop([GO], timeout=600)
    receipt = operator.limit_starts("mail", rate=Rate(rate), reason="x", by=str(rate))
    client.hset(TOLD, str(rate), " ".join(sorted({each.by for each in receipt.replaced})))


def _wrong_limits(stage: Stage, operator: Shedder) -> Iterator[str]:
    told = {by.decode(): other.decode() for by, other in stage.redis.hgetall(TOLD).items()}
    first = next((by for by, other in told.items() if not other), "")
    last = next((by for by, other in told.items() if other), "")
    if told != {first: "", last: first}:
        yield f"who replaced whom: {told}"
        return
    if _limits_of(operator) != {float(last)}:
        yield f"{_limits_of(operator)} stands, and {last} was the last"
    events = [each for each in operator.events(limit=10) if each.verb == "limit start"]
    if [each.by for each in events] != [first, last]:
        yield f"the journal has {[each.by for each in events]}, and not {[first, last]}"
    operator.undo(events[-1].id, reason="x")
    if _limits_of(operator) != {float(first)}:
        yield f"undone, {_limits_of(operator)} stands, and not {first}"


def _limits_of(operator: Shedder) -> set[float]:
    """The rates of the limits of all lanes; the lane has one, and each the same."""
    lanes = [lane.diverts for lane in operator.status("mail").lanes]
    rates = {each.drain.rate.per_second for diverts in lanes for each in diverts if each.drain}
    return rates if all(len(diverts) == 1 for diverts in lanes) else {0.0, *rates}


def _produce(stage: Stage, lane: str, ways: Sequence[str]) -> None:
    produce(
        stage.server.client(),
        (lane,),
        name="p",
        ledger=str(stage.ledger_path),
        marks=stage.marks_path,
        dice=Random(7),
        ways=ways,
        most_waiting=80,
    )


def _command(stage: Stage, choice: Sequence[str], seed: float) -> None:
    operator, dice = stage.operator(), Random(seed)
    while True:
        try:
            ORDERS[dice.choice(choice)](operator)
        except ShedderError:
            time.sleep(0.001)


def faults() -> list[Fault]:
    """The rows of this family."""
    divert = ("divert", "divert some")
    return [
        Fault(f"at once: {name}", "pairs", trial)
        for name, trial in (
            ("pause and resume", AtOnce(("pause",), ("resume",), is_ordered=True)),
            ("divert and divert", AtOnce(divert, (*divert, "upkeep"), is_ordered=True)),
            ("divert and drain", AtOnce(divert, ("drain", "stop drain", "drain at once"))),
            ("drain and drain", AtOnce(("divert", "drain"), ("drain", "drain at once"))),
            ("undo and anything", AtOnce(("undo",), _ALL)),
            ("anything and anything", AtOnce(_ALL, _ALL)),
            (
                "replay and set aside",
                AtOnce(("divert", "upkeep"), ("replay", "divert some", "undo"), policy=AT_ONCE_OLD),
            ),
            ("replay and replay", AtOnce(("replay",), ("replay", *divert, "upkeep"), policy=AT_ONCE_OLD)),
            ("old work and anything", AtOnce(("replay", "upkeep"), _ALL, policy=AT_ONCE_OLD)),
            ("repair and repair", AtOnce(("repair",), ("repair", "divert", "drain at once"))),
            ("repair and anything", AtOnce(("repair",), _ALL, policy=AT_ONCE_OLD)),
            ("limit and limit", AtOnce(("limit",), ("limit", "lift"))),
            ("two limits at the same moment", limits_at_the_same_moment),
            ("retry and undo", AtOnce(("fail", "fail", "retry", "undo"), ("fail", "retry", "undo", "stop retry"))),
            ("retry and anything", AtOnce(("fail", "fail", "retry", "undo"), _ALL)),
        )
    ] + faults_retry.faults()
