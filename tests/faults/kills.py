"""Jobs whose workers are killed at random instants, and where these jobs are afterwards."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rq import Retry
from rq.defaults import RQ_KEY_PREFIX
from rq.registry import StartedJobRegistry

from tests import jobs
from tests.waiting import PATIENCE_SECONDS, wait_until
from tests.workers import WorkerProcess, Yard, run_burst

if TYPE_CHECKING:
    from redis import Redis
    from rq import Queue
    from rq.worker import BaseWorker

STOCK = 30
"""So many jobs wait in each queue whenever a worker is started."""

LONGEST_LIFE_SECONDS = 0.05
"""From the first look for a job to the kill."""

LONGEST_JOB_SECONDS = 0.003
RETRIES = 50
FUTURE = 10_000_000_000.0


@dataclass(frozen=True, slots=True)
class Account:
    """What happened to every job.

    Attributes:
        jobs: How many there were.
        kills: Workers that were killed.
        lost: Jobs that never ran to their end.
        doubled: Jobs that started again though nobody had killed the process that ran them.
        repeated: Jobs that started again because the process that ran them was killed.
    """

    jobs: int
    kills: int
    lost: tuple[str, ...]
    doubled: tuple[str, ...]
    repeated: tuple[str, ...]


@dataclass
class Kills:
    """Starts one worker after the other on the same queues, and kills each.

    Attributes:
        client: A client of the server, which is empty at the beginning.
        yard: Starts the workers.
        marks: File for the jobs' marks.
        worker_class: The class of workers.
        queues: What they serve; all have the same class.
        and_children: Whether the process that runs the job is killed as well.
        seed: Of the random instants.
    """

    client: Redis
    yard: Yard
    marks: str
    worker_class: type[BaseWorker]
    queues: list[Queue]
    and_children: bool
    seed: int = 7
    _chance: random.Random = field(init=False)
    _keys: list[str] = field(default_factory=list)
    _killed: dict[int, WorkerProcess] = field(default_factory=dict)
    _workers: list[WorkerProcess] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)

    def kill_one(self) -> None:
        """Let one worker live for a random time, amid more than enough work."""
        for queue in self.queues:
            self._fill(queue)
        names = [queue.name for queue in self.queues]
        worker = self.yard.start(*names, worker_class=self.worker_class)
        self._workers.append(worker)
        at_work = (b"idle", b"busy")
        wait_until(lambda: self.client.hget(worker.key, "state") in at_work, interval=0.001)
        time.sleep(self._chance.uniform(0, LONGEST_LIFE_SECONDS))
        self._kill(worker)

    def account(self, *, timeout: float = PATIENCE_SECONDS) -> Account:
        """Let everything that is left run to its end, and look for what is missing.

        What RQ itself would rescue after some minutes is rescued now.
        """
        wait_until(lambda: not any(worker.family() for worker in self._workers), interval=0.02)
        end = time.monotonic() + timeout
        while self._missing() and time.monotonic() < end:
            self._rescue()
            run_burst(self.worker_class(self._names, connection=self.client))
            time.sleep(0.05)
            if not self._is_anything_left():
                break
        return self._account()

    def is_any_nowhere(self) -> bool:
        """Whether a job has not started, and is neither in a list nor in RQ's registry."""
        wait_until(lambda: not self._workers[-1].family(), interval=0.02)
        found = set(jobs.started(self.marks))
        for queue in self.queues:
            found.update(queue.job_ids)
            found.update(queue.intermediate_queue.get_job_ids())
            found.update(queue.started_job_registry.get_job_ids(cleanup=False))
        return bool(set(self._keys) - found)

    @property
    def _names(self) -> list[str]:
        return [queue.name for queue in self.queues]

    def _fill(self, queue: Queue) -> None:
        datas = []
        for _ in range(STOCK - queue.count):
            key = str(len(self._keys))
            self._keys.append(key)
            arguments = (self.marks, key, self._chance.uniform(0, LONGEST_JOB_SECONDS))
            retry = Retry(max=RETRIES)
            datas.append(queue.prepare_data(jobs.mark, arguments, job_id=key, retry=retry))
        queue.enqueue_many(datas)

    def _kill(self, worker: WorkerProcess) -> None:
        victims = [worker.pid, *(worker.children() if self.and_children else [])]
        self._chance.shuffle(victims)
        for pid in victims:
            self._killed[pid] = worker
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        worker.wait()

    def _rescue(self) -> None:
        for name in self._lanes:
            StartedJobRegistry(name, connection=self.client).cleanup(timestamp=FUTURE)

    @property
    def _lanes(self) -> list[str]:
        return [name for queue in self._names for name in (queue, f"{queue}.low")]

    def _missing(self) -> set[str]:
        return set(self._keys) - set(jobs.ended(self.marks))

    def _is_anything_left(self) -> bool:
        """Whether a job is in a list, in a worker's hands, or held by RQ."""
        patterns = (
            f"{RQ_KEY_PREFIX}:queue:*",
            f"{RQ_KEY_PREFIX}:wip:*",
            f"{RQ_KEY_PREFIX}:shedder:claims",
            f"{RQ_KEY_PREFIX}:scheduled:*",
        )
        return any(self.client.keys(pattern) for pattern in patterns)

    def _account(self) -> Account:
        starts = Counter(jobs.started(self.marks))
        again = [key for key, times in starts.items() if times > 1]
        return Account(
            jobs=len(self._keys),
            kills=len(self._workers),
            lost=tuple(sorted(self._missing(), key=int)),
            doubled=tuple(key for key in again if not self._was_killed(key)),
            repeated=tuple(key for key in again if self._was_killed(key)),
        )

    def _was_killed(self, key: str) -> bool:
        """Whether each start but the last was in a process that was killed before its end."""
        marks = [mark for mark in jobs.marks_in(self.marks) if mark.key == key]
        pids = [mark.pid for mark in marks if mark.what == "start"]
        return all(pid in self._killed for pid in pids[:-1])


def kill_many(kills: Kills, trials: int) -> Account:
    """Kill so many workers, and account for every job."""
    for _ in range(trials):
        kills.kill_one()
    return kills.account()


def describe(what: str, account: Account) -> str:
    """One line of figures."""
    lost: Any = len(account.lost)
    return (
        f"{what}: {account.kills} kills, {account.jobs} jobs, {lost} lost, "
        f"{len(account.doubled)} doubled, {len(account.repeated)} begun again after a kill"
    )
