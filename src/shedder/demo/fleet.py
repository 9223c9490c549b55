"""Who takes part beside the operator: workers, customers that wait, a listener that is told.

`python -m shedder.demo.fleet ...` is `rq worker ...` that ends when the demo does. A worker of ours
outlives its Redis, so one whose demo was killed would wait for ever.
"""

from __future__ import annotations

import json
import math
import os
import runpy
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shedder.demo.jobs import CHARGE, LOG_VARIABLE, QUEUE, TENANTS, DemoFailed, RunLog
from shedder.later import later

if TYPE_CHECKING:
    from shedder.embedded import EmbeddedServer
    from shedder.rq.queue import Queue
else:
    globals().update(later((("shedder.rq.queue", "Queue"),)))  # rq takes a while


WORKERS = 4
_WORDS = ("--worker-class", "shedder.rq.SimpleWorker", "--quiet", QUEUE)
WORKER_COMMAND = " ".join(("rq worker", *_WORDS))
"""What a user would type to start one of them."""

_CHARGE_EVERY_SECONDS = 0.1
_LEAVE_SECONDS = 2.0
_LONGEST_MESSAGE = 1_000_000


def environment(url: str) -> dict[str, str]:
    """The environment of all programs that the demo starts.

    Nothing in it points to another server than the demo's own, not even as a fall-back.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if name == "RQ_KEY_PREFIX" or not name.startswith(("REDIS_", "RQ_", "SENTINEL", "SHEDDER_"))
    }
    return {**kept, "SHEDDER_REDIS_URL": url}


class Fleet:
    """Worker processes.

    Args:
        url: their server.
        run_log: the file that their jobs write to.
        folder: where they write what goes wrong.
    """

    def __init__(self, url: str, *, run_log: Path, folder: Path) -> None:
        self._words = [sys.executable, "-m", "shedder.demo.fleet", "--url", url, *_WORDS]
        self._environment = {**environment(url), LOG_VARIABLE: str(run_log)}
        self._errors = folder / "workers"
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Start the workers; they need a second or two before they take their first job."""
        with self._errors.open("ab") as errors:
            for worker in range(1, WORKERS + 1):
                # A session of its own keeps the terminal's Ctrl-C away: the demo ends its workers.
                self._processes.append(subprocess.Popen(
                    [*self._words, "--name", f"worker-{worker}"], env=self._environment,
                    stdin=subprocess.PIPE, stdout=errors, stderr=errors, start_new_session=True,
                ))  # fmt: skip

    def check(self) -> None:
        """Nothing, as long as all workers live.

        Raises:
            DemoFailed: one has ended.
        """
        if any(process.poll() is not None for process in self._processes):
            lines = self._errors.read_text(errors="replace").strip().splitlines()
            raise DemoFailed(f"a worker has ended: {lines[-1] if lines else 'it said nothing'}")

    def kill(self) -> None:
        """End the workers now."""
        for process in self._processes:
            process.kill()
            process.communicate()
        self._processes.clear()


def be_worker() -> None:
    """Be `rq worker` until standard input, the demo's lifeline, ends."""
    threading.Thread(target=_end_with_the_demo, daemon=True).start()
    sys.argv = ["rq", "worker", *sys.argv[1:]]
    runpy.run_module("rq.cli", run_name="__main__", alter_sys=True)


def _end_with_the_demo() -> None:
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True, slots=True)
class WaitTime:
    """How long a job waited from its enqueue to its start.

    Attributes:
        seconds: how long.
        is_over: False when the job has not started: it will have waited at least that long.
    """

    seconds: float
    is_over: bool = True


@dataclass(frozen=True, slots=True)
class StepWaits:
    """How long the jobs waited that were sent during one step of the demo.

    Attributes:
        step: its name.
        lane: the lane that they were sent to.
        sent: how many there are.
        started: how many of them have started.
        p50: the time within which half of them started; None when none was sent.
        p99: the same of 99 in 100.
        longest: of all of them.
    """

    step: str
    lane: str
    sent: int
    started: int
    p50: WaitTime | None
    p99: WaitTime | None
    longest: WaitTime | None


