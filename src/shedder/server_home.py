"""How does a private server leave nothing behind, even when its owner is killed with SIGKILL?

A watchdog, a shell that costs next to nothing, reads a pipe: the lifeline. The owner holds the only
other end, so whatever ends the owner ends the pipe; the watchdog then kills the server and deletes
its folder. Linux could do the first half alone with PDEATHSIG, but that fires when the *thread*
that started the server ends, deletes nothing, and macOS does not have it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import weakref
from pathlib import Path

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
            self._watchdog = _in_own_session(
                _WATCH, str(self.folder), stdin=reader, stdout=subprocess.DEVNULL, cwd="/"
            )
        finally:
            os.close(reader)
        _let_go_in_children(self)

    def is_owner(self) -> bool:
        """Whether this process made the home, rather than being a fork of the one that did."""
        return self._owner == os.getpid()

    def launch(self, command: list[str]) -> subprocess.Popen[bytes]:
        """Start a server with the folder as its directory; the watchdog knows of it."""
        return _in_own_session(
            _BECOME_SERVER,
            *command,
            stdin=subprocess.DEVNULL,
            stdout=self._lifeline,
            cwd=str(self.folder),
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
        self.let_go()

    def let_go(self) -> None:
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


def _in_own_session(
    script: str, *arguments: str, stdin: int, stdout: int, cwd: str
) -> subprocess.Popen[bytes]:
    # A session of its own keeps the terminal's Ctrl-C away. Its errors must not go to the owner's
    # stderr, or whoever reads that through a pipe would wait for this process too.
    return subprocess.Popen(
        ["/bin/sh", "-c", script, "shedder-server", *arguments],
        stdin=stdin,
        stdout=stdout,
        stderr=subprocess.DEVNULL,
        cwd=cwd,
        start_new_session=True,
    )


def _let_go_in_children(home: ServerHome) -> None:
    # A forked child that executes nothing keeps every descriptor: a job that outlives its worker
    # would keep the server alive. The hook stays for good, so it must not keep the home alive.
    reference = weakref.ref(home)

    def let_go() -> None:
        if (forked := reference()) is not None:
            forked.let_go()

    os.register_at_fork(after_in_child=let_go)
