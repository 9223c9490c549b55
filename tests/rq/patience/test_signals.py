"""A process is still there whose signal handler raises while it writes a command."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from shedder.embedded import EmbeddedServer
from tests.servers import patient
from tests.waiting import PATIENCE_SECONDS

ROOT = Path(__file__).parents[3]
SIGNALS = 300

_STORM = """
import random, signal, sys
import redis
from shedder.engine.names import rq_keys
from shedder.rq.outages import patient
from shedder.store.store import Command, Store

class Stop(Exception):
    pass

is_awaited = False

def come(*_):
    global is_awaited
    if is_awaited:
        is_awaited = False
        raise Stop

plain = redis.Redis.from_url(sys.argv[1])
worker = patient(redis.Redis.from_url(sys.argv[1]))
keys = rq_keys()
many = Command("leave_lookout", (keys.poller("g"), keys.poller_handoff("g")), (1,) * 2000, bool)

def pipelined():
    with worker.pipeline() as pipeline:
        pipeline.execute_command("SADD", keys.bell("g"), *range(2000)).execute()

ways = {{
    "store": lambda: Store(plain, keys).execute(many),
    "worker": lambda: worker.execute_command("SADD", keys.bell("g"), *range(2000)),
    "pipeline": pipelined,
}}
signal.signal(signal.SIGALRM, come)
for _ in range({signals}):
    for client in (plain, worker):
        client.ping()  # redis-py's own words to a new connection hold a number too
    try:
        is_awaited = True
        signal.setitimer(signal.ITIMER_REAL, random.uniform(0.0001, 0.002))
        for _ in range(9):
            ways[sys.argv[2]]()
        is_awaited = False
    except Stop:
        for client in (plain, worker):
            client.connection_pool.disconnect()
plain.delete(keys.bell("g"), keys.poller_handoff("g"))
print("still there")
"""


@pytest.mark.parametrize("way", ["store", "worker", "pipeline"])
def test_a_signal_within_a_command_is_no_crash(server: EmbeddedServer, way: str) -> None:
    """Told to stop while it writes the numbers of a command, a process goes on to its good end."""
    program = _STORM.format(signals=SIGNALS)

    done = subprocess.run(
        [sys.executable, "-c", program, patient(server.url), way],
        capture_output=True, text=True, cwd=ROOT, timeout=PATIENCE_SECONDS, check=False,
    )  # fmt: skip

    assert (0, "still there\n") == (done.returncode, done.stdout), done.stderr
