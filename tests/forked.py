"""Programs of ours as forks of the process of the tests, which has imported everything.

`python -m shedder` takes most of a second, nearly all of it for imports. A fork is there in
milliseconds, and from then on is the same: a process of its own with its own environment, folder,
files, signals and end. What the start of Python itself decides, it does not show.
"""

from __future__ import annotations

import atexit
import gc
import io
import logging
import os
import runpy
import signal
import subprocess
import sys
import time
import traceback
import warnings
from itertools import takewhile
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any, NoReturn

from tests.lifeline import end_with_parent
from tests.waiting import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ROOT = Path(__file__).parents[1]
OUR_PATH = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
"""What is on the path of this process too."""

_POLL = 0.002
_last_known: list[str] = []
"""The name of the last module that no fork forgets."""
_AT_START = ("PYTHON", "LC_", "LANG", "RQ_KEY_PREFIX")
"""What the names of variables begin with that only a fresh Python reads."""


def know_modules() -> None:
    """Take the modules that are there for what forks keep."""
    _last_known[:] = [next(reversed(sys.modules))]


class Forked:
    """What `python -m WORDS` would be; it dies with the process that started it.

    Args:
        words: A module, and its arguments.
        env: Its environment.
        cwd: Its folder.
        files: Descriptors of its standard input, output and error.
        not_for_it: Descriptors that it must not hold.
        is_alone: Whether it leads a session of its own.

    Attributes:
        pid: Its process id.
        returncode: As of `subprocess.Popen`.
    """

    def __init__(
        self,
        words: Sequence[str],
        *,
        env: Mapping[str, str],
        files: tuple[int, int, int],
        cwd: Path | None = None,
        not_for_it: Sequence[int] = (),
        is_alone: bool = False,
    ) -> None:
        self.returncode: int | None = None
        self.pid = os.fork()
        if self.pid == 0:
            _become(words, env=env, files=files, cwd=cwd, not_for_it=not_for_it, is_alone=is_alone)

    def poll(self) -> int | None:
        """Its exit code, minus the number of the signal that ended it; None while it lives."""
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout: float = PATIENCE_SECONDS) -> int:
        """Its exit code, when it has ended.

        Raises:
            subprocess.TimeoutExpired: it goes on.
        """
        deadline = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(str(self.pid), timeout)
            time.sleep(_POLL)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal, if it has not ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it with SIGKILL."""
        self.send_signal(signal.SIGKILL)


def run_module(
    *words: str | bytes,
    env: Mapping[str, str],
    cwd: Path | None = None,
    stdin: Any = subprocess.DEVNULL,
    is_fresh: bool = False,
) -> subprocess.CompletedProcess[str]:
    """Run `python -m WORDS` to its end.

    It is a fork, unless it is to be a fresh Python, or has to be for its environment.
    """
    with TemporaryFile() as out, TemporaryFile() as err, Path(os.devnull).open("rb") as nothing:
        given = nothing if stdin == subprocess.DEVNULL else stdin
        process: Forked | subprocess.Popen[bytes]
        if is_fresh or not is_the_same(env):
            command = [sys.executable, "-m", *words]
            process = subprocess.Popen(command, env=dict(env), cwd=cwd, stdin=given, stdout=out, stderr=err)
        else:
            files = (given.fileno(), out.fileno(), err.fileno())
            process = Forked([os.fsdecode(word) for word in words], env=env, cwd=cwd, files=files)
        try:
            code = process.wait(PATIENCE_SECONDS)
        finally:
            process.kill()
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(words, code, out.read().decode(), err.read().decode())


def is_the_same(env: Mapping[str, str]) -> bool:
    """Whether a fresh Python in this environment would start as this one has."""
    return _seen_at_start(env) == {**_seen_at_start(os.environ), "PYTHONPATH": OUR_PATH}


def _seen_at_start(env: Mapping[str, str]) -> dict[str, str]:
    found = {name: value for name, value in env.items() if name.startswith(_AT_START)}
    return {**found, "PYTHONPATH": found.get("PYTHONPATH", OUR_PATH)}


def _become(
    words: Sequence[str],
    *,
    env: Mapping[str, str],
    files: tuple[int, int, int],
    cwd: Path | None,
    not_for_it: Sequence[int],
    is_alone: bool,
) -> NoReturn:
    code = 1
    try:
        end_with_parent()
        if is_alone:
            os.setsid()
        if cwd:
            os.chdir(cwd)
        _leave_the_tests(env)
        _take(files, not_for_it)
        code = _run(words)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    finally:
        os._exit(code)


def _leave_the_tests(env: Mapping[str, str]) -> None:
    gc.freeze()  # what belongs to the tests is not collected here
    atexit._clear()  # nor ended
    os.environ.clear()
    os.environ.update(env)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    warnings.resetwarnings()
    warnings.simplefilter("ignore")
    _forget_logs()
    _forget_modules()
    sys.path.insert(0, str(Path.cwd()))


def _forget_logs() -> None:
    """What command lines and workers of the process of the tests did to the records of all is as at a start."""
    logging.disable(logging.NOTSET)
    logging.root.setLevel(logging.WARNING)
    loggers = (each for each in logging.root.manager.loggerDict.values() if isinstance(each, logging.Logger))
    for logger in (logging.root, *loggers):
        logger.handlers.clear()
        logger.propagate, logger.disabled = True, False
        if logger is not logging.root:
            logger.setLevel(logging.NOTSET)


def _forget_modules() -> None:
    """Modules that tests have written, and imported, are not those of the same name elsewhere."""
    # packages may be elsewhere than their Python, by a .pth
    packages = (path for path in sys.path if Path(path).name in ("site-packages", "dist-packages"))
    kept = tuple({sys.prefix, sys.base_prefix, str(ROOT), *packages})
    # to look at a module copies the pages that count its references: only later ones are looked at
    for name in list(takewhile(lambda name: name not in _last_known, reversed(sys.modules))):
        file = getattr(sys.modules[name], "__file__", None)
        if file and not file.startswith(kept):
            del sys.modules[name]
    for folder in [path for path in sys.path_importer_cache if not path.startswith(kept)]:
        del sys.path_importer_cache[folder]


def _take(files: tuple[int, int, int], not_for_it: Sequence[int]) -> None:
    for number, descriptor in enumerate([os.dup(each) for each in files]):
        os.dup2(descriptor, number)
        os.close(descriptor)
    for descriptor in not_for_it:
        os.close(descriptor)
    sys.stdin = sys.__stdin__ = _text(0, "r", errors="strict")
    sys.stdout = sys.__stdout__ = _text(1, "w", errors="strict")
    sys.stderr = sys.__stderr__ = _text(2, "w", errors="backslashreplace")
    sys.stderr.reconfigure(line_buffering=True)


def _text(number: int, mode: str, *, errors: str) -> io.TextIOWrapper:
    return os.fdopen(number, mode, encoding="utf-8", errors=errors, closefd=False)  # type: ignore[return-value]


def _run(words: Sequence[str]) -> int:
    sys.argv = list(words)
    try:
        runpy.run_module(words[0], run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        return _ended(end.code if isinstance(end.code, int) else int(end.code is not None))
    except KeyboardInterrupt:
        raise
    except BaseException:  # noqa: BLE001 - it is told as Python tells it
        traceback.print_exc()
        return _ended(1)
    return _ended(0)


def _ended(code: int) -> int:
    """The exit code after what a Python does at its end."""
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
    except OSError:
        return 120
    sys.stderr.flush()
    return code
