"""What a network would do to the figures: a TCP proxy on loopback that delays what it passes on.

`python -m benchmarks.proxy HOST PORT DELAY_MS` prints the port on which it listens, and ends when
its standard input does. Half of the delay is added each way. It is one loop over `select`, whose
waits are exact to some 60 microseconds; the event loops of asyncio round up to a millisecond.
"""

from __future__ import annotations

import contextlib
import heapq
import select
import socket
import subprocess
import sys
import time
from itertools import count
from types import TracebackType
from typing import Self

CHUNK = 1 << 18


class Proxy:
    """The proxy as a process of its own, so that it does not share our interpreter.

    Attributes:
        port: Where it listens.
    """

    def __init__(self, *, host: str, port: int, delay_ms: float) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.proxy", host, str(port), str(delay_ms)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()


class _Line:
    """One direction of a connection: what was read, and when it may go on."""

    def __init__(self, source: socket.socket, target: socket.socket) -> None:
        self.source = source
        self.target = target


class _Loop:
    def __init__(self, listener: socket.socket, server: tuple[str, int], delay: float) -> None:
        self._listener = listener
        self._server = server
        self._delay = delay / 2
        self._lines: dict[socket.socket, _Line] = {}
        self._due: list[tuple[float, int, _Line, bytes]] = []
        self._numbers = count()

    def run(self) -> None:
        while True:
            wait = max(self._due[0][0] - time.monotonic(), 0) if self._due else None
            readable, _, _ = select.select([sys.stdin, self._listener, *self._lines], [], [], wait)
            if sys.stdin in readable:
                return
            for each in readable:
                if each is self._listener:
                    self._accept()
                elif each in self._lines:
                    self._read(self._lines[each])
            self._pass_on()

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        server = socket.create_connection(self._server)
        for each in (client, server):
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._lines[client] = _Line(client, server)
        self._lines[server] = _Line(server, client)

    def _read(self, line: _Line) -> None:
        try:
            data = line.source.recv(CHUNK)
        except OSError:
            data = b""
        heapq.heappush(self._due, (time.monotonic() + self._delay, next(self._numbers), line, data))
        if not data:
            del self._lines[line.source]

    def _pass_on(self) -> None:
        while self._due and self._due[0][0] <= time.monotonic():
            _, _, line, data = heapq.heappop(self._due)
            with contextlib.suppress(OSError):
                if data:
                    line.target.sendall(data)
                else:
                    line.target.shutdown(socket.SHUT_WR)


def main() -> None:
    """Serve until standard input ends."""
    host, port, delay_ms = sys.argv[1:]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        _Loop(listener, (host, int(port)), float(delay_ms) / 1000).run()


if __name__ == "__main__":
    main()
