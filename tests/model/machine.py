"""What all steps share: the server, the model beside it, and the comparison after every step."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant

from shedder.engine.names import rq_keys
from shedder.events import Cause
from shedder.lanes import lanes_of_targets, serving_order
from shedder.queues.divert import ScanStep
from shedder.queues.retry import NO_JOB
from shedder.store.store import Command, Store
from tests.model.expected import Lanes
from tests.model.hands import Hands
from tests.model.observed import Seen, look, stray_lists
from tests.model.things import Order, Parts

if TYPE_CHECKING:
    from redis import Redis

QUEUES = ("mail", "reports")
LANES = serving_order(QUEUES)
BUSY_LANES = ("mail", "mail", "mail", "mail.low", "mail.high", "reports")
TARGETS = ("mail.normal", "mail.normal", "mail.normal", "mail.low", "mail.high", "mail", "reports")
FUNCTIONS = ("app.mail.send", "app.mail.digest", "app.report.build")
TENANTS = ("", "acme", "beta")
CAUSE = Cause("tester", "the model says so")

busy_lanes = st.sampled_from(BUSY_LANES)
targets = st.sampled_from(TARGETS)
fronts = st.sampled_from((False, False, False, True))
repeats = st.sampled_from((False, False, True))
batches = st.lists(st.tuples(st.sampled_from(FUNCTIONS), st.sampled_from(TENANTS)), min_size=1, max_size=5)

steps_run: Counter[str] = Counter()
"""How many steps there were in all, for the report of a long run."""


class Machine(RuleBasedStateMachine):
    """Redis and the model, side by side."""

    def __init__(self, redis: Redis) -> None:
        super().__init__()
        self.redis = redis
        self.redis.flushall()
        self.keys = rq_keys()
        self.store = Store(self.redis, rq_keys())
        self.hands = Hands(self.redis, self.keys)
        self.model = Lanes(LANES)
        self.seen: Seen = look(self.redis, self.keys, LANES)
        self.jobs_made = 0
        self.tokens: list[bytes] = []
        self.job_of: dict[bytes, str] = {}
        self.aged: set[bytes] = set()
        self.replies: dict[str, tuple[Command[Any], Any]] = {}
        steps_run["runs"] += 1

    # sending

    def send(self, command: Command[Any], *, operation: str, again: bool = False) -> Any:
        """The reply to a changing command; a replay must give the same."""
        reply = self.store.run(command)
        self.replies[operation] = (command, reply)
        if again:
            assert is_same(reply, self.store.run(command))
        return reply

    def parts(self, lane: str) -> Parts:
        """The lists of a lane before this step."""
        return self.seen.parts[lane]

    def look_again(self) -> None:
        """See what the first half of a step has done."""
        self.seen = look(self.redis, self.keys, LANES)

    def look_at(self, lane: str, order: str) -> tuple[list[str], list[str]]:
        """Lane and backlog as they are now."""
        seen = look(self.redis, self.keys, LANES)
        backlogs = {each.id: list(each.backlog) for each in seen.orders.get(lane, ())}
        return seen.parts[lane].all, backlogs.get(order, [])

    def expect_event(self, verb: str, lanes: tuple[str, ...]) -> None:
        self.model.events.append((verb, lanes))

    def next_tick(self) -> int:
        """A number for what happens now; the server's clock shows another millisecond."""
        time.sleep(0.0011)
        self.model.tick += 1
        return self.model.tick

    def orders(self) -> list[tuple[str, Order]]:
        """Every order, with its lane."""
        return [(lane, order) for lane, orders in self.model.orders.items() for order in orders]

    # comparing

    @invariant()
    def redis_is_as_modelled(self) -> None:
        steps_run["steps"] += 1
        self.seen = look(self.redis, self.keys, LANES)
        self.check_places(self.seen)
        self.check_controls(self.seen)
        assert set() == stray_lists(self.seen, self.keys)

    def check_places(self, seen: Seen) -> None:
        """Every id is where it should be, and lanes and backlogs are in order."""
        lanes = {lane: parts.all for lane, parts in seen.parts.items()}
        assert self.model.lanes == lanes
        assert self.model.stale == seen.stale
        backlogs = {(lane, o.id): o.backlog for lane, o in self.orders()}
        assert backlogs == {(lane, o.id): list(o.backlog) for lane, orders in seen.orders.items() for o in orders}
        assert set(self.model.claims) == set(seen.claims)
        assert not seen.failed & {job for _, o in self.orders() for job in o.backlog if o.selection == NO_JOB}

    def check_controls(self, seen: Seen) -> None:
        """Controls are as they were ordered, each change has one event, starts are counted."""
        holds = {lane: hold.is_parked for lane, hold in self.model.pauses.items()}
        assert holds == seen.pauses
        assert [(o.id, o.is_scanning, o.is_restoring, bool(o.pace)) for _, o in self.orders()] == [
            (o.id, o.is_scanning, o.is_restoring, o.is_draining) for lane in LANES for o in seen.orders.get(lane, ())
        ]
        assert self.model.events == list(seen.events)
        assert dict(+self.model.meters) == seen.meters


def is_same(reply: Any, replayed: Any) -> bool:
    """Whether a replay gave the first reply; of a scan it tells nobody's jobs to be judged, who look again."""
    if isinstance(replayed, ScanStep):
        return bool(replace(reply, undecided=()) == replayed)
    return bool(reply == replayed)


def lanes_named(target: str) -> tuple[str, ...]:
    """The names of the lanes of a target."""
    return tuple(lane.name for lane in lanes_of_targets([target]))
