"""The jobs of the tests, and how a test learns that they ran.

Each leaves marks in a file: one line when its function begins and one when it ends, appended whole,
so that no kill can take them back.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rq import Retry, get_current_job

from tests.waiting import PATIENCE_SECONDS

meanwhile: list[Callable[[], object]] = []
"""What a job in the test's own process does between its two marks."""


@dataclass(frozen=True, slots=True)
class Mark:
    """One line that a job left.

    Attributes:
        what: `start` or `end`.
        key: What the test calls the job.
        pid: The process in which it ran.
        at: When, in seconds of the machine's monotonic clock.
    """

    what: str
    key: str
    pid: int
    at: float


def marks_in(path: str | Path) -> list[Mark]:
    """All marks, in the order in which they were left."""
    rows = [line.split("\t") for line in whole_lines(path)]
    return [Mark(what, key, int(pid), int(at) / 1e9) for what, key, pid, at in rows]


def whole_lines(path: str | Path) -> list[str]:
    """The lines of a file to which others append, but for the one that is not whole yet."""
    # an append shows itself page by page: of one that crosses a page, a reader may see the half
    return Path(path).read_text(encoding="utf-8").split("\n")[:-1] if Path(path).exists() else []


def started(path: str | Path) -> list[str]:
    """The keys of the jobs whose function began, as often as it did."""
    return [mark.key for mark in marks_in(path) if mark.what == "start"]


def ended(path: str | Path) -> list[str]:
    """The keys of the jobs whose function ended."""
    return [mark.key for mark in marks_in(path) if mark.what == "end"]


def mark(path: str, key: str, seconds: float = 0.0) -> str:
    """Do nothing for some time."""
    with _Marks(path, key):
        time.sleep(seconds)
    return key


def mark_own(path: str) -> str:
    """Do nothing, under the job's own id."""
    job = get_current_job()
    assert job is not None
    return mark(path, job.id)


def hold(path: str, key: str, until: str) -> str:
    """Run until the file `until` exists."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    with _Marks(path, key):
        while not Path(until).exists() and time.monotonic() < deadline:
            time.sleep(0.005)
    return key


def fail(path: str, key: str, times: int = 1) -> str:
    """Raise at the first `times` runs."""
    with _Marks(path, key):
        if Counter(started(path))[key] <= times:
            raise RuntimeError("as the test wants")
    return key


def ask_again(path: str, key: str, interval: int = 0) -> str | Retry:
    """Return a `Retry` at the first run."""
    with _Marks(path, key):
        if Counter(started(path))[key] == 1:
            return Retry(max=3, interval=interval)
    return key


def note(path: str, key: str) -> str:
    """Write something down on the job itself."""
    job = get_current_job()
    assert job is not None
    with _Marks(path, key):
        job.meta["note"] = key
        job.save_meta()
    return key


def decorated(path: str, key: str) -> str:
    """For RQ's decorator, which writes on the function."""
    return mark(path, key)


class _Marks:
    def __init__(self, path: str, key: str) -> None:
        self._path = path
        self._key = key

    def __enter__(self) -> None:
        self._leave("start")
        for action in meanwhile:
            action()

    def __exit__(self, *error: object) -> None:
        self._leave("end")

    def _leave(self, what: str) -> None:
        line = f"{what}\t{self._key}\t{os.getpid()}\t{time.monotonic_ns()}\n"
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(descriptor, line.encode())
        finally:
            os.close(descriptor)
