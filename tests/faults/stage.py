"""The stage of a trial: where it plays, and what it may use."""

from __future__ import annotations

import contextlib
import pkgutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Self
from unittest import mock

from shedder import Shedder
from shedder.embedded import EmbeddedServer
from shedder.engine.names import rq_keys
from tests.faults.accounting import (
    ENDED,
    Book,
    Hold,
    Wrong,
    is_left_by_rq,
    marks_of,
    started_in,
    started_twice,
    wrong_at_end,
    wrong_places,
)
from tests.faults.actors import Child
from tests.faults.snapshot import Snapshot, take_snapshot
from tests.servers import PatientServer
from tests.waiting import PATIENCE_SECONDS, wait_until
from tests.workers import WorkerProcess

if TYPE_CHECKING:
    from redis import Redis
    from rq.worker import BaseWorker

LEASE_SECONDS = 1.0
"""Instead of 30 s, so that a run sees many deaths."""

WHOLE_SIZE = 10
"""Faults of a trial from which on it leaves out nothing."""

SHORT_STRIDE = 5
"""Of a short trial, from one step of an order to the next."""


@dataclass(slots=True)
class Outcome:
    """What a trial saw.

    Attributes:
        injected: Faults that came true.
        kills: Processes that met their end by SIGKILL at a moment of the trial's choice.
        jobs: Jobs that were in play.
        restarted: Jobs that a kill past their start made run again, as RQ promises.
        ended: Stock workers that ended though nobody ended them.
        recovered: Seconds from a fault until what it held was going on again.
        wrong: What must not be.
        notes: What else is worth a line under the table.
        skipped: Why the trial could not be played here.
    """

    injected: int = 0
    kills: int = 0
    jobs: int = 0
    restarted: int = 0
    ended: int = 0
    recovered: list[float] = field(default_factory=list)
    wrong: list[Wrong] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    skipped: str = ""


class Address:
    """Where clients find a server: what `WorkerProcess` asks a server for."""

    def __init__(self, url: str, **options: Any) -> None:
        self.url = url
        self._options = options

    def client(self, **options: Any) -> Redis:
        """A new client."""
        import redis

        return redis.Redis.from_url(self.url, **{**self._options, **options})


