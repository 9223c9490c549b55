"""Runs all tests on machines that are hard on them, one condition after the other, and tells what came of it.

    python -m tests.hostile                         all conditions
    python -m tests.hostile busy frozen             these
    python -m tests.hostile --times 3 --seed 7      each three times; the seed decides all that is left to chance
    python -m tests.hostile elsewhere -- tests/cli  with what pytest takes: these tests alone

What pytest prints goes to a file for each run, in build/hostile. Exits with 1 when a run was not green.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from uuid import uuid4

ROOT = Path(__file__).parents[1]
LOGS = ROOT / "build" / "hostile"
TESTS = ("-n", "4", "--dist", "loadscope", "-q")
MARK = "HOSTILE_RUN"
"""A variable of the environment that says which run a process belongs to."""

BUSY_LOOPS = 4
STOPS = 3
STOPPED_SECONDS = 90.0
TMPDIR_LENGTH = 90
NOBODY = "nobody"
TIME_ZONE = "Pacific/Kiritimati"


@dataclass(slots=True)
class Trial:
    """One run of the tests.

    Attributes:
        dice: Decides what is left to chance.
        within: Seconds, from the first test on, in which what is to happen at a random moment happens.
        folder: Where the tests are.
        python: What runs them, with the words before it.
        environment: More variables.
        options: What pytest takes.
        remarks: What a reader of the result should know.
    """

    dice: Random
    within: float
    folder: Path = ROOT
    python: list[str] = field(default_factory=lambda: [sys.executable])
    environment: dict[str, str] = field(default_factory=dict)
    options: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    meanwhile: Callable[[subprocess.Popen[bytes]], None] = lambda _process: None


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a run: its line of the table."""

    condition: str
    is_green: bool
    said: str
    minutes: float
    log: Path


# conditions: each readies a trial, and clears away what it has made


@contextmanager
def busy(_trial: Trial) -> Iterator[None]:
    """Four loops that never rest run beside the tests."""
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(BUSY_LOOPS)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


@contextmanager
def frozen(trial: Trial) -> Iterator[None]:
    """All processes of the run, servers too, stand still for 90 s at three random moments."""
    mark = trial.environment[MARK]

    def stop(process: subprocess.Popen[bytes]) -> None:
        # while tests are collected there is little to be hurt
        while process.poll() is None and not _has_servers(mark):
            time.sleep(0.1)
        before = 0.0
        for moment in sorted(trial.dice.uniform(5.0, trial.within) for _ in range(STOPS)):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(moment - before)
                trial.remarks.append(f"ended before the stop at {moment:.0f} s: give a shorter --within")
                return
            stopped = stop_all(mark)
            time.sleep(STOPPED_SECONDS)
            trial.dice.shuffle(stopped)  # a machine that goes on has no order either
            send(signal.SIGCONT, stopped)
            trial.remarks.append(f"{len(stopped)} processes stopped at {moment:.0f} s")
            before = moment

    trial.meanwhile = stop
    yield


@contextmanager
def devmode(trial: Trial) -> Iterator[None]:
    """Python's development mode: more warnings, checks of memory and of file descriptors."""
    trial.environment["PYTHONDEVMODE"] = "1"
    yield


@contextmanager
def shuffled(trial: Trial) -> Iterator[None]:
    """Files and the tests within them in random order."""
    seed = str(trial.dice.randrange(1_000_000))
    trial.environment["SHUFFLED_BY"] = seed
    trial.options += ["-p", "tests.shuffled"]
    trial.remarks.append(f"SHUFFLED_BY={seed}")
    yield


@contextmanager
def elsewhere(trial: Trial) -> Iterator[None]:
    """An ordinary user, a folder with a space in its path, a long TMPDIR, LC_ALL=C, another time zone."""
    with tempfile.TemporaryDirectory(prefix="hostile ", dir="/tmp") as home:
        trial.folder = Path(home) / "a copy"
        ignored = shutil.ignore_patterns(".venv*", "build", "dist", "__pycache__", ".hypothesis", ".*_cache")
        shutil.copytree(ROOT, trial.folder, ignore=ignored)
        long = Path(tempfile.mkdtemp(prefix="t" * (TMPDIR_LENGTH - len("/tmp/") - 8), dir="/tmp"))
        as_user = _as_ordinary_user(trial, [Path(home), long])
        trial.python = [*as_user, str(_environment_in(trial.folder, as_user))]
        trial.environment |= {"HOME": home, "TMPDIR": str(long), "LC_ALL": "C", "TZ": TIME_ZONE}
        try:
            yield
        finally:
            shutil.rmtree(long, ignore_errors=True)


