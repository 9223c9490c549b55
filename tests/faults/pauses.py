"""Trials that look for a job that starts after a pause has returned."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rq.suspension import resume, suspend

from tests import jobs
from tests.waiting import wait_until

if TYPE_CHECKING:
    from rq import Queue

    from shedder.api.shedder import Shedder

LONGEST_WAIT_SECONDS = 0.05
"""From the moment at which jobs flow to the pause."""

WATCH_SECONDS = 0.15
"""How long after a pause a start would be seen."""

LONGEST_JOB_SECONDS = 0.004


@dataclass(frozen=True, slots=True)
class Leak:
    """A job that started after a pause had returned.

    Attributes:
        key: What the test calls it.
        late_seconds: How long after.
    """

    key: str
    late_seconds: float


@dataclass
class Pauses:
    """Pauses queues again and again while jobs come in and workers run them.

    Attributes:
        operator: Pauses and resumes.
        queues: What the workers serve.
        marks: File for the jobs' marks.
        is_busy: Whether jobs wait in the queues, or the workers wait for the first one.
        seed: Of the random instants.
        uncertain: Late starts that the receipt had named as uncertain.
    """

    operator: Shedder
    queues: list[Queue]
    marks: str
    is_busy: bool
    seed: int = 7
    uncertain: int = 0
    _number: int = 0
    _trials: int = 0
    _chance: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)

    def pause_once(self) -> list[Leak]:
        """The jobs that started after the pause had returned; it is over again then."""
        self._clear()
        names = [queue.name for queue in self.queues]
        with self._producer():
            self._wait_for_a_random_instant()
            excused = self._pause(names)
            returned = time.monotonic()
            time.sleep(WATCH_SECONDS)
        leaks = self._leaks(excused, returned)
        self._resume(names)
        return leaks

    def starts(self) -> int:
        """How many jobs have started in all."""
        return len(jobs.started(self.marks))

    def _pause(self, names: Sequence[str]) -> int:
        """How many jobs are named as possibly not begun yet."""
        receipt = self.operator.pause(*names, reason="a test")
        return sum(not job.is_certain for job in receipt.running)

    def _resume(self, names: Sequence[str]) -> None:
        self.operator.resume(*names, reason="a test")

    @contextmanager
    def _producer(self) -> Iterator[None]:
        if self.is_busy:
            for _ in range(200):
                self._enqueue()
        is_over = threading.Event()
        thread = threading.Thread(target=self._produce, args=(is_over,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            is_over.set()
            thread.join()

    def _produce(self, is_over: threading.Event) -> None:
        while not is_over.wait(self._chance.uniform(0, 0.01)):
            self._enqueue()

    def _enqueue(self) -> None:
        self._number += 1
        queue = self.queues[self._number % len(self.queues)]
        seconds = self._chance.uniform(0, LONGEST_JOB_SECONDS)
        queue.enqueue(jobs.mark, self.marks, str(self._number), seconds, result_ttl=0)

    def _wait_for_a_random_instant(self) -> None:
        self._trials += 1
        if self.is_busy or self._trials % 2 == 0:
            before = self.starts()
            wait_until(lambda: self.starts() > before, what="the first job")
        time.sleep(self._chance.uniform(0, LONGEST_WAIT_SECONDS))

    def _leaks(self, excused: int, returned: float) -> list[Leak]:
        late = [mark for mark in jobs.marks_in(self.marks) if mark.at > returned]
        late = [mark for mark in late if mark.what == "start"]
        self.uncertain += min(len(late), excused)
        return [Leak(mark.key, mark.at - returned) for mark in late[excused:]]

    def _clear(self) -> None:
        """Begin with empty queues and idle workers, so that every trial is like the first."""
        for queue in self.queues:
            queue.empty()
        names = [queue.name for queue in self.queues]
        wait_until(lambda: not self.operator.running(*names), what="idle workers")


class Suspensions(Pauses):
    """The same with `rq suspend`, which stops all queues."""

    def _pause(self, names: Sequence[str]) -> int:
        suspend(self.queues[0].connection)
        return 0

    def _resume(self, names: Sequence[str]) -> None:
        resume(self.queues[0].connection)
