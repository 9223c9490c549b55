"""A declared mitigation is run as it was declared, and ended in time."""

from __future__ import annotations

import os
import signal
import threading
import time
from datetime import timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from shedder.errors import InvalidInput, NothingMatched
from shedder.response.runner import KEPT_BYTES, Interrupted, ProgramResult, carry_out, filled, find_mitigation, mask_for
from tests.features.mitigations import ROLLBACK, python
from tests.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

LONG = timedelta(hours=1)


def run(code: str, *args: str, timeout: timedelta = LONG) -> tuple[ProgramResult, list[str]]:
    said: list[str] = []
    ran = carry_out(python(code, *args), timeout=timeout, say=said.append, mask=mask_for({}))
    return ran, said


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return b"Z" != state_of(pid)


def state_of(pid: int) -> bytes:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123 - it is no file of ours
            return file.read().rpartition(b") ")[2][:1]
    except OSError:
        return b"Z"


def test_values_become_arguments_and_nothing_else() -> None:
    """What looks like a shell's language stays one argument."""
    words = filled(ROLLBACK, {"release": "41; rm -rf $HOME `x` | y"})
    assert ("./deploy", "rollback", "41; rm -rf $HOME `x` | y") == words


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({}, "also needs --release"),
        ({"release": "41", "speed": "9"}, "has no --speed; it takes --release"),
        ({"release": ""}, "--release"),
        ({"release": "--force"}, "does not begin with '-'"),
        ({"release": "4\n1"}, "--release"),
        ({"release": "x" * 501}, "at most 500"),
    ],
)
def test_values_that_cannot_be_are_refused(values: dict[str, str], says: str) -> None:
    """A value is missing, unknown, empty, or would be an option of the program."""
    with pytest.raises(InvalidInput, match=says):
        filled(ROLLBACK, values)


def test_what_is_not_declared_is_told_with_the_nearest() -> None:
    """A slip of the finger costs one line."""
    with pytest.raises(NothingMatched, match="known: rollback"):
        find_mitigation({"rollback": ROLLBACK, "scale": ROLLBACK}, "rolback")


def test_output_is_told_as_it_comes_and_the_exit_code_is_kept() -> None:
    """Both streams, in lines; the last one may have no end."""
    ran, said = run("import sys; print('one'); sys.stdout.flush(); sys.stderr.write('two'); sys.exit(3)")
    assert (["one", "two"], "failed", 3, "one\ntwo") == (said, ran.outcome, ran.exit_code, ran.output)
    ran, _ = run("pass")
    assert ("done", 0, "") == (ran.outcome, ran.exit_code, ran.output)


def test_the_end_of_much_output_is_kept() -> None:
    """However much it prints, what is kept is bounded, and what is not is counted."""
    ran, said = run("for n in range(2000): print('x' * 50, n)\nprint('y' * 20000)")
    assert len(ran.output) <= KEPT_BYTES
    assert ran.output.endswith("y" * 100)
    assert ran.cut + len(ran.output) + 1 == sum(len(each) + 1 for each in said)


def test_a_program_that_cannot_be_started_is_told() -> None:
    """No traceback, and nothing was run."""
    ran = carry_out(("/nowhere/deploy",), timeout=LONG, say=print, mask=mask_for({}))
    assert ("not started", None) == (ran.outcome, ran.exit_code)
    assert "No such file" in ran.output


FAMILY = """
import os, subprocess, sys, time, signal
signal.signal(signal.SIGTERM, signal.SIG_IGN) if sys.argv[2:] else None
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
open(sys.argv[1] + ".new", "w").write(f"{os.getpid()} {child.pid}")
os.rename(sys.argv[1] + ".new", sys.argv[1])
time.sleep(600)
"""


@pytest.mark.parametrize("stubborn", [(), ("stubborn",)])
def test_at_its_time_limit_all_of_its_processes_end(
    tmp_path: Path, stubborn: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its children too, and those that do not listen. The time is over when they have begun."""
    file = tmp_path / "pids"
    monkeypatch.setattr("shedder.response.runner.GRACE_SECONDS", 0.5)
    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + (LONG.total_seconds() if file.exists() else 0.0))
    monkeypatch.setattr("shedder.response.runner.time", clock)
    ran, _ = run(FAMILY, str(file), *stubborn)
    assert "timed out" == ran.outcome
    for pid in map(int, file.read_text().split()):
        wait_until(lambda pid=pid: not is_alive(pid), what="its end")


def test_a_child_that_holds_the_output_open_holds_up_nobody() -> None:
    """What the program itself did is over when it has ended."""
    child = "[sys.executable, '-c', 'import time; time.sleep(3600)']"
    code = f"import subprocess, sys; print(subprocess.Popen({child}).pid)"
    ran, said = run(code)
    (pid,) = (int(each) for each in said if each.isdigit())  # a Python in development mode says more
    assert ("done", True) == (ran.outcome, is_alive(pid))
    os.kill(pid, signal.SIGKILL)


def test_ctrl_c_ends_it_and_says_how(tmp_path: Path) -> None:
    """Whoever interrupts leaves no process behind."""
    file = tmp_path / "pids"

    def interrupt() -> None:
        wait_until(file.exists, what="a start")
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(Interrupted) as caught:
        run(FAMILY, str(file))
    thread.join()
    assert ("interrupted", -signal.SIGTERM) == (caught.value.ran.outcome, caught.value.ran.exit_code)
    for pid in map(int, file.read_text().split()):
        wait_until(lambda pid=pid: not is_alive(pid), what="its end")


@pytest.mark.parametrize("error", [BrokenPipeError, ValueError, SystemExit])
def test_nobody_who_listens_is_no_reason_to_end(error: type[BaseException]) -> None:
    """A pipe that was closed must not leave half a roll-back: it goes on, and all is kept."""

    def say(_line: str) -> None:
        raise error

    ran = carry_out(python("print(1); print(2)"), timeout=LONG, say=say, mask=mask_for({}))
    assert ("done", "1\n2") == (ran.outcome, ran.output)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("redis://user:hunter22@db:6379/0", "redis://***@db:6379/0"),
        ("redis://user:hun/ter@22#x?y@db:6379/0", "redis://***@db:6379/0"),
        ("https://registry.example/@scope/name", "https://registry.example/@scope/name"),
        ("password=hunter22 next", "password=*** next"),
        ('{"api_key": "abc123xyz"}', '{"api_key": ***}'),
        ("DB_PASSWORD: hunter22", "DB_PASSWORD: ***"),
        ("Authorization: Bearer abcdef1234567890", "Authorization: Bearer ***"),
        ("the value is s3cret-of-env here", "the value is *** here"),
        ("release 41 is live", "release 41 is live"),
        ("token expired", "token expired"),
    ],
)
def test_secrets_are_masked(text: str, shown: str) -> None:
    """By their look, and by what the environment calls a secret."""
    assert shown == mask_for({"DEPLOY_TOKEN": "s3cret-of-env", "HOME": "release"})(text)
