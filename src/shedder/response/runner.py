"""The program of a mitigation: values filled in, run, its output masked, and ended.

The program gets a list of arguments, never a shell, and a process group of its own, which ends with
it: at its time limit, and when its caller is interrupted.
"""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from difflib import get_close_matches
from types import FrameType
from typing import IO, Self

from shedder.errors import InvalidInput, NothingMatched
from shedder.policy.model import PLACEHOLDER, Mitigation

KEPT_BYTES = 16 * 1024
"""The part of the output, at its end, that is kept."""

LONGEST_LINE = 4 * 1024
LONGEST_VALUE = 500
GRACE_SECONDS = 5.0
SLICE_SECONDS = 0.2
READ_BYTES = 64 * 1024

HIDDEN = "***"
SHORTEST_SECRET = 6
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

Mask = Callable[[str], str]
Say = Callable[[str], None]
"""Is told each line of the output, masked, as it comes."""


@dataclass(frozen=True, slots=True)
class ProgramResult:
    """How a program ended.

    Attributes:
        outcome: `done`, `failed`, `timed out`, `interrupted` or `not started`.
        exit_code: What it exited with; minus the signal that ended it; None when it never began.
        seconds: How long it ran.
        output: The end of what it printed, secrets masked.
        cut: Bytes that were printed before that and are not kept.
    """

    outcome: str
    exit_code: int | None
    seconds: float
    output: str = ""
    cut: int = 0


def find_mitigation(mitigations: Mapping[str, Mitigation], name: str) -> Mitigation:
    """The declared mitigation of this name.

    Raises:
        NothingMatched: none is; the error has the nearest first.
    """
    if name not in mitigations:
        near = get_close_matches(name, mitigations, n=3) or sorted(mitigations)
        raise NothingMatched(f"mitigation {name} in the policy", found=tuple(near))
    return mitigations[name]


def filled(mitigation: Mitigation, values: Mapping[str, str]) -> tuple[str, ...]:
    """The program and its arguments, with `values` in place.

    Raises:
        InvalidInput: a value is missing, unknown, or cannot be an argument.
    """
    needed = mitigation.placeholders
    for name in values:
        if name not in needed:
            known = ", ".join(f"--{each}" for each in needed)
            says = f"the mitigation {mitigation.name} has no --{name}; it takes {known or 'no value'}"
            raise InvalidInput(name=f"--{name}", value=values[name], accepted=known, says=says)
    missing = [f"--{each}" for each in needed if each not in values]
    if missing:
        says = f"the mitigation {mitigation.name} also needs {' and '.join(missing)}"
        raise InvalidInput(name=mitigation.name, value="", accepted=f"also {' and '.join(missing)}", says=says)
    for name, value in values.items():
        _check_value(name, value)
    return tuple(PLACEHOLDER.sub(lambda it: values[it.group(1)], part) for part in mitigation.run)


def carry_out(
    command: tuple[str, ...], *, timeout: timedelta, say: Say, mask: Mask, asked: ShutdownSignals | None = None,
    started: Callable[[int], None] = lambda _group: None,
) -> ProgramResult:  # fmt: skip
    """Run `command` to its end, or to the end of `timeout`, or until this process is `asked` to.

    `started` is told the number of its process group.

    Raises:
        KeyboardInterrupt: it was interrupted; `Interrupted` of this module says how it ended.
    """
    began = time.monotonic()
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
        )
    except (OSError, ValueError) as error:
        return ProgramResult("not started", None, time.monotonic() - began, mask(f"{error}"))
    started(process.pid)
    output = Output(say, mask)
    until = began + timeout.total_seconds()
    try:
        is_over = _follow(process, output, until, asked or ShutdownSignals())
    except KeyboardInterrupt as error:
        _end(process, output)
        by = asked.by if asked and asked.by else signal.SIGINT
        raise Interrupted(_result("interrupted", process, began, output), by) from error
    if not is_over:
        _end(process, output)
        return _result("timed out", process, began, output)
    return _result("failed" if process.returncode else "done", process, began, output)


class Interrupted(KeyboardInterrupt):
    """This process was asked to end while the program ran.

    Attributes:
        ran: How the program ended.
        by: The signal that asked: Ctrl-C is SIGINT.
        exit_code: What a shell makes of it.
    """

    def __init__(self, ran: ProgramResult, by: signal.Signals = signal.SIGINT) -> None:
        super().__init__("interrupted")
        self.ran = ran
        self.by = by
        self.exit_code = 128 + by


class Output:
    """What a program prints: told line by line, and the end of it kept."""

    def __init__(self, say: Say, mask: Mask) -> None:
        self._say = say
        self._mask = mask
        self._rest = b""
        self._kept: deque[str] = deque()
        self._size = 0
        self.cut = 0

    @property
    def text(self) -> str:
        """The end of it."""
        return "\n".join(self._kept)

    def take(self, piece: bytes) -> None:
        """What was read; lines that are too long are broken."""
        self._rest += piece
        while b"\n" in self._rest or len(self._rest) > LONGEST_LINE:
            end = self._rest.find(b"\n", 0, LONGEST_LINE + 1)
            cut, skip = (end, 1) if end >= 0 else (LONGEST_LINE, 0)
            line, self._rest = self._rest[:cut], self._rest[cut + skip :]
            self._line(line)

    def finish(self) -> None:
        """The last line may have no end."""
        if self._rest:
            self._line(self._rest)
            self._rest = b""

    def _line(self, line: bytes) -> None:
        text = self._mask(line.decode("utf-8", "replace").rstrip("\r"))
        self._tell(text)
        self._kept.append(text)
        self._size += len(text) + 1
        while self._size > KEPT_BYTES and len(self._kept) > 1:
            gone = len(self._kept.popleft()) + 1
            self._size -= gone
            self.cut += gone

    def _tell(self, text: str) -> None:
        # a terminal or pipe that is gone must neither end the program nor leave it without an end
        try:
            self._say(text)
        except (OSError, ValueError, SystemExit):
            self._say = lambda _line: None


