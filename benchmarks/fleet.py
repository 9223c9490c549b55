"""Real workers, which a benchmark starts and of which every one is ended."""

from __future__ import annotations

import ctypes
import gc
import logging
import os
import signal
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from benchmarks.work import MARKS

if TYPE_CHECKING:
    import redis
    from rq.worker import BaseWorker

    from benchmarks.ground import Ground

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)


def die_with_parent() -> None:
    """To be called in a fresh fork: nothing of a benchmark outlives it."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    gc.freeze()


def be_quiet() -> None:
    """To be called in a fresh fork: what workers say is no part of the table."""
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)


class Fleet:
    """Workers in processes of their own, forks of this one.

    Args:
        ground: On which server they work.
        worker_class: Any class of RQ workers.
        queues: Names of the queues that each serves.
        workers: How many.
    """

    def __init__(
        self, ground: Ground, worker_class: type[BaseWorker], queues: Sequence[str], *, workers: int = 1, **work: Any
    ) -> None:
        self._ground = ground
        self.pids = [_start(ground, worker_class, queues, work) for _ in range(workers)]

    def __enter__(self) -> Self:
        self.wait_until_idle()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for pid in self.pids:
            children = _children(pid)
            for each in (pid, *children):
                with suppress(ProcessLookupError):
                    os.kill(each, signal.SIGKILL)
            os.waitpid(pid, 0)

    def wait_until_idle(self, *, timeout: float = 60.0) -> None:
        """Return when all have registered and wait for jobs (or work already)."""
        looker = self._ground.near
        wait_for(lambda: len(_registered(looker)) >= len(self.pids), timeout=timeout)
        time.sleep(0.1)

    def halt(self) -> None:
        """Freeze them."""
        for pid in self.pids:
            os.kill(pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """Let them go on."""
        for pid in self.pids:
            os.kill(pid, signal.SIGCONT)

    def end_burst(self) -> None:
        """Return when all have ended by themselves, as workers in a burst do."""
        for pid in self.pids:
            os.waitpid(pid, 0)
        self.pids = []


def wait_for(predicate: Callable[[], object], *, timeout: float, interval: float = 0.002) -> None:
    """Return as soon as `predicate` gives something true."""
    deadline = time.monotonic() + timeout
    while not predicate():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {timeout:g} s in vain")
        time.sleep(interval)


class Marks:
    """The file in which jobs write when they began."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[tuple[str, float]]:
        """What was written, and the seconds of the monotonic clock."""
        lines = self.path.read_text(encoding="ascii").splitlines()
        pairs = (line.split() for line in lines)
        return [(text, int(at) / 1e9) for text, at in pairs]

    def count(self) -> int:
        """How many lines there are."""
        return self.path.read_bytes().count(b"\n")

    def clear(self) -> None:
        """Forget all."""
        os.truncate(self.path, 0)


@contextmanager
def marks() -> Iterator[Marks]:
    """A file for the marks of jobs in workers that are started within."""
    path = Path(tempfile.mkstemp(prefix="shedder-marks-")[1])
    os.environ[MARKS] = str(path)
    try:
        yield Marks(path)
    finally:
        os.environ.pop(MARKS, None)
        path.unlink()


def _start(ground: Ground, worker_class: type[BaseWorker], queues: Sequence[str], work: dict[str, Any]) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        die_with_parent()
        be_quiet()
        worker = worker_class(list(queues), connection=ground.client())
        worker.work(logging_level="CRITICAL", **work)
    finally:
        os._exit(0)


def _registered(looker: redis.Redis) -> set[bytes]:
    found: Any = looker.smembers("rq:workers")
    return set(found)


def _children(pid: int) -> list[int]:
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [int(each) for each in text.split()]