def waits_of(step: str, lane: str, waits: Iterable[WaitTime]) -> StepWaits:
    """The waiting times of one step."""
    ordered = sorted(waits, key=lambda wait: wait.seconds)
    p50, p99, longest = (percentile(ordered, percent) for percent in (50, 99, 100))
    return StepWaits(step, lane, len(ordered), sum(wait.is_over for wait in ordered), p50, p99, longest)


def percentile(ordered: list[WaitTime], percent: float) -> WaitTime | None:
    """The wait that `percent` of `ordered`, shortest first, do not exceed; None when it is empty.

    A job that still waits can only move up in the order. So the answer is exact as long as none of
    those stands at or before it, and else at least that long.
    """
    if not ordered:
        return None
    upto = ordered[: max(math.ceil(len(ordered) * percent / 100), 1)]
    return WaitTime(upto[-1].seconds, is_over=all(wait.is_over for wait in upto))


class Customers:
    """Sends a card charge every tenth of a second, from a thread of its own.

    Each charge belongs to the step in which it was sent, so that the steps can be compared.

    Args:
        server: where to.
        first: the number of the first charge.
    """

    def __init__(self, server: EmbeddedServer, *, first: int) -> None:
        self._queue = Queue(QUEUE, connection=server.client())
        self._next = first
        self._moment = ("", CHARGE.priority)
        self._sent: dict[str, tuple[str, str, int]] = {}
        self._trouble: Exception | None = None
        self._leave = threading.Event()
        self._thread = threading.Thread(target=self._send_on, daemon=True)

    def begin(self, step: str, *, priority: str = CHARGE.priority) -> None:
        """From now on charges belong to `step`, and are declared as of this priority."""
        self._moment = (step, priority)
        if not self._thread.is_alive() and not self._leave.is_set():
            self._thread.start()

    def leave(self) -> None:
        """Send no more."""
        self._leave.set()
        if self._thread.is_alive():
            self._thread.join(_LEAVE_SECONDS)

    def check(self) -> None:
        """Nothing, as long as all goes well.

        Raises:
            DemoFailed: a charge could not be sent.
        """
        if self._trouble is not None:
            raise DemoFailed(f"a card charge could not be sent: {self._trouble}")

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of all charges that were sent."""
        return tuple(self._sent)

    def waits(self, log: RunLog) -> tuple[StepWaits, ...]:
        """How long the charges waited, step by step, by what the jobs wrote into `log`."""
        now = time.time_ns()
        steps: dict[tuple[str, str], list[WaitTime]] = {}
        for job, (step, lane, sent) in tuple(self._sent.items()):
            start = log.starts.get(job)
            wait = WaitTime(((start or now) - sent) / 1e9, is_over=start is not None)
            steps.setdefault((step, lane), []).append(wait)
        return tuple(waits_of(step, lane, waits) for (step, lane), waits in steps.items())

    def _send_on(self) -> None:
        while not self._leave.wait(_CHARGE_EVERY_SECONDS):
            try:
                self._send_one()
            except Exception as error:  # noqa: BLE001 - `check` raises it where the story is told
                self._trouble = error
                return

    def _send_one(self) -> None:
        step, priority = self._moment
        lane: Any = self._queue.lane(priority)
        number, self._next = self._next, self._next + 1
        job, at = CHARGE.id(number), time.time_ns()
        lane.enqueue(CHARGE.path, number, job_id=job, meta={"tenant": TENANTS[0]})
        self._sent[job] = (step, lane.name, at)


class Listener:
    """A web server that takes messages at `url`, as a chat does, from a thread of its own.

    Attributes:
        heard: the texts that came, in order.
        url: where it is, as a channel's URL.
    """

    def __init__(self) -> None:
        # Here, because the workers, which are processes of this module, have no use for it.
        from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

        heard: list[str] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                size = min(int(self.headers.get("Content-Length", 0)), _LONGEST_MESSAGE)
                heard.append(str(json.loads(self.rfile.read(size)).get("message", "")))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self.heard = heard
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"json://127.0.0.1:{self._server.server_port}/"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Take no more."""
        self._server.shutdown()
        self._server.server_close()


if __name__ == "__main__":
    be_worker()