def mask_for(environment: Mapping[str, str]) -> Mask:
    """A mask that hides what looks like a secret, and secrets that `environment` holds."""
    found = {value for name, value in environment.items()
             if _SECRET_NAME.search(name) and len(value) >= SHORTEST_SECRET}  # fmt: skip
    secrets = sorted(found, key=len, reverse=True)

    def mask(text: str) -> str:
        for secret in secrets:
            text = text.replace(secret, HIDDEN)
        for pattern, shown in _PATTERNS:
            text = pattern.sub(shown, text)
        return text

    return mask


class ShutdownSignals:
    """Notes Ctrl-C, SIGTERM and SIGHUP instead of ending, for as long as this context lasts.

    What has a handler of its own keeps it, and what is ignored, as under nohup, stays ignored.
    Outside of the main thread, where Python knows no handlers, nothing is noted.
    """

    def __init__(self) -> None:
        self._came: list[signal.Signals] = []
        self._before: dict[signal.Signals, signal.Handlers] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            usual = (signal.SIG_DFL, signal.default_int_handler)
            self._before = {
                each: before  # type: ignore[misc]
                for each in SIGNALS
                if (before := signal.getsignal(each)) in usual
            }
        for each in self._before:
            signal.signal(each, self._note)
        return self

    def __exit__(self, *error: object) -> None:
        for each, before in self._before.items():
            signal.signal(each, before)

    @property
    def by(self) -> signal.Signals | None:
        """The first signal that came; None while none did."""
        return self._came[0] if self._came else None

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self._came.append(signal.Signals(number))


def _follow(process: subprocess.Popen[bytes], output: Output, until: float, asked: ShutdownSignals) -> bool:
    """Whether the program ended before `until`.

    Raises:
        KeyboardInterrupt: this process was asked to end.
    """
    stream = _stream(process)
    os.set_blocking(stream.fileno(), False)
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        while time.monotonic() < until:
            if asked.by:
                raise KeyboardInterrupt
            if selector.select(SLICE_SECONDS) and not _read(stream, output):
                break
            # A child of its own may hold the stream open for ever.
            if process.poll() is not None:
                _read(stream, output, pieces=64)
                break
        else:
            return False
    output.finish()
    return _wait(process, until, asked)


def _wait(process: subprocess.Popen[bytes], until: float, asked: ShutdownSignals) -> bool:
    """Whether the program, which has closed its output, ended before `until`."""
    while process.poll() is None and time.monotonic() < until:
        if asked.by:
            raise KeyboardInterrupt
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(max(min(until - time.monotonic(), SLICE_SECONDS), 0.0))
    return process.poll() is not None


def _read(stream: IO[bytes], output: Output, *, pieces: int = 1) -> bool:
    """Read up to `pieces` that are there; whether more may come."""
    for _ in range(pieces):
        try:
            piece = os.read(stream.fileno(), READ_BYTES)
        except BlockingIOError:
            return True
        if not piece:
            return False
        output.take(piece)
    return True


def _end(process: subprocess.Popen[bytes], output: Output) -> None:
    """End the whole group: politely, then for sure."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, sign)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_SECONDS)
    _read(_stream(process), output, pieces=64)
    output.finish()


def _result(outcome: str, process: subprocess.Popen[bytes], began: float, output: Output) -> ProgramResult:
    _stream(process).close()
    return ProgramResult(outcome, process.returncode, time.monotonic() - began, output.text, output.cut)


def _stream(process: subprocess.Popen[bytes]) -> IO[bytes]:
    assert process.stdout is not None  # noqa: S101 - it is a pipe
    return process.stdout


def _check_value(name: str, value: str) -> None:
    accepted = f"a text of at most {LONGEST_VALUE} characters that does not begin with '-'"
    if not value or len(value) > LONGEST_VALUE or not value.isprintable() or value[0] == "-":
        raise InvalidInput(name=f"--{name}", value=value[:50], accepted=accepted)


_SECRET_NAME = re.compile(r"PASS|TOKEN|SECRET|CREDENTIAL|API_?KEY|PRIVATE|_KEY$|_URL$|_DSN$", re.IGNORECASE)

_PATTERNS = (
    # user:password@ of a URL; behind the colon also of a password that was not percent-encoded. The time that a
    # pattern takes must not grow with the square of a line's length
    (
        re.compile(r"(\b[a-z][a-z0-9+.-]{0,30}://)(?:[^/\s@:]{0,200}:[^\s'\"]{0,500}|[^/\s@]+)@", re.IGNORECASE),
        rf"\1{HIDDEN}@",
    ),
    (re.compile(r"\b(bearer|basic)\s+[a-z0-9._~+/=-]{8,}", re.IGNORECASE), rf"\1 {HIDDEN}"),
    (
        re.compile(
            r"""(?i)((?:passw(?:or)?d|passphrase|token|secret|api[_-]?key|private[_-]?key"""
            r"""|access[_-]?key)["']?\s*[:=]\s*)("[^"]*"|'[^']*'|[^\s,;&"']+)"""
        ),
        rf"\1{HIDDEN}",
    ),
    (re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"), HIDDEN),
    (re.compile(r"\b(?:gh[pousr]_|github_pat_|glpat-|xox[abprs]-)[\w-]{10,}"), HIDDEN),
    (re.compile(r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"), HIDDEN),
)