CONDITIONS = {each.__name__: each for each in (busy, frozen, devmode, shuffled, elsewhere)}


# an ordinary user, with an environment of Python's that may be anywhere


def _as_ordinary_user(trial: Trial, folders: Sequence[Path]) -> list[str]:
    """The words before a command that an ordinary user gives; root gives these folders away."""
    if os.geteuid() != 0:
        return []
    if shutil.which("setpriv") is None:
        trial.remarks.append("as root: there is no setpriv")
        return []
    subprocess.run(["chown", "-R", NOBODY, *map(str, folders)], check=True)
    group = pwd.getpwnam(NOBODY).pw_gid
    return ["setpriv", f"--reuid={NOBODY}", f"--regid={group}", "--clear-groups"]


def _environment_in(folder: Path, as_user: Sequence[str]) -> Path:
    """A virtual environment with the packages of this one, and the sources of `folder`; its Python."""
    base = _interpreter_for(as_user, folder.parent / "python")
    subprocess.run([*as_user, base, "-m", "venv", "--without-pip", folder / ".venv"], check=True)
    programs = folder / ".venv" / "bin"
    (packages,) = (folder / ".venv" / "lib").glob("*/site-packages")
    ours = next(path for path in map(Path, sys.path) if path.name == "site-packages")
    (packages / "hostile.pth").write_text(f"{folder / 'src'}\n{ours}\n")
    for program in Path(sys.executable).parent.iterdir():
        _copy_program(program, programs)
    return programs / "python"


def _interpreter_for(as_user: Sequence[str], copy: Path) -> Path:
    """The interpreter of this environment, or a copy of it where that user cannot read it."""
    base = Path(sys.base_prefix, "bin", f"python{sys.version_info.major}.{sys.version_info.minor}")
    asked = [*as_user, base, "-c", "import sys; print(sys.version)"]
    said = subprocess.run(asked, capture_output=True, text=True, check=False).stdout
    if said.strip() == sys.version:
        return base
    ignored = shutil.ignore_patterns("site-packages", "test", "__pycache__")
    shutil.copytree(sys.base_prefix, copy, symlinks=True, ignore=ignored)
    program, place = copy / "bin" / base.name, os.fsencode(Path(sys.base_prefix, "lib"))
    # where its library is stands in the program, and would be out of reach
    near = b"$ORIGIN/../lib".ljust(len(place), b"\0")
    program.write_bytes(program.read_bytes().replace(place + b"\0", near + b"\0"))
    return program


def _copy_program(program: Path, folder: Path) -> None:
    """A program that pip has installed, for another Python, whose path may have a space in it."""
    text = program.read_bytes() if program.is_file() and not program.name.startswith("python") else b""
    first, _, rest = text.partition(b"\n")
    if first.startswith(b"#!") and b"python" in first:
        copy = folder / program.name
        copy.write_bytes(b"#!/bin/sh\n'''exec' \"" + bytes(folder / "python") + b'" "$0" "$@"\n\' \'\'\'\n' + rest)
        copy.chmod(0o755)


# processes that stand still


def processes_of(mark: str, *roots: int) -> dict[int, str]:
    """Processes that bear the mark of a run, the `roots`, and what descends from them, with their states."""
    states, parents, found = {}, {}, {*roots}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
            states[int(entry.name)], parents[int(entry.name)] = state, int(parent)
            if f"{MARK}={mark}".encode() in (entry / "environ").read_bytes().split(b"\0"):
                found.add(int(entry.name))
    while more := {pid for pid, parent in parents.items() if parent in found and pid not in found}:
        found |= more
    return {pid: states[pid] for pid in found & states.keys() if states[pid] != "Z"}


