"""A server whose clock a test can set forth and back; no other process sees anything of it."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

from tests.servers import PatientServer
from tests.waiting import PATIENCE_SECONDS, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redis import Redis

SOURCE = Path(__file__).with_name("stepped_clock.c")


class SteppedServer(PatientServer):
    """An embedded server with a time of day of its own."""

    ahead_file: Path

    def step(self, seconds: int) -> None:
        """From now on its clock is so many seconds ahead of the machine's."""
        with self.ahead_file.open("r+b") as file:
            file.write(struct.pack("q", seconds))
        with self.client() as client:
            # it looks at its clock when it next wakes up, and commands go by what it saw
            wait_until(lambda: abs(_ahead(client) - seconds) < 60, what="the server's new time")


def _ahead(client: Redis) -> float:
    info: Any = client.info("server")
    return info["server_time_usec"] / 1e6 - time.time()


def why_not() -> str:
    """Why no clock of a server can be set here; empty when it can."""
    if not sys.platform.startswith("linux"):
        return "the clock of one process can be set on Linux alone"
    return "" if shutil.which("cc") else "without a C compiler no clock of a server can be set"


@contextmanager
def stepped_server() -> Iterator[SteppedServer]:
    """A server that ends with the context; its clock is right until it is set."""
    with tempfile.TemporaryDirectory(prefix="clock-") as folder:
        ahead = Path(folder) / "ahead"
        ahead.write_bytes(struct.pack("q", 0))
        server = SteppedServer()
        server.ahead_file = ahead
        preload = {"LD_PRELOAD": str(_library_in(Path(folder))), "CLOCK_AHEAD_FILE": str(ahead)}
        with mock.patch.dict(os.environ, preload):
            server.start()
        with server:
            yield server


def _library_in(folder: Path) -> Path:
    library = folder / "clock.so"
    command = ["cc", "-O2", "-shared", "-fPIC", "-o", str(library), str(SOURCE)]
    subprocess.run(command, check=True, timeout=PATIENCE_SECONDS)
    return library
