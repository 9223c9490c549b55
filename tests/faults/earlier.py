"""The shedder of an earlier commit beside today's, on the same data.

Its source is taken from the repository's own history. Where that is not there, as in a source
package or in a clone without history, there is no earlier one, and the trial says so.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, NoReturn

from tests.waiting import PATIENCE_SECONDS, wait_until

ROOT = Path(__file__).parents[2]

STORED = (
    "src/shedder/lua", "src/shedder/store/codec.py", "src/shedder/store/keys.py",
    "src/shedder/stored.py", "src/shedder/keys.py",  # their names before the house was rebuilt
)  # fmt: skip
"""What decides how data in Redis look."""


class NoHistoryError(Exception):
    """The commit that is wanted is not here."""


@dataclass(frozen=True, slots=True)
class Earlier:
    """An earlier shedder.

    Attributes:
        commit: Its commit, shortened.
        folder: The folder in which its package is.
    """

    commit: str
    folder: Path

    def environment(self) -> dict[str, str]:
        """The environment of a program that imports it, and our tests."""
        return {**os.environ, "PYTHONPATH": f"{self.folder}{os.pathsep}{ROOT}"}

    def run(self, *words: str, log: Path) -> subprocess.Popen[bytes]:
        """Start a module of it; what it says goes to `log`."""
        with log.open("ab") as said:
            return subprocess.Popen(
                [sys.executable, "-m", *words],
                env=self.environment(),
                cwd=log.parent,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def shedder(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Its command line."""
        return shedder(*words, environment=self.environment())

    @contextmanager
    def at_work(self, *words: str, log: Path) -> Iterator[Company]:
        """A time in which workers, a producer and an operator of it are at work; then they are asked to end."""
        with log.open("ab") as said:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.earlier_program", "company", str(self.folder), *words, str(log)],
                env=self.environment(),
                cwd=log.parent,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                text=True,
            )
        with process:
            try:
                yield Company(process, log)
                process.terminate()
                process.wait(PATIENCE_SECONDS)
            finally:
                process.kill()


@dataclass(frozen=True, slots=True)
class Company:
    """Processes of an earlier shedder."""

    process: subprocess.Popen[str]
    log: Path

    def order(self, *words: str) -> tuple[int, str]:
        """What the earlier command line does: its exit code, and what it printed."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps(words) + "\n")
        self.process.stdin.flush()
        answer = select.poll()
        answer.register(self.process.stdout, select.POLLIN)
        told = self.process.stdout.readline() if answer.poll(PATIENCE_SECONDS * 1000) else ""
        code, said = json.loads(told) if told else self._fail("an answer")
        return code, said

    def wait_until(self, predicate: Callable[[], object], *, what: str) -> None:
        """Return when `predicate` gives something true, as long as the company is at work."""
        wait_until(lambda: predicate() or (self.process.poll() is not None and self._fail(what)), what=what)

    def _fail(self, what: str) -> NoReturn:
        said = self.log.read_text(encoding="utf-8", errors="replace")[-1500:]
        raise RuntimeError(f"no {what} from the earlier one, which said: {said}")


def shedder(*words: str, environment: dict[str, str] | None = None) -> Any:
    """The command line, of today when no environment says otherwise."""
    return subprocess.run(
        [sys.executable, "-m", "shedder", *words],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


def before_last_change(*paths: str) -> str:
    """The commit before the last one that changed any of `paths`; FAULTS_EARLIER may name another.

    What is changed and not committed counts as a change.

    Raises:
        NoHistoryError: there is none here.
    """
    if os.environ.get("FAULTS_EARLIER"):
        return _git("rev-parse", "--verify", os.environ["FAULTS_EARLIER"]).strip()
    if _git("status", "--porcelain", "--", *paths).strip():
        return _git("rev-parse", "HEAD").strip()
    last = _git("rev-list", "-n", "1", "HEAD", "--", *paths).strip()
    return _git("rev-parse", "--verify", "--quiet", f"{last}~1^{{commit}}").strip()


def before_first(path: str) -> str:
    """The commit before the first one that had `path`.

    Raises:
        NoHistoryError: there is none here.
    """
    first = _git("rev-list", "HEAD", "--", path).split()[-1]
    return _git("rev-parse", "--verify", "--quiet", f"{first}~1^{{commit}}").strip()


def export(commit: str, folder: Path) -> Earlier:
    """Unpack the source of `commit` below `folder`.

    Raises:
        NoHistoryError: the commit is not here.
    """
    packed = _git("archive", "--format=tar", commit, "src", is_text=False)
    with tarfile.open(fileobj=BytesIO(packed)) as archive:
        archive.extractall(folder / commit, filter="data")
    return Earlier(commit[:9], folder / commit / "src")


def _git(*words: str, is_text: bool = True) -> Any:
    try:
        done = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, check=True,
                              timeout=PATIENCE_SECONDS)  # fmt: skip
    except (OSError, subprocess.CalledProcessError) as error:
        raise NoHistoryError(f"`git {words[0]}` finds no earlier commit here") from error
    if not done.stdout and words[0] != "status":
        raise NoHistoryError(f"`git {words[0]}` finds no earlier commit here")
    return done.stdout.decode() if is_text else done.stdout
