from __future__ import annotations

import subprocess
import sys

from tests.waiting import PATIENCE_SECONDS

_PROGRAM = """
import os, signal
from contextlib import ExitStack
from shedder.cli.output import Screen
from shedder.demo.jobs import producing
from shedder.demo.stage import Stage
from shedder.demo.terminal import Teller
from shedder.response.runner import ShutdownSignals

with ShutdownSignals() as asked, ExitStack() as ends:
    stage = Stage(ends, Teller(Screen()), asked, jobs=1)
    stage.customers.begin("a step")
    os.register_at_fork(after_in_parent=lambda: os.kill(os.getpid(), signal.SIGINT))
    try:
        with producing(stage.server, 1_000_000) as producers:
            print(len([each for each in producers if each.is_alive()]), "started", flush=True)
            stage.check()
    except KeyboardInterrupt:
        print(*[each.exitcode for each in producers], flush=True)
"""


def test_a_signal_amid_a_fork_loses_no_process() -> None:
    """A signal that comes while a process is forked interrupts at the next look, and all end."""
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM], capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )

    assert ("2 started\n-9 -9\n", "") == (done.stdout, done.stderr)
