"""The runner of the hostile conditions reaches each process of a run, and an order can be had again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from tests import shuffled
from tests.hostile import MARK, ROOT, processes_of, send, stop_all
from tests.waiting import wait_until

if TYPE_CHECKING:
    import pytest

_FAMILY = """
import os, time
daemon = os.fork()
if not daemon:
    os.setsid()
    time.sleep(3600)
forgetful = os.fork()
if not forgetful:
    os.execve("/bin/sleep", ["sleep", "3600"], {})
print(os.getpid(), daemon, forgetful, flush=True)
time.sleep(3600)
"""


_TOLD_TO_END = """
import os, signal, subprocess, sys
from contextlib import contextmanager
from pathlib import Path
from tests import hostile

class Begun(subprocess.Popen):
    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        print(self.pid, file=sys.stderr)
        os.kill(os.getpid(), signal.SIGTERM)

@contextmanager
def slow(trial):
    trial.python = ["/bin/sh", "-c", "exec sleep 3600"]
    trial.folder = hostile.LOGS
    # for a moment, each process that begins has none
    del trial.environment[hostile.MARK]
    yield

hostile.LOGS, hostile.CONDITIONS["slow"], subprocess.Popen = Path(sys.argv[1]), slow, Begun
sys.argv[1:] = ["slow"]
sys.exit(hostile.main())
"""


def test_a_runner_that_is_told_to_end_leaves_no_run_behind(tmp_path: Path) -> None:
    """A run is a session of its own and would go on beside the next one: SIGTERM ends it, from its first moment on."""
    command = [sys.executable, "-c", _TOLD_TO_END, str(tmp_path)]
    runner = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    left = processes_of("", int(runner.stderr.split()[0]))
    send(signal.SIGKILL, [*left])
    assert (128 + signal.SIGTERM, {}) == (runner.returncode, left)


def test_all_processes_of_a_run_stand_still_and_go_on() -> None:
    """Daemons, and those whose environment was cleared; what another had stopped before stays so."""
    mark = uuid4().hex
    environment = {**os.environ, MARK: mark}
    process = subprocess.Popen([sys.executable, "-c", _FAMILY], env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    root, daemon, forgetful = map(int, process.stdout.readline().split())
    try:
        send(signal.SIGSTOP, [daemon])
        wait_until(lambda: "T" == processes_of(mark)[daemon], what="the daemon that stands still")
        assert {root, forgetful} == set(stop_all(mark))
        assert {root: "T", daemon: "T", forgetful: "T"} == processes_of(mark)
        send(signal.SIGCONT, [root, forgetful])
        wait_until(lambda: {root: "S", daemon: "T", forgetful: "S"} == processes_of(mark), what="those that go on")
    finally:
        send(signal.SIGKILL, [root, daemon, forgetful])
        process.wait()
        process.stdout.close()


def test_a_seed_gives_the_same_order_and_keeps_files_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each process of a run has the same order, and one that failed can be had again."""
    items: list[Any] = [SimpleNamespace(path=Path(name), number=number) for name in "abc" for number in range(9)]
    orders = []
    for seed in ("1", "1", "2"):
        monkeypatch.setenv("SHUFFLED_BY", seed)
        order = [*items]
        shuffled.pytest_collection_modifyitems(order)
        orders.append(order)
    assert orders[0] == orders[1] != orders[2]
    assert [1, 1, 1] == [len({each.path for each in orders[0][at : at + 9]}) for at in (0, 9, 18)]
