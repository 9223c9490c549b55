"""What is there when a page is run: a server, an application, and workers that the page names."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rq.utils import utcformat

from shedder import Shedder
from shedder.rq import Queue
from tests.forked import Forked
from tests.servers import patient
from tests.waiting import PATIENCE_SECONDS, wait_until

if TYPE_CHECKING:
    from redis import Redis

    from shedder.embedded import EmbeddedServer

APPLICATION = Path(__file__).parent / "application"


class Stage:
    """The world of one page.

    Attributes:
        server: Its server.
        folder: Where its files are and its commands run.
        redis: A client.
        shedder: The facade.
    """

    def __init__(self, server: EmbeddedServer, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self.redis: Redis = server.client()
        self.shedder = Shedder(self.redis)
        self._workers: list[Forked] = []
        self._programs = folder / "programs"
        shutil.copytree(APPLICATION, folder, dirs_exist_ok=True)
        self._write_programs()

    @property
    def environment(self) -> dict[str, str]:
        """What the page's commands find: no more than a shell of oncall's on the host `ops`."""
        kept = {name: os.environ[name] for name in ("LANG", "PYTHONPATH", "TMPDIR") if name in os.environ}
        return {
            **kept,
            "PATH": f"{self._programs}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(self.folder),
            "LOGNAME": "oncall",
            "PYTHONWARNINGS": "ignore",
            "RQ_REDIS_URL": patient(self.server.url),
        }

    def execute(self, command: str) -> tuple[int, str]:
        """Run a command; its exit code and what it printed, addresses as the pages write them."""
        if command.endswith("&"):
            self._workers.append(self._begun(command.removesuffix("&")))
            return 0, ""
        code, printed = self._forked(command) if _words_of(command) else self._in_shell(command)
        return code, self._as_in_pages(printed)

    def enqueue(
        self,
        lane: str,
        function: str,
        count: int = 1,
        *,
        args: tuple[Any, ...] | None = None,
        meta: Mapping[str, str] | None = None,
        ago: timedelta = timedelta(),
        is_at_front: bool = False,
    ) -> None:
        """Enqueue jobs, which have waited for `ago`."""
        queue = Queue(lane, connection=self.redis)
        more = {"meta": dict(meta or {}), "at_front": is_at_front}
        for number in range(count):
            job = queue.enqueue(function, *((number,) if args is None else args), **more)
            if ago:
                self.redis.hset(job.key, "enqueued_at", utcformat(datetime.now(UTC) - ago))

    def start_worker(self, *queues: str, name: str, is_stock: bool = False) -> None:
        """Start a worker, and return when it has registered.

        It runs jobs in its own process, so that `close` leaves nothing behind.
        """
        program = "rq worker" if is_stock else "shedder worker --class simple"
        command = f"{program} {' '.join(queues)} --name {name}"
        self._workers.append(self._begun(command))
        self.wait_for(lambda: self.redis.hget(f"rq:worker:{name}", "state"), f"worker {name}")

    def wait_until_running(self, *targets: str, jobs: int = 1) -> None:
        """Return when so many jobs of `targets` run."""
        self.wait_for(lambda: len(self.shedder.running(*targets)) == jobs, "jobs that run")

    def wait_until_empty(self, *targets: str) -> None:
        """Return when nothing of `targets` waits, stands in a backlog or runs."""

        def is_empty() -> bool:
            lanes = self.shedder.status(*targets).lanes
            return not any(each.waiting + each.backlog + each.running + each.claimed for each in lanes)

        self.wait_for(is_empty, f"the end of {targets}")

    def wait_for(self, predicate: Callable[[], object], what: str = "what the page says") -> None:
        """Return when `predicate` gives something true."""
        try:
            wait_until(predicate, what=what)
        except AssertionError as error:
            log = (self.folder / "workers.log").read_text(encoding="utf-8")
            raise AssertionError(f"{error}; the workers said:\n{log[-2000:]}") from None

    def let_end(self, name: str) -> None:
        """Let the job `app.reports.rebuild(name)` end."""
        (self.folder / name).touch()

    def close(self) -> None:
        """End all workers."""
        for worker in self._workers:
            if worker.poll() is None:
                os.killpg(worker.pid, signal.SIGKILL)
            worker.wait()
        self.redis.close()

    def _in_shell(self, command: str) -> tuple[int, str]:
        done = subprocess.run(
            ["/bin/sh", "-c", command], cwd=self.folder, env=self.environment,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            timeout=PATIENCE_SECONDS, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout

    def _forked(self, command: str) -> tuple[int, str]:
        """What `_in_shell` does, by a fork of this process, which has imported everything."""
        printed = self.folder / "printed"
        printed.unlink(missing_ok=True)
        process = self._started(command, printed)
        try:
            return process.wait(), printed.read_text(encoding="utf-8")
        finally:
            process.kill()

    def _begun(self, command: str) -> Forked:
        return self._started(command, self.folder / "workers.log", is_alone=True)

    def _started(self, command: str, log: Path, *, is_alone: bool = False) -> Forked:
        with log.open("ab") as said, Path(os.devnull).open("rb") as nothing:
            files = (nothing.fileno(), said.fileno(), said.fileno())
            words = _words_of(command)
            return Forked(words, env=self.environment, cwd=self.folder, files=files, is_alone=is_alone)

    def _write_programs(self) -> None:
        # `shedder` of this very source, wherever it is installed
        self._programs.mkdir()
        program = self._programs / "shedder"
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m shedder "$@"\n', encoding="utf-8")
        program.chmod(0o755)

    def _as_in_pages(self, printed: str) -> str:
        address = self.server.url.removeprefix("redis://")
        return printed.replace(address, "localhost:6379").replace(f"@{socket.gethostname()}", "@ops")


_NEEDS_SHELL = re.compile(r"[|<>$;&]")
_MODULES = {"shedder": "shedder", "rq": "rq.cli"}


def _words_of(command: str) -> list[str]:
    """A module and its arguments, if the command is one of ours or of RQ's and needs no shell."""
    program, *words = command.split(" ", 1)
    if program not in _MODULES or _NEEDS_SHELL.search(command):
        return []
    return [_MODULES[program], *shlex.split(" ".join(words))]
