from __future__ import annotations

import subprocess
import sys

import pytest

_PROGRAM = """
import os, signal, threading
from shedder.demo.customers import Customers
from shedder.demo.interrupts import Interrupts, held_back
from shedder.demo.listener import Listener
from shedder.embedded import EmbeddedServer

with EmbeddedServer() as server, Interrupts(), Listener():
    customers = Customers(server, first=0)
    if {with_customers}:
        customers.begin("a step")
    assert {threads} == threading.active_count()
    try:
        with held_back():
            os.kill(os.getpid(), signal.SIGINT)
            print("waits" if signal.SIGINT in signal.sigpending() else "taken", flush=True)
    except KeyboardInterrupt:
        print("raised", flush=True)
    customers.leave()
"""


@pytest.mark.parametrize(("with_customers", "threads"), [(False, 2), (True, 3)])
def test_a_signal_held_back_waits_whatever_threads_there_are(
    with_customers: bool, threads: int
) -> None:
    """No thread of the demo takes a signal that must wait, so no fork is ever interrupted."""
    program = _PROGRAM.format(with_customers=with_customers, threads=threads)

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30.0, check=False
    )

    assert ("waits\nraised\n", "") == (done.stdout, done.stderr)
