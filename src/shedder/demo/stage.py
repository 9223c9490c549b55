"""What does the story need at hand, and how does it watch the jobs run?"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shedder.demo.mix import BULK, KINDS, lane_list, lane_names
from shedder.demo.telling import number

if TYPE_CHECKING:
    from pathlib import Path

    import redis

    from shedder.demo.commands import Commands
    from shedder.demo.customers import Customers
    from shedder.demo.fleet import Fleet
    from shedder.demo.interrupts import Interrupts
    from shedder.demo.listener import Listener
    from shedder.demo.runlog import RunLog
    from shedder.demo.telling import Teller
    from shedder.embedded import EmbeddedServer

_GLANCE_SECONDS = 0.1
_BULK_NAMES = tuple(kind.name for kind in KINDS if kind.function in BULK)


@dataclass(frozen=True, slots=True)
class Watched:
    """What happened while the story watched.

    Attributes:
        seconds: how long it watched.
        started: jobs that started meanwhile.
        bulk: those of them that could have waited.
    """

    seconds: float
    started: int
    bulk: int

    @property
    def pace(self) -> float:
        """Starts a second."""
        return self.started / self.seconds

    @property
    def bulk_pace(self) -> float:
        """Starts a second of jobs that could have waited."""
        return self.bulk / self.seconds


@dataclass(frozen=True, slots=True)
class Stage:
    """All that takes part.

    Attributes:
        jobs: how many are enqueued at the beginning.
        server: the demo's own.
        client: a client of it.
        teller: tells the story.
        commands: runs shedder.
        fleet: the workers.
        customers: they send important jobs.
        log: what the jobs wrote.
        interrupts: what may end it all.
        listener: takes what is told to others.
        policy: the file with the demo's policy.
        out: the folder for the post-mortem; empty for one of its own.
    """

    jobs: int
    server: EmbeddedServer
    client: redis.Redis
    teller: Teller
    commands: Commands
    fleet: Fleet
    customers: Customers
    log: RunLog
    interrupts: Interrupts
    listener: Listener
    policy: Path
    out: str

    def waiting(self, *lanes: str) -> int:
        """Jobs in the lists of these lanes, or of all."""
        lengths: list[Any] = [self.client.llen(lane_list(lane)) for lane in lanes or lane_names()]
        return sum(lengths)

    def watch(self, seconds: float, *, until: Callable[[], bool] = lambda: False) -> Watched:
        """Watch the jobs run for `seconds`, or until `until` gives true.

        Raises:
            DemoFailed, KeyboardInterrupt: see `check`.
        """
        self.log.refresh()
        before, bulk_before = len(self.log.starts), self._bulk()
        began = time.monotonic()
        while (passed := time.monotonic() - began) < seconds and not until():
            time.sleep(_GLANCE_SECONDS)
            self.log.refresh()
            self.check()
            run = number(len(self.log.starts))
            self.teller.progress(f"{seconds - passed:.0f} s; {run} jobs have started so far")
        started, bulk = len(self.log.starts) - before, self._bulk() - bulk_before
        return Watched(time.monotonic() - began, started, bulk)

    def check(self) -> None:
        """Nothing, as long as all goes well.

        Raises:
            DemoFailed: a worker has ended, or a customer could not send a job.
            KeyboardInterrupt: it is to end.
        """
        self.interrupts.check()
        self.fleet.check()
        self.customers.check()

    def _bulk(self) -> int:
        return sum(job.startswith(_BULK_NAMES) for job in tuple(self.log.starts))
