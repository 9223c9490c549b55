"""Which processes work on the demo's queue?"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from shedder.demo.mix import QUEUE
from shedder.demo.trouble import DemoFailed
from shedder.demo.work import LOG_VARIABLE

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

WORKERS = 4
WORKER_CLASS = "shedder.rq.SimpleWorker"
_WORDS = ("--worker-class", WORKER_CLASS, "--quiet", QUEUE)
COMMAND = " ".join(("rq worker", *_WORDS))
"""What a user would type to start one of them."""

_POLITE_SECONDS = 5.0


def environment(url: str) -> dict[str, str]:
    """The environment of all processes that the demo starts.

    Nothing in it points to another server than the demo's own, not even as a fall-back.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if name == "RQ_KEY_PREFIX" or not name.startswith(("REDIS_", "RQ_", "SENTINEL", "SHEDDER_"))
    }
    return {**kept, "SHEDDER_REDIS_URL": url}


class Fleet:
    """Worker processes, as a context; they end with it.

    Args:
        url: their server.
        run_log: the file that their jobs write to.
        folder: where they write what goes wrong.
    """

    def __init__(self, url: str, *, run_log: Path, folder: Path) -> None:
        self._words = [sys.executable, "-m", "shedder.demo.worker", "--url", url, *_WORDS]
        self._environment = {**environment(url), LOG_VARIABLE: str(run_log)}
        self._errors = folder / "workers"
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()

    def start(self) -> None:
        """Start the workers; they need a second or two before they take their first job."""
        for number in range(1, WORKERS + 1):
            words = [*self._words, "--name", f"worker-{number}"]
            self._processes.append(_started(words, self._environment, self._errors))

    def check(self) -> None:
        """Nothing, as long as all workers live.

        Raises:
            DemoFailed: one has ended.
        """
        for process in self._processes:
            if process.poll() is not None:
                raise DemoFailed(f"a worker has ended: {self._last_words()}")

    def stop(self) -> None:
        """Ask the workers to finish their job and end, and wait for it."""
        for process in self._processes:
            process.terminate()
        deadline = time.monotonic() + _POLITE_SECONDS
        for process in self._processes:
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(deadline - time.monotonic(), 0.0))
        self.kill()

    def kill(self) -> None:
        """End the workers now."""
        for process in self._processes:
            process.kill()
            process.wait()
            if process.stdin is not None:
                process.stdin.close()
        self._processes.clear()

    def _last_words(self) -> str:
        with suppress(OSError):
            lines = self._errors.read_text(errors="replace").split("\n")
            return next((line for line in reversed(lines) if line.strip()), "it said nothing")
        return "it said nothing"


def _started(
    words: list[str], variables: Mapping[str, str], errors: Path
) -> subprocess.Popen[bytes]:
    with errors.open("ab") as log:
        # A session of its own keeps the terminal's Ctrl-C away: the demo ends its workers itself.
        return subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env=variables,
            start_new_session=True,
        )
