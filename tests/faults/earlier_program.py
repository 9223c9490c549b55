"""A process of an earlier shedder: `python -m tests.faults.earlier_program ROLE ...`

It uses what has been public from the beginning, and nothing of the harness that is newer than it.
"""

from __future__ import annotations

import contextlib
import sys
import time
from datetime import timedelta
from pathlib import Path
from random import Random

from redis import Redis

import shedder
from shedder import Shedder
from shedder.errors import ShedderError
from shedder.rq import Queue, Worker
from shedder.selection import Selection
from shedder.units import Rate
from tests import jobs
from tests.faults.producers import produce

LANES = ("mail", "mail.low", "reports")
SOME = Selection(functions=("tests.jobs.decorated",))


def main(role: str, folder: str, url: str, *more: str) -> None:
    """Be a worker, a producer or an operator until somebody ends this process; or enqueue jobs that fail."""
    assert Path(shedder.__file__).is_relative_to(folder), shedder.__file__
    client = Redis.from_url(url)
    if role == "worker":
        Worker(["mail", "reports"], connection=client).work()
    elif role == "producer":
        ledger, marks = more
        ways = ("enqueue", "many", "unique", "other", "pipeline")
        dice = Random(1)
        produce(client, LANES, name="e", ledger=ledger, marks=marks, dice=dice, ways=ways, pause=0.05)
    elif role == "failing":
        marks, times, *keys = more
        for key in keys:
            Queue("mail", connection=client).enqueue(jobs.fail, marks, key, int(times), job_id=key)
    else:
        _command(Shedder(client, by="earlier"))


def _command(operator: Shedder) -> None:
    dice = Random(2)
    orders = (
        lambda lane: operator.pause(lane, reason="x", expires_in=timedelta(seconds=1)),
        lambda lane: operator.resume(lane, reason="x"),
        lambda lane: operator.divert(lane, reason="x"),
        lambda lane: operator.divert(lane, selection=SOME, reason="x"),
        lambda lane: operator.drain(lane, rate=Rate(200.0), reason="x"),
        lambda lane: operator.drain_at_once(lane, reason="x"),
        lambda lane: operator.undo(None, reason="x"),
    )
    while True:
        with contextlib.suppress(ShedderError):
            dice.choice(orders)(dice.choice(LANES))
        time.sleep(dice.uniform(0, 0.2))


if __name__ == "__main__":
    main(*sys.argv[1:])
