"""The demo's jobs: what they do, their mix, their producers, and what they wrote as they began.

A job waits a few milliseconds, as if for a database. Before that it writes its id and the time to a
file, and once more when it fails. The file is no part of Redis: what it says about which jobs ran,
and how often, is evidence that neither RQ nor shedder has touched.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import time
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shedder.errors import ShedderError
from shedder.lanes import Lane, lanes_of_target
from shedder.later import later

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.process import BaseProcess

    from shedder.embedded import EmbeddedServer
    from shedder.rq.queue import Queue
else:
    globals().update(later((("shedder.rq.queue", "Queue"),)))  # rq takes a while


QUEUE = "mail"
LANES = tuple(lane.name for lane in lanes_of_target(QUEUE))
TENANTS = ("acme", "globex", "initech", "hooli", "stark")
PRODUCERS = 2
LOG_VARIABLE = "SHEDDER_DEMO_LOG"
"""Names the file that the jobs write to. Without it they only wait."""

FAILING_SHARE = 5
"""While the database is full, one in so many mails finds no connection to it."""

_FULL = ".full"
"""A file beside the log, there while the database is full."""

_FAILED = "failed"
"""Stands in the log where a job fails, in the place of the time."""

_BATCH = 1000


class DemoFailed(ShedderError):
    """The demo could not go on; the message says why."""


class OperationalError(Exception):
    """What the driver of a database raises."""


@dataclass(frozen=True, slots=True)
class JobKind:
    """A kind of job.

    Attributes:
        name: what its ids begin with.
        function: its function in this module.
        priority: of the lane that producers put it into.
        share: how many of 1,000 jobs are of this kind.
    """

    name: str
    function: str
    priority: str
    share: int

    @property
    def path(self) -> str:
        """The dotted name of its function, which RQ stores."""
        return f"shedder.demo.jobs.{self.function}"

    @property
    def lane(self) -> str:
        """The name of its lane."""
        return Lane(QUEUE, self.priority).name

    def id(self, number: int) -> str:
        """The id of its job with this number, such as `newsletter-000017`."""
        return f"{self.name}-{number:06d}"


# Somebody has declared what resets a password, and the reports. Card charges and receipts nobody
# has, as is usual, so they stand in one line with the newsletters.
NEWSLETTER = JobKind("newsletter", "send_newsletter", "normal", 850)
REPORT = JobKind("report", "rebuild_report", "low", 140)
RECEIPT = JobKind("receipt", "send_receipt", "normal", 5)
CHARGE = JobKind("charge", "charge_card", "normal", 3)
PASSWORD = JobKind("password", "reset_password", "high", 2)
KINDS = (NEWSLETTER, REPORT, RECEIPT, CHARGE, PASSWORD)
BULK = (NEWSLETTER, REPORT)
"""The work that can wait."""

MAILS = (NEWSLETTER, RECEIPT)
"""The work that fails while the database is full."""


def send_newsletter(number: int) -> None:
    """Work that can wait."""
    _work(NEWSLETTER, number, seconds=0.010)


def rebuild_report(number: int) -> None:
    """More work that can wait."""
    _work(REPORT, number, seconds=0.010)


def send_receipt(number: int) -> None:
    """A customer looks for this mail now."""
    _work(RECEIPT, number, seconds=0.005)


def charge_card(number: int) -> None:
    """A customer waits for this at the till."""
    _work(CHARGE, number, seconds=0.005)


def reset_password(number: int) -> None:
    """A customer cannot get in before this is done."""
    _work(PASSWORD, number, seconds=0.002)


def _work(kind: JobKind, number: int, *, seconds: float) -> None:
    path = os.environ.get(LOG_VARIABLE)
    if path:
        _write(path, f"{kind.id(number)} {time.time_ns()}")
    time.sleep(seconds)
    if path and kind in MAILS and number % FAILING_SHARE == 0 and Path(path + _FULL).exists():
        _write(path, f"{kind.id(number)} {_FAILED}")
        raise OperationalError("remaining connection slots are reserved")


def _write(path: str, line: str) -> None:
    with Path(path).open("ab", buffering=0) as file:
        # One small append is one piece, however many processes write at once.
        file.write(f"{line}\n".encode())


def planned_kind(number: int) -> JobKind:
    """The kind of the job with this number, the same in every process and every run."""
    order = _order()
    return order[number % len(order)]


def planned_id(number: int) -> str:
    """The id of the job with this number."""
    return planned_kind(number).id(number)


@cache
def _order() -> tuple[JobKind, ...]:
    order = [kind for kind in KINDS for _ in range(kind.share)]
    random.Random(1).shuffle(order)  # noqa: S311 - the same mix in every run
    return tuple(order)


@contextmanager
def producing(server: EmbeddedServer, jobs: int) -> Iterator[list[BaseProcess]]:
    """The processes that enqueue the first `jobs` of the mix; they end with this context.

    They use RQ's own `enqueue_many`, as an application with a campaign would.
    """
    # Forked, so that they need not import everything again. The demo's other threads only wait yet.
    fork = multiprocessing.get_context("fork")
    producers: list[BaseProcess] = [
        fork.Process(target=_produce, args=(server, first, jobs), daemon=True) for first in range(PRODUCERS)
    ]
    try:
        for producer in producers:
            producer.start()
        yield producers
    finally:
        for producer in producers:
            if producer.pid is not None:
                producer.kill()
                producer.join()


def _produce(server: EmbeddedServer, first: int, jobs: int) -> None:
    """Enqueue every second batch, in the order of their numbers."""
    queue = Queue(QUEUE, connection=server.client())
    for start in range(first * _BATCH, jobs, PRODUCERS * _BATCH):
        _enqueue(queue, range(start, min(start + _BATCH, jobs)))


def _enqueue(queue: Any, numbers: range) -> None:
    lanes: dict[str, list[Any]] = defaultdict(list)
    for number in numbers:
        kind, tenant = planned_kind(number), TENANTS[number % len(TENANTS)]
        lanes[kind.priority].append(queue.prepare_data(
            kind.path, (number,), job_id=kind.id(number), meta={"tenant": tenant}
        ))  # fmt: skip
    for priority, jobs in lanes.items():
        queue.lane(priority).enqueue_many(jobs)


@dataclass(slots=True)
class Runs:
    """What the jobs wrote.

    Attributes:
        starts: id -> when its function first began, in nanoseconds since the epoch.
        failed: ids of those that have failed, and have not begun once more.
        came_back: ids of those that failed, and began once more.
        again: ids that began once more though they had not failed, one entry for each time.
    """

    starts: dict[str, int] = field(default_factory=dict)
    failed: set[str] = field(default_factory=set)
    came_back: set[str] = field(default_factory=set)
    again: list[str] = field(default_factory=list)

    def take(self, line: str) -> None:
        """Take in a line."""
        job, _, at = line.partition(" ")
        if at == _FAILED:
            self.failed.add(job)
        elif job in self.failed:
            self.failed.remove(job)
            self.came_back.add(job)
        elif job in self.starts:
            self.again.append(job)
        else:
            self.starts[job] = int(at)

    def started_after(self, moment: int) -> int:
        """How many began after `moment` (nanoseconds since the epoch)."""
        return sum(at > moment for at in self.starts.values())


class RunLog(Runs):
    """Reads the file that the jobs write.

    Attributes:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self._read = 0
        path.touch(mode=0o600)

    def refresh(self) -> None:
        """Take in what was written since the last time."""
        with self.path.open("rb") as file:
            file.seek(self._read)
            written = file.read()
        whole = written[: written.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.decode().splitlines():
            self.take(line)

    def fill_database(self) -> None:
        """From now on some mails find no connection to the database."""
        self._full.touch(mode=0o600)

    def free_database(self) -> None:
        """From now on all find one."""
        self._full.unlink(missing_ok=True)

    @property
    def _full(self) -> Path:
        return self.path.with_name(self.path.name + _FULL)
