"""The network between a role and the server is slow, cut, torn, or swallows replies."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from redis.backoff import ConstantBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from shedder.errors import RedisUnreachable, ShedderError
from shedder.store.codec import text_of
from tests.faults import proxy as network
from tests.faults.accounting import Wrong
from tests.faults.load import Load
from tests.faults.proxy import Proxy, to_unix_socket
from tests.faults.schedule import Fault
from tests.faults.stage import Address
from tests.faults.verbs import ALL_VERBS, Verb, end_all_controls, small_steps, wrong_lists, wrong_when_idle

if TYPE_CHECKING:
    from tests.faults.snapshot import Snapshot
    from tests.faults.stage import Stage

ROLES = ("workers", "producers", "operators")
MOST_REPLIES = 60

_SHORT = {
    ("workers", network.CUT),
    ("workers", network.DROP_REPLY),
    ("workers", network.TEAR),
    ("producers", network.DROP_REPLY),
    ("operators", network.CUT),
    ("operators", network.DROP_REPLY),
}

OURS_ONLY = ("enqueue", "unique", "other")
"""What stock RQ pushes, or a pipeline, is pushed twice by a client that repeats a lost reply."""


@dataclass(frozen=True, slots=True)
class BadNetwork:
    """The network of one role goes bad for a while, again and again, under load."""

    role: str
    fault: str
    seconds: float = 0.0

    def __call__(self, stage: Stage) -> None:
        """Play it."""
        proxy = start_proxy(stage)
        at = Address(proxy.url, **({"retry": _retry()} if self.fault == network.DROP_REPLY else {}))
        load = Load(
            stage,
            workers_at=at if self.role == "workers" else None,
            producer_at=at if self.role == "producers" else None,
            operator_at=at if self.role == "operators" else None,
            has_operator=self.role != "producers",
            ways=OURS_ONLY,
        )
        load.wait_for_progress()
        for _ in range(max(3, stage.size // 2)):
            self._inject(stage, proxy, load)
        proxy.order(network.PASS)
        load.finish()

    def _inject(self, stage: Stage, proxy: Proxy, load: Load) -> None:
        load.note_fault()
        proxy.order(self.fault, seconds=self.seconds, times=stage.dice.randrange(1, 4))
        time.sleep(stage.dice.uniform(0.05, 0.3) + self.seconds)
        if self.fault in (network.DELAY, network.SILENCE):
            proxy.order(network.PASS)
            if self.fault == network.SILENCE:
                proxy.order(network.CUT)
        if self.role == "workers":
            load.wait_for_progress()


@dataclass(frozen=True, slots=True)
class LostReply:
    """The reply to each command of an order is lost after the server carried it out.

    A client that repeats by itself must end where one ends whose replies arrive; and so must a
    person who gives the order again.
    """

    verb: Verb
    is_by_hand: bool = False

    def __call__(self, stage: Stage) -> None:
        """Play it."""
        proxy = start_proxy(stage)
        retry = None if self.is_by_hand else _retry()
        with small_steps():
            self._prepare(stage)
            expected = self._signature(stage)
            for number in stage.steps(MOST_REPLIES):
                if not self._play(stage, proxy, retry, number, expected):
                    return

    def _prepare(self, stage: Stage) -> None:
        stage.redis.flushall()
        stage.forget()
        self.verb.prepare(stage)

    def _signature(self, stage: Stage) -> Any:
        self.verb.act(stage.operator())
        return signature(stage.snapshot())

    def _play(self, stage: Stage, proxy: Proxy, retry: Retry | None, number: int, expected: Any) -> bool:
        self._prepare(stage)
        options = {} if retry is None else {"retry": retry}
        operator = stage.operator(Deaf(Address(proxy.url, **options).client(), proxy, number))
        try:
            self.verb.act(operator)
        except RedisUnreachable:
            if not self.is_by_hand:
                raise
            _say_again(stage, self.verb)
        lost = proxy.came_true()
        stage.outcome.injected += lost
        seen = stage.check_now()
        stage.outcome.wrong += wrong_lists(seen)
        ended = signature(seen)
        differs = {job: ended.get(job) for job in expected if ended.get(job) != expected[job]}
        if differs:
            wrong = f"reply {number}: {dict(list(differs.items())[:3])} instead of {expected}"
            stage.outcome.wrong.append(Wrong("other", wrong[:500]))
        end_all_controls(stage)
        stage.outcome.wrong += wrong_when_idle(stage)
        stage.outcome.jobs += len(stage.book.sure)
        return lost > 0


class Deaf:
    """A client that does not hear the reply to one of its commands."""

    def __init__(self, client: Any, proxy: Proxy, number: int) -> None:
        self._client, self._proxy, self._left = client, proxy, number

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Forward a script, and swallow its reply when it is its turn."""
        if self._left == 0:
            self._proxy.order(network.DROP_REPLY, times=1)
        self._left -= 1
        return self._client.execute_command(*args, **options)


def signature(seen: Snapshot) -> Any:
    """Where every job is, without the names that differ from run to run."""
    return {
        job: tuple("backlog" if ":backlog:" in place else place for place in places)
        for job, places in seen.places.items()
    }


def start_proxy(stage: Stage) -> Proxy:
    """A proxy before the stage's server, for this trial."""
    proxy: Proxy = stage.keep(Proxy(to_unix_socket(text_of(str(stage.server.socket_path)))))
    stage.start(proxy.run)
    return proxy


def _retry() -> Retry:
    return Retry(ConstantBackoff(0.01), 20, supported_errors=(RedisConnectionError, RedisTimeoutError))


def _say_again(stage: Stage, verb: Verb) -> None:
    try:
        verb.act(stage.operator())
    except ShedderError:
        return  # such as an undo of what was undone


def faults() -> list[Fault]:
    """The rows of this family."""
    bad = [
        (network.DELAY, 0.1),
        (network.DELAY, 2.0),
        (network.CUT, 0.0),
        (network.HALF_CLOSE, 0.0),
        (network.SILENCE, 1.5),
        (network.FORSAKE, 0.0),
        (network.TEAR, 0.0),
        (network.DROP_REPLY, 0.0),
    ]
    rows = [
        Fault(
            f"network of {role}: {fault}{f' {seconds:g} s' if seconds else ''}",
            "network",
            BadNetwork(role, fault, seconds),
            beside=BadNetwork(role, fault, seconds) if role != "operators" else None,
            is_short=(role, fault) in _SHORT,
        )
        for role in ROLES
        for fault, seconds in bad
    ]
    by_hand = [verb for verb in ALL_VERBS if not verb.name.startswith(("undo", "upkeep"))]
    again = "lost reply and said again"
    rows += [Fault(f"lost reply: {verb.name}", "network", LostReply(verb)) for verb in ALL_VERBS]
    rows += [Fault(f"{again}: {v.name}", "network", LostReply(v, is_by_hand=True)) for v in by_hand]
    return rows
