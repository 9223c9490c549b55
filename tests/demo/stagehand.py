"""Runs the demo as a person does, and sees what it has left behind."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import Self
from uuid import uuid4

import shedder
from tests.waiting import PATIENCE_SECONDS, wait_until

_MARK = "DEMO_OF_A_TEST"


class Demo:
    """`shedder demo` in a process group of its own, with its own folder for temporary files.

    Args:
        words: what follows `shedder demo`.
        variables: more environment.
    """

    def __init__(self, *words: str, **variables: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="demo-", dir="/tmp"))
        self._mark = f"{_MARK}={uuid4().hex}"
        name, _, value = self._mark.partition("=")
        source = str(Path(shedder.__file__).parents[1])
        self.process = subprocess.Popen(
            [sys.executable, "-m", "shedder", "demo", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": source, name: value, "TMPDIR": str(self.folder),
                 **variables},
            start_new_session=True,
        )  # fmt: skip
        self._said: dict[str, bytes] = {"stdout": b"", "stderr": b""}
        self._readers = [threading.Thread(target=self._read, args=(name,), daemon=True) for name in self._said]
        for reader in self._readers:
            reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.wait()
        for pid in self.processes():
            with suppress(ProcessLookupError):  # it ends by itself when it sees that the demo has
                os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def stdout(self) -> str:
        """What it has printed so far."""
        return self._said["stdout"].decode()

    @property
    def stderr(self) -> str:
        """What it has printed to standard error so far."""
        return self._said["stderr"].decode()

    def wait_for(self, text: str) -> None:
        """Return when it has printed `text`, or has ended."""
        wait_until(lambda: text in self.stdout + self.stderr or self.process.poll() is not None, what=f"{text!r}")

    def press_ctrl_c(self) -> None:
        """Do what a terminal does: interrupt the whole foreground process group."""
        os.killpg(self.process.pid, signal.SIGINT)

    def wait(self) -> int:
        """Its exit code, when it has ended and all that it said is read."""
        code = self.process.wait(PATIENCE_SECONDS)
        for reader in self._readers:
            reader.join(PATIENCE_SECONDS)
        return code

    def processes(self) -> list[int]:
        """All processes that it has started, at whatever distance, and that have not ended."""
        return [int(path.parent.name) for path in Path("/proc").glob("[0-9]*/environ")
                if self._is_marked(path)]  # fmt: skip

    def leftovers(self) -> list[str]:
        """Files and processes that are still there."""
        files = [str(path) for path in self.folder.iterdir()]
        return files + [f"process {pid}" for pid in self.processes()]

    def assert_nothing_is_left(self) -> None:
        """Fail when something is still there after the moment that a watchdog needs."""
        wait_until(lambda: not self.leftovers(), what="the end of all it had started")

    def _is_marked(self, path: Path) -> bool:
        try:
            return self._mark.encode() in path.read_bytes().split(b"\0")
        except OSError:
            return False

    def _read(self, name: str) -> None:
        stream = getattr(self.process, name)
        with stream:
            while piece := os.read(stream.fileno(), 65536):
                self._said[name] += piece
