"""Real workers, which a test starts and of which every one is ended."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import signal
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Self
from uuid import uuid4

from rq.worker import BaseWorker

from shedder.rq import Worker
from tests.lifeline import end_session, end_with_parent, session_of
from tests.waiting import PATIENCE_SECONDS, wait_until

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis import Redis

    from shedder.embedded import EmbeddedServer


class WorkerProcess:
    """A worker in a process of its own: a fork of this one, which is there in milliseconds.

    It dies with the process that started it, whatever ends that.

    Args:
        server: Where its Redis is.
        queues: Names of the queues that it serves.
        worker_class: Any class of RQ workers.
        log: File for what it says.
        settings: More arguments of the class.
        client: Options of its Redis client.
        work: Arguments of the worker's `work`.
    """

    def __init__(
        self,
        server: EmbeddedServer,
        queues: Sequence[str],
        *,
        worker_class: type[BaseWorker] = Worker,
        log: Path,
        settings: dict[str, Any] | None = None,
        client: dict[str, Any] | None = None,
        **work: Any,
    ) -> None:
        self.name = uuid4().hex
        self.log = log
        self.status: int | None = None
        self.pid = os.fork()
        if self.pid == 0:
            arguments = {"name": self.name, **(settings or {})}
            _be_worker(server, queues, worker_class, log, arguments, client or {}, work)

    @property
    def key(self) -> str:
        """The key of its hash in Redis."""
        return BaseWorker.redis_worker_namespace_prefix + self.name

    def is_alive(self) -> bool:
        """Whether the process has not ended."""
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
        return self.status is None

    def wait(self, *, timeout: float = PATIENCE_SECONDS) -> int:
        """Its exit code; minus the number of the signal that killed it."""
        wait_until(lambda: not self.is_alive(), timeout=timeout, what=f"the end of {self}")
        assert self.status is not None
        return self.status

    def wait_until_idle(self, redis: Redis, *, timeout: float = PATIENCE_SECONDS) -> Self:
        """Return when it waits for a job."""
        wait_until(lambda: redis.hget(self.key, "state") == b"idle", timeout=timeout, what=f"{self}, idle")
        return self

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the worker, if it has not ended."""
        if self.is_alive():
            os.kill(self.pid, number)

    def family(self) -> list[int]:
        """The processes that it and its children have started and that live, orphans too."""
        return session_of(self.pid)

    def children(self) -> list[int]:
        """The processes that it has started: the one that runs its job, and its scheduler."""
        path = Path(f"/proc/{self.pid}/task/{self.pid}/children")
        try:
            return [int(pid) for pid in path.read_text(encoding="ascii").split()]
        except (FileNotFoundError, ProcessLookupError):
            return []

    def kill(self, *, and_children: bool = False) -> int:
        """End it with SIGKILL; the process that runs its job lives on unless it is named too."""
        children = self.children() if and_children else []
        self.send(signal.SIGKILL)
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        return self.wait()

    def __str__(self) -> str:
        said = self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""
        return f"worker {self.pid}, which said: {said[-2000:]}"


class Yard:
    """Where a test's workers are; none outlives it."""

    def __init__(self, server: EmbeddedServer, folder: Path) -> None:
        self._server = server
        self._folder = folder
        self._workers: list[WorkerProcess] = []

    def start(
        self,
        *queues: str,
        worker_class: type[BaseWorker] = Worker,
        server: EmbeddedServer | None = None,
        settings: dict[str, Any] | None = None,
        client: dict[str, Any] | None = None,
        **work: Any,
    ) -> WorkerProcess:
        """Start one worker."""
        worker = WorkerProcess(
            server or self._server,
            queues,
            worker_class=worker_class,
            log=self._folder / f"worker-{len(self._workers)}.log",
            settings=settings,
            client=client,
            **work,
        )
        self._workers.append(worker)
        return worker

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for worker in self._workers:
            worker.kill()
            end_session(worker.pid)


def run_burst(worker: BaseWorker, **work: Any) -> bool:
    """Let a worker of this process do what there is; whether it did anything.

    Its signal handlers and its thread are gone afterwards.
    """
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        return worker.work(burst=True, logging_level="WARNING", **work)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _be_worker(
    server: EmbeddedServer,
    queues: Sequence[str],
    worker_class: type[BaseWorker],
    log: Path,
    settings: dict[str, Any],
    client: dict[str, Any],
    work: dict[str, Any],
) -> NoReturn:
    status = 1
    try:
        end_with_parent()
        os.setsid()  # by which its family is known, also when it is dead
        _leave_the_test(log)
        worker = worker_class(list(queues), connection=server.client(**client), **settings)
        worker.work(logging_level="INFO", **work)
        status = 0
    except SystemExit:
        status = 0
    except BaseException:
        logging.getLogger("tests").exception("the worker's process ends")
    finally:
        os._exit(status)


def _leave_the_test(log: Path) -> None:
    gc.freeze()  # what belongs to the test is not collected here
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    sys.stdout = sys.stderr = os.fdopen(descriptor, "w", buffering=1)
    warnings.simplefilter("ignore")
    line = "%(asctime)s.%(msecs)03d %(process)d %(name)s %(message)s"
    logging.basicConfig(force=True, stream=sys.stderr, level=logging.INFO, format=line)
    for name in ("shedder", "rq"):  # a command line that ran in this process has taken their records
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.setLevel(logging.NOTSET)
        logger.propagate = True
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