def _has_servers(mark: str) -> bool:
    """Whether tests are under way."""
    programs = (Path(f"/proc/{pid}/comm") for pid in processes_of(mark))
    with contextlib.suppress(OSError):
        return any(program.read_text().startswith("valkey") for program in programs)
    return False


def stop_all(mark: str) -> list[int]:
    """Stop all processes of a run; those that were stopped by nobody before."""
    stopped: list[int] = []
    while more := [pid for pid, state in processes_of(mark).items() if state != "T" and pid not in stopped]:
        send(signal.SIGSTOP, more)
        stopped += more
        time.sleep(0.05)
    return stopped


def send(number: signal.Signals, pids: Sequence[int]) -> None:
    """Send a signal to processes, of which some may have ended."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


# runs


def run(condition: str, number: int, seed: str, options: Sequence[str], within: float) -> Result:
    """Run the tests once under a condition."""
    LOGS.mkdir(parents=True, exist_ok=True)
    log, mark = LOGS / f"{condition}-{number}.log", uuid4().hex
    trial = Trial(Random(f"{seed} {condition} {number}"), within, environment={MARK: mark})
    began = time.monotonic()
    with CONDITIONS[condition](trial), log.open("wb") as file, ExitStack() as ends:
        # first: a signal to end may arrive when the run has begun and nobody here knows its process yet
        ends.callback(_end, mark)
        process = subprocess.Popen(
            [*trial.python, "-m", "pytest", *TESTS, *trial.options, *options],
            cwd=trial.folder, env={**os.environ, **trial.environment}, stdin=subprocess.DEVNULL,
            stdout=file, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        trial.meanwhile(process)
        code = process.wait()
    said = "; ".join([_summary(log), *trial.remarks])
    return Result(condition, code == 0, said, (time.monotonic() - began) / 60, log)


def _end(mark: str) -> None:
    """Leave nothing behind, however the run ends."""
    # a process that has just begun is our child, and shows no mark yet
    while left := processes_of(mark, os.getpid()).keys() - {os.getpid()}:
        send(signal.SIGKILL, [*left])
        time.sleep(0.05)


def _summary(log: Path) -> str:
    """The last line of pytest: how many passed and failed."""
    lines = log.read_text(errors="replace").splitlines()
    found = [line for line in lines if re.search(r"\d+ (passed|failed|error)", line)]
    return found[-1].strip("= ") if found else (lines or ["printed nothing"])[-1]


def main() -> int:
    """Run what the command line names."""
    words = argparse.ArgumentParser(prog="python -m tests.hostile", epilog="After --: what pytest takes.")
    words.add_argument("conditions", nargs="*", help=f"of {', '.join(CONDITIONS)}; all without")
    words.add_argument("--times", type=int, default=1, help="runs of each (1)")
    words.add_argument("--seed", default=f"{time.time():.0f}", help="decides what is left to chance")
    words.add_argument(
        "--within", type=float, default=180.0, help="seconds in which the tests are stopped, from the first on (180)"
    )
    at = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    own, options = sys.argv[1:at], sys.argv[at + 1 :]
    asked = words.parse_args(own)
    conditions = asked.conditions or [*CONDITIONS]
    if unknown := [each for each in conditions if each not in CONDITIONS]:
        words.error(f"there is no condition {unknown[0]}; known: {', '.join(CONDITIONS)}")
    # the run is a session of its own, and would go on without us
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    print(f"seed {asked.seed}", flush=True)
    results = []
    for number in range(1, asked.times + 1):
        for condition in conditions:
            results.append(run(condition, number, asked.seed, options, asked.within))
            print(f"{_line(results[-1])} ({results[-1].log})", flush=True)
    print("", *map(_line, results), sep="\n")
    return 0 if all(each.is_green for each in results) else 1


def _line(result: Result) -> str:
    how = "green" if result.is_green else "RED"
    return f"{result.condition:10} {how:6} {result.minutes:5.1f} min  {result.said}"


if __name__ == "__main__":
    sys.exit(main())
