"""Where does a private Valkey or Redis come from, for a test or a demo?"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import socket
import subprocess
import time
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

from shedder.errors import ShedderError
from shedder.server_binary import find_server
from shedder.server_home import ServerHome

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import TracebackType

    import redis

_POLL = 0.002  # seconds between two looks at a server that starts
_POLITE = 5.0  # seconds that a server has to end by itself


class ServerDidNotStart(ShedderError):
    """The server program ended, or did not answer in time; the message shows its last words."""

    def __init__(self, *, binary: Path, last_words: str) -> None:
        super().__init__(f"{binary} did not start: {last_words or 'it logged nothing'}")
        self.binary = binary
        self.last_words = last_words


class ServerNotRunning(ShedderError):
    """This needs a server that runs and that this very process has started."""


class EmbeddedServer:
    """A private Valkey or Redis that listens on a socket in a temporary folder of its own.

    It belongs to the process that starts it and ends with that process, however that process
    ends. Forked children can use it and cannot end it. A terminal's Ctrl-C does not reach it.

    Args:
        binary: the server program; see `shedder.server_binary.find_server` for the others.
        appendonly: keep the data over `kill` and `restart`. `stop` deletes them in any case.
        appendfsync: ``no``, ``everysec`` or ``always``. With ``no`` everything acknowledged
            outlives `kill`, and only the machine's own crash could lose it.
        config: more directives and their values, such as ``{"maxmemory": "50mb"}``.
        port: a port of 127.0.0.1, 0 for any free one, to which `url` then points. The socket
            is there all the same.

    Attributes:
        binary: the program that was found, a `shedder.server_binary.ServerBinary`.
        port: the port of 127.0.0.1, or None.

    Raises:
        ServerNotFound: there is no server program.
    """

    def __init__(
        self,
        binary: str | os.PathLike[str] | None = None,
        *,
        appendonly: bool = False,
        appendfsync: str = "no",
        config: Mapping[str, str] | None = None,
        port: int | None = None,
    ) -> None:
        self.binary = find_server(binary)
        self.port = _free_port() if port == 0 else port
        self._directives = {
            "port": str(self.port or 0),
            "bind": "127.0.0.1",
            "save": "",
            "appendonly": "yes" if appendonly else "no",
            "appendfsync": appendfsync,
            **(config or {}),
        }
        self._home: ServerHome | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self, *, timeout: float = 10.0) -> Self:
        """Start the server, unless it runs, and return once it answers.

        Args:
            timeout: seconds that it may take until it answers.

        Raises:
            ServerDidNotStart: it ended or stayed silent.
            ServerNotRunning: it belongs to the process that this one was forked from.
        """
        fresh = self._home is None
        self._home = self._home or ServerHome()
        if not self._is_running():
            try:
                self._launch(self._home, timeout)
            except BaseException:
                # Data that were here before this start are not ours to delete.
                self.stop() if fresh else self._kill()
                raise
        return self

    def stop(self) -> None:
        """End the server and delete its data. In a forked child this does nothing."""
        if self._home is not None and self._home.is_owner():
            self._terminate()
            self._home.remove()
            self._home = None

    def kill(self) -> None:
        """End the server with SIGKILL, if it runs; its folder stays for `restart`.

        Raises:
            ServerNotRunning: it was never started, or not by this process.
        """
        self._own_home()
        self._kill()

    def restart(self, *, timeout: float = 10.0) -> None:
        """End the server politely, if it runs, and start it on the same folder and socket.

        Args:
            timeout: seconds that it may take until it answers.

        Raises:
            ServerDidNotStart: it ended or stayed silent.
            ServerNotRunning: it was never started, or not by this process.
        """
        self._own_home()
        self._terminate()
        self.start(timeout=timeout)

    def freeze(self) -> None:
        """Halt the server with SIGSTOP: connections are accepted, nothing is answered.

        Raises:
            ServerNotRunning: it does not run, or was not started by this process.
        """
        process = self._running()
        process.send_signal(signal.SIGSTOP)
        os.waitpid(process.pid, os.WUNTRACED)  # it may serve a little longer than the call

    def thaw(self) -> None:
        """Let a frozen server go on.

        Raises:
            ServerNotRunning: it does not run, or was not started by this process.
        """
        self._running().send_signal(signal.SIGCONT)

    def client(self, **options: Any) -> redis.Redis:
        """A new client of this server, which retries nothing by itself.

        Args:
            options: as `redis.Redis.from_url` takes them.

        Raises:
            ServerNotRunning: it was never started.
        """
        import redis

        return redis.Redis.from_url(self.url, **options)

    @property
    def socket_path(self) -> Path:
        """The Unix socket on which it listens."""
        return self._any_home().socket

    @property
    def url(self) -> str:
        """Where clients find it, for `redis.Redis.from_url`."""
        if self.port is not None:
            return f"redis://127.0.0.1:{self.port}"
        return f"unix://{quote(str(self.socket_path))}"

    @property
    def pid(self) -> int:
        """The process id of the server."""
        if self._process is None:
            raise ServerNotRunning("the server does not run")
        return self._process.pid

    @property
    def version(self) -> str:
        """The version of the server program, such as ``9.1.2``."""
        return ".".join(map(str, self.binary.version))

    def _launch(self, home: ServerHome, timeout: float) -> None:
        self._process = home.launch([str(self.binary.path), *self._arguments(home)])
        if not self._answers_within(timeout):
            raise ServerDidNotStart(binary=self.binary.path, last_words=home.last_words())

    def _arguments(self, home: ServerHome) -> list[str]:
        directives = {**self._directives, "dir": str(home.folder), "unixsocket": str(home.socket)}
        words: list[str] = []
        for name, value in directives.items():
            words += [f"--{name}", *(shlex.split(value) or [""])]
        return words

    def _answers_within(self, timeout: float) -> bool:
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline and self._is_running():
            if _answers(self.socket_path):
                return True
            time.sleep(_POLL)
        return False

    def _any_home(self) -> ServerHome:
        if self._home is None:
            raise ServerNotRunning("the server was not started")
        return self._home

    def _own_home(self) -> ServerHome:
        home = self._any_home()
        if not home.is_owner():
            raise ServerNotRunning("the server belongs to the process that this one is a fork of")
        return home

    def _is_running(self) -> bool:
        self._own_home()
        return self._process is not None and self._process.poll() is None

    def _running(self) -> subprocess.Popen[bytes]:
        if not self._is_running() or self._process is None:
            raise ServerNotRunning("the server does not run")
        return self._process

    def _terminate(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.send_signal(signal.SIGCONT)  # a frozen one would not hear SIGTERM
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_POLITE)
        self._kill()

    def _kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
            self._own_home().server_ended()


def _answers(socket_path: Path) -> bool:
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(1.0)
            connection.connect(str(socket_path))
            connection.sendall(b"PING\r\n")
            # A server that asks for a password is ready; one that still loads its data is not.
            return connection.recv(64).startswith((b"+PONG", b"-NOAUTH"))
    except OSError:
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