class Stage:
    """One trial's server, workers, producers and accounts; nothing outlives the trial.

    Args:
        server: The server that it may flush.
        folder: For logs and marks.
        dice: Decides all that is left to chance.
        size: About how many faults to inject.
        is_stock: Who plays is stock RQ, for comparison.
    """

    def __init__(
        self, server: EmbeddedServer, folder: Path, *, dice: Random, size: int, is_stock: bool = False
    ) -> None:
        self.server = server
        self.folder = folder
        self.dice = dice
        self.size = size
        self.is_stock = is_stock
        self.book = Book()
        self.holds: list[Hold] = []
        self.outcome = Outcome()
        self.redis = server.client()
        self.redis.flushall()
        self.marks_path = str(folder / "marks")
        self.notes_path = folder / "notes"
        self.ledger_path = folder / "ledger"
        self.keys = rq_keys()
        self.is_due = (self.keys.starting,)
        self._workers: list[WorkerProcess] = []
        self._children: list[Child] = []
        self._numbers: dict[str, int] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._stack.enter_context(hurried())
        return self

    def __exit__(self, *error: object) -> None:
        for child in self._children:
            child.kill()
        for worker in self._workers:
            if worker.is_alive():
                worker.kill(and_children=True)
        self._stack.close()
        self.redis.close()

    def operator(self, client: Redis | None = None) -> Shedder:
        """The Python API, on a client of its own."""
        return Shedder(client or self.server.client(), by="operator")

    def own_server(self, **options: Any) -> EmbeddedServer:
        """Another server, for this trial only, which the trial then plays on."""
        server: EmbeddedServer = self.keep(PatientServer(**options))
        self.play_on(server)
        return server

    def play_on(self, server: Any) -> None:
        """From now on this is the trial's server; anything that makes clients will do."""
        self.server = server
        self.redis = self.keep(server.client())

    def keep(self, context: Any) -> Any:
        """Enter a context that ends with the trial."""
        return self._stack.enter_context(context)

    def start_worker(
        self,
        queues: Sequence[str],
        kind: type[BaseWorker],
        *,
        at: Any = None,
        settings: dict[str, Any] | None = None,
        **work: Any,
    ) -> WorkerProcess:
        """Start a worker in a process of its own."""
        log = self.folder / f"worker-{len(self._workers)}.log"
        worker = WorkerProcess(at or self.server, queues, worker_class=kind, log=log, settings=settings, **work)
        self._workers.append(worker)
        return worker

    def start(self, action: Callable[[], object]) -> Child:
        """Do something in a process of its own."""
        child = Child(action, log=self.folder / f"child-{len(self._children)}.log")
        self._children.append(child)
        return child

    def forget(self) -> None:
        """Begin again with empty books: ids are given from 1 on."""
        self.book.sure.clear()
        self._numbers.clear()

    def clear_marks(self) -> None:
        """Forget what jobs have run."""
        Path(self.marks_path).unlink(missing_ok=True)

    def next_id(self, lane: str) -> str:
        """An id that tells the order of arrival in its lane."""
        self._numbers[lane] = self._numbers.get(lane, 0) + 1
        return f"{lane.replace('.', '_')}-{self._numbers[lane]:06d}"

    @property
    def is_short(self) -> bool:
        """Whether it leaves out most of what a long trial does."""
        return self.size < WHOLE_SIZE

    @property
    def pause_seconds(self) -> float:
        """How long a producer rests after a batch; a short trial needs few jobs, as each is a fork."""
        return 0.06 if self.is_short else 0.02

    def steps(self, most: int) -> Sequence[int]:
        """The steps of an order at which something happens: all of them, the first and a few in a short trial."""
        if not self.is_short:
            return range(most)
        return (0, *range(self.dice.randrange(1, 3), most, SHORT_STRIDE))

    def snapshot(self) -> Snapshot:
        """Everything at this instant."""
        return take_snapshot(self.redis)

    def check_now(self, *, has_stock: bool = False) -> Snapshot:
        """Note every job that is in no place now, or in two."""
        seen = self.snapshot()
        self.outcome.wrong += wrong_places(seen, self.book, has_stock=has_stock)
        return seen

    def check_end(self, kills: Mapping[str, Sequence[float]] | None = None) -> None:
        """Note what is wrong when all work is done; `kills` are faults past the start, by job."""
        kills = kills or {}
        self.book.read(self.ledger_path)
        marks = marks_of(self.marks_path)
        excused, twice = started_twice(marks, kills)
        self.outcome.jobs += len(self.book.sure)
        self.outcome.restarted += excused
        self.outcome.wrong += twice
        self.outcome.wrong += wrong_at_end(self.snapshot(), self.book, marks, kills, has_kills=self.outcome.kills > 0)
        self.outcome.wrong += started_in(self.holds, marks, self.book)

    @contextmanager
    def held(self, kind: str, lanes: Sequence[str], running: Sequence[str] = ()) -> Iterator[None]:
        """A time, from now on, in which no job of `lanes` may start."""
        begin = time.monotonic()
        try:
            yield
        finally:
            end = time.monotonic()
            self.holds.append(Hold(kind, frozenset(lanes), begin, end, frozenset(running)))

    def wait_until_done(self, *, timeout: float = PATIENCE_SECONDS, what: str = "all jobs") -> bool:
        """Whether nothing waits and nothing runs before the time is over."""
        with contextlib.suppress(AssertionError):
            wait_until(self._is_done, timeout=timeout, interval=0.05, what=what)
            return True
        return False

    def _is_done(self) -> bool:
        seen = self.snapshot()
        left = [key for key in seen.left_over() if key in self.is_due]
        if seen.waiting() or left:
            return False
        going_on = [job for job, status in seen.status.items() if status not in ENDED]
        return not going_on or (all(is_left_by_rq(seen, job) for job in going_on) and self._is_still(seen))

    def _is_still(self, seen: Snapshot) -> bool:
        """Whether no worker is about to enqueue what waited for a job that has failed, and nothing has moved."""
        alive = [worker for worker in self._workers if worker.is_alive()]
        are_idle = all(self.redis.hget(worker.key, "state") == b"idle" for worker in alive)
        return are_idle and self.snapshot().status == seen.status


@contextmanager
def hurried(lease_seconds: float = LEASE_SECONDS) -> Iterator[None]:
    """A time in which leases are short, here and in the processes that are forked meanwhile."""
    lease_ms = int(lease_seconds * 1000)
    with _times(lease_ms, lease_seconds / 5, 2 * lease_seconds, lease_ms):
        yield


def with_usual_leases() -> AbstractContextManager[None]:
    """A time in which leases are as they are elsewhere."""
    return _times(*_USUAL)


_NAMES = (
    "shedder.queues.claims.LEASE_MS",
    "shedder.rq.lease.RENEW_SECONDS",
    "shedder.rq.worker.SILENCE_SECONDS",
    "shedder.queues.maintenance.FORGET_AFTER_MS",
)
_USUAL = tuple(pkgutil.resolve_name(name) for name in _NAMES)


@contextmanager
def _times(*values: float) -> Iterator[None]:
    with ExitStack() as stack:
        for name, value in zip(_NAMES, values, strict=True):
            stack.enter_context(mock.patch(name, value))
        yield
