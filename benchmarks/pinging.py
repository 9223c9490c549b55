"""What other clients feel: a process of its own sends PING again and again and notes the time."""

from __future__ import annotations

import os
import signal
import struct
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from benchmarks.fleet import die_with_parent

if TYPE_CHECKING:
    from benchmarks.ground import Ground

GAP_SECONDS = 0.0005
_PAIR = struct.Struct("dd")


class Pings:
    """A stream of PINGs.

    Args:
        ground: Whose server is asked.

    Attributes:
        pid: The process that asks.
    """

    def __init__(self, ground: Ground) -> None:
        self._path = Path(tempfile.mkstemp(prefix="shedder-pings-")[1])
        self.pid = os.fork()
        if self.pid == 0:
            die_with_parent()
            with suppress(BaseException):
                _ping(ground, self._path)
            os._exit(0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        self._path.unlink()

    def between(self, since: float, until: float) -> list[float]:
        """Seconds of each PING that was sent within two moments of the monotonic clock."""
        deadline = time.monotonic() + 5
        while not (pairs := self._pairs()) or pairs[-1][0] < until:
            if time.monotonic() > deadline:
                raise TimeoutError("the pinging process says nothing")
            time.sleep(0.01)
        return [took for at, took in pairs if since <= at < until]

    def during(self, seconds: float) -> list[float]:
        """Seconds of each PING in the time to come."""
        since = time.monotonic()
        time.sleep(seconds)
        return self.between(since, since + seconds)

    def _pairs(self) -> list[tuple[float, float]]:
        data = self._path.read_bytes()
        whole = len(data) // _PAIR.size * _PAIR.size
        return [(at, took) for at, took in _PAIR.iter_unpack(data[:whole])]


def _ping(ground: Ground, path: Path) -> None:
    client = ground.client()
    with path.open("wb", buffering=0) as file:
        while True:
            began = time.monotonic()
            client.ping()
            file.write(_PAIR.pack(began, time.monotonic() - began))
            time.sleep(GAP_SECONDS)
