"""Runs `shedder` as people do: in a process of its own, or on a terminal."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any, Self

import jsonschema

from tests.forked import OUR_PATH, Forked, is_the_same, run_module
from tests.lifeline import end_session
from tests.waiting import PATIENCE_SECONDS

TRIES = 5
ROOT = Path(__file__).parents[2]

_SETTINGS = re.compile("SHEDDER_|RQ_(?!KEY_PREFIX$)|REDIS_|NO_COLOR$|COLUMNS$|FORCE_COLOR$")
_SEQUENCES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]|\x1b[=>]")


@dataclass(frozen=True, slots=False)
class Outcome:
    """What a program that has ended left behind."""

    code: int
    out: str
    err: str
    seconds: float = 0.0

    @cached_property
    def json(self) -> Any:
        """The object on standard output; it is what its schema says."""
        return valid(json.loads(self.out))

    @property
    def json_lines(self) -> list[Any]:
        """The objects on standard output, one on each line."""
        return [valid(json.loads(line)) for line in self.lines]

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


def valid(found: Any) -> Any:
    """`found`, which is what the schema that it names says."""
    name = found["schema"].removeprefix("shedder.").partition("/")[0]
    schema = json.loads((files("shedder") / "schemas" / f"{name}.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(found)
    return found


def environment(**more: str) -> dict[str, str]:
    """The environment of a program: that of the tests without settings for RQ and shedder."""
    kept = {name: value for name, value in os.environ.items() if not _SETTINGS.match(name)}
    return {**kept, "SHEDDER_BY": "oncall@desk", "PYTHONPATH": OUR_PATH, "TERM": "xterm-256color", **more}


def run_program(*words: str | bytes, env: Mapping[str, str], **more: Any) -> Outcome:
    """Run `shedder` to its end, without a terminal; more as of `run_module`."""
    began = time.monotonic()
    done = run_module("shedder", *words, env=env, **more)
    return Outcome(done.returncode, done.stdout, done.stderr, time.monotonic() - began)


class Terminal:
    """A program on a terminal of its own, of 80 columns: `shedder`, or any with `program`."""

    def __init__(
        self, *words: str, env: Mapping[str, str], module: str = "shedder", program: Sequence[str] = ()
    ) -> None:
        self._master, inner = pty.openpty()
        fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 80, 0, 0))
        self._raw = b""
        self.process: Forked | subprocess.Popen[bytes]
        if program or not is_the_same(env):
            self.process = subprocess.Popen(
                [*(program or (sys.executable, "-m", module)), *words],
                env=dict(env), stdin=inner, stdout=inner, stderr=inner, start_new_session=True,
            )  # fmt: skip
        else:
            self.process = Forked(
                (module, *words), env=env, files=(inner, inner, inner), not_for_it=(self._master, inner), is_alone=True
            )
        os.close(inner)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._master)

    @property
    def raw(self) -> str:
        return self._raw.decode(errors="replace")

    @property
    def text(self) -> str:
        """All that was printed, without colours and movements of the cursor."""
        return _SEQUENCES.sub("", self.raw).replace("\r\n", "\n").replace("\r", "\n")

    def wait_for(self, *texts: str, after: int = 0) -> None:
        """Return when all of `texts` were printed, after so many characters."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not all(text in self.text[after:] for text in texts):
            ended = not self._read(0.05) and self.process.poll() is not None
            if ended and not self._read(0.2):
                raise AssertionError(f"ended without {texts}:\n{self.text[-2000:]}")
            if time.monotonic() > deadline:
                raise AssertionError(f"waited in vain for {texts}:\n{self.text[-2000:]}")

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def interrupt(self) -> None:
        """What Ctrl-C does."""
        self.process.send_signal(signal.SIGINT)

    def hang_up(self) -> None:
        """What closing the window does."""
        os.close(self._master)
        self._master = os.open(os.devnull, os.O_RDWR)
        self.process.send_signal(signal.SIGHUP)

    def interrupt_question(self) -> int:
        """Ctrl-C at a question; the exit code. One that comes before Python reads is not seen."""
        for _ in range(TRIES):
            self.interrupt()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(2.0)
                break
        return self.end()

    def end(self) -> int:
        """The exit code, once the program has ended."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self.process.poll() is None:
            self._read(0.05)
            if time.monotonic() > deadline:
                raise AssertionError(f"does not end:\n{self.text[-2000:]}")
        while self._read(0.05):
            pass
        return self.process.returncode

    def _read(self, seconds: float) -> bool:
        # `select` takes no file whose number is above 1,024, and one process of all tests has those
        ready = select.poll()
        ready.register(self._master, select.POLLIN)
        if not ready.poll(seconds * 1000):
            return False
        try:
            piece = os.read(self._master, 65536)
        except OSError:  # nobody holds the other end any more
            return False
        self._raw += piece
        return bool(piece)


def started(
    words: Sequence[str], *, env: Mapping[str, str], cwd: Path | None = None, log: str = os.devnull
) -> Forked | subprocess.Popen[bytes]:
    """A program of another module that goes on in the background, and writes what it says to `log`."""
    with Path(os.devnull).open("r+b") as nothing, Path(log).open("ab") as said:
        if is_the_same(env):
            files = (nothing.fileno(), said.fileno(), said.fileno())
            return Forked(words, env=env, cwd=cwd, files=files, is_alone=True)
        return subprocess.Popen(
            [sys.executable, "-m", *words], env=dict(env), cwd=cwd, stdin=nothing, stdout=said, stderr=said,
            start_new_session=True,
        )  # fmt: skip


def end(process: Forked | subprocess.Popen[bytes]) -> None:
    """End a program that goes on in the background, and its children, which are in its session.

    They may be there when it has ended itself: the scheduler of a worker that was killed is.
    """
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    end_session(process.pid)
