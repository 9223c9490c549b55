"""What the story has at hand: a server and who works on it, commands, a watch over the jobs."""

from __future__ import annotations

import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import cast

from shedder.api.shedder import default_actor
from shedder.demo.fleet import Customers, Fleet, Listener, environment
from shedder.demo.jobs import BULK, LANES, DemoFailed, RunLog
from shedder.demo.terminal import Teller
from shedder.embedded import EmbeddedServer
from shedder.engine.names import rq_keys
from shedder.events import is_shared_account
from shedder.response.runner import ShutdownSignals

_GLANCE_SECONDS = 0.1
_COMMAND_SECONDS = 600.0
_BULK_NAMES = tuple(kind.name for kind in BULK)


@dataclass(frozen=True, slots=True)
class CommandReceipt:
    """What a command of shedder did.

    Attributes:
        command: the line, as typed.
        exit_code: 0 when it did what it should.
        seconds: how long it took, with the start of Python.
        output: what it printed.
    """

    command: str
    exit_code: int
    seconds: float
    output: str


@dataclass(frozen=True, slots=True)
class Watched:
    """What happened while the story watched.

    Attributes:
        seconds: how long it watched.
        pace: jobs that started, a second.
        bulk_pace: those of them that could have waited, a second.
    """

    seconds: float
    pace: float
    bulk_pace: float


class Stage:
    """All that takes part, on a server of its own; `ends` ends it all.

    Attributes:
        jobs: how many are enqueued at the beginning.
        teller: tells the story.
        server: the demo's own.
        client: a client of it.
        folder: the server's; it is deleted with the server, whatever ends this process.
        log: what the jobs wrote.
        fleet: the workers.
        customers: they send important jobs.
        listener: takes what is told to others.
        receipts: of all commands so far.
        returned: when the last command had returned, in nanoseconds since the epoch.
    """

    def __init__(self, ends: ExitStack, teller: Teller, asked: ShutdownSignals, *, jobs: int) -> None:
        self.jobs, self.teller, self._asked = jobs, teller, asked
        self.server = ends.enter_context(EmbeddedServer())
        self.client = ends.enter_context(self.server.client())
        self.folder = self.server.socket_path.parent
        self.log = RunLog(self.folder / "started")
        self.fleet = Fleet(self.server.url, run_log=self.log.path, folder=self.folder)
        ends.callback(self.fleet.kill)
        self.listener = Listener()
        ends.callback(self.listener.close)
        self.customers = Customers(self.server, first=jobs)
        ends.callback(self.customers.leave)
        self.receipts: list[CommandReceipt] = []
        self.returned = 0

    def run(self, *words: str, may_fail: bool = False) -> CommandReceipt:
        """Run `shedder` with these words in a process, as a person would, and show what it prints.

        Raises:
            DemoFailed: it took too long; or it did not exit with 0, and may not fail.
            KeyboardInterrupt: the demo is to end.
        """
        line = shlex.join(["shedder", *words])
        self.teller.command(line)
        receipt = self._finished(line, words)
        if receipt.exit_code == -signal.SIGINT:
            raise KeyboardInterrupt  # Ctrl-C came before the process was in a session of its own
        self.receipts.append(receipt)
        self.teller.quote(receipt.output)
        if receipt.exit_code != 0 and not may_fail:
            raise DemoFailed(f"`{line}` exited with {receipt.exit_code}")
        return receipt

    def watch(self, seconds: float, *, until: Callable[[], bool] = lambda: False) -> Watched:
        """Watch the jobs run for `seconds`, or until `until` gives true.

        Raises:
            DemoFailed, KeyboardInterrupt: see `check`.
        """
        self.log.refresh()
        started, bulk = self._started()
        began = time.monotonic()
        with self.teller.bar("jobs that have started") as show:
            while time.monotonic() - began < seconds and not until():
                time.sleep(_GLANCE_SECONDS)
                self.log.refresh()
                self.check()
                show(len(self.log.starts), self.jobs + len(self.customers.ids))
        passed, (started_now, bulk_now) = time.monotonic() - began, self._started()
        return Watched(passed, (started_now - started) / passed, (bulk_now - bulk) / passed)

    def waiting(self, *lanes: str) -> int:
        """Jobs in the lists of these lanes, or of all."""
        keys = rq_keys()
        return sum(cast("int", self.client.llen(keys.lane(lane)[0])) for lane in lanes or LANES)

    def check(self) -> None:
        """Nothing, as long as all goes well.

        Raises:
            DemoFailed: a worker has ended, or a customer could not send a job.
            KeyboardInterrupt: the demo is to end.
        """
        if self._asked.by:
            raise KeyboardInterrupt
        self.fleet.check()
        self.customers.check()

    def _started(self) -> tuple[int, int]:
        starts = self.log.starts
        return len(starts), sum(job.startswith(_BULK_NAMES) for job in starts)

    def _finished(self, line: str, words: tuple[str, ...]) -> CommandReceipt:
        began = time.monotonic()
        told = {"SHEDDER_BY": _operator(), "SHEDDER_CHANNEL_MAIN": self.listener.url}
        told["COLUMNS"] = str(self.teller.quoted_width)
        with subprocess.Popen(
            [sys.executable, "-m", "shedder", *words], env=environment(self.server.url) | told,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            errors="replace", start_new_session=True,  # Ctrl-C is for the demo, which ends it
        ) as process:  # fmt: skip
            try:
                output = self._output(process, line)
            except BaseException:
                process.kill()
                raise
        self.returned = time.time_ns()
        return CommandReceipt(line, process.returncode, time.monotonic() - began, output)

    def _output(self, process: subprocess.Popen[str], line: str) -> str:
        deadline = time.monotonic() + _COMMAND_SECONDS
        while time.monotonic() < deadline:
            with suppress(subprocess.TimeoutExpired):
                return process.communicate(timeout=_GLANCE_SECONDS)[0]
            self.check()
        raise DemoFailed(f"`{line}` took more than {_COMMAND_SECONDS:g} s")


def _operator() -> str:
    """Who runs the demo; an account that several people use could take no role in it."""
    name = default_actor()
    return "oncall@desk" if is_shared_account(name) else name
