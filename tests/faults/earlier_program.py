"""A process of an earlier shedder: `python -m tests.faults.earlier_program ROLE ...`

It uses what has been public from the beginning, and nothing of the harness that is newer than it.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from random import Random

from redis import Redis

import shedder
from shedder import Shedder
from shedder.cli import main as command_line
from shedder.errors import ShedderError
from shedder.rq import Queue, Worker
from shedder.selection import Selection
from tests import jobs
from tests.faults.producers import produce
from tests.lifeline import end_with_parent

try:
    from shedder.units import Rate
except ModuleNotFoundError:  # its name before the house was rebuilt
    from shedder.rates import Rate

LANES = ("mail", "mail.low", "reports")
SOME = Selection(functions=("tests.jobs.decorated",))
WORKERS = ("earlier-1", "earlier-2")


def main(role: str, folder: str, url: str, *more: str) -> None:
    """Be a worker, a producer, an operator, or a company of them, until somebody ends this process; or enqueue jobs."""
    assert Path(shedder.__file__).is_relative_to(folder), shedder.__file__
    roles: dict[str, Callable[..., None]] = {
        "worker": _work, "producer": _produce, "order": _command, "company": _company,
        "failing": _enqueue_failing,
    }  # fmt: skip
    roles[role](url, *more)


def _company(url: str, ledger: str, marks: str, log: str) -> None:
    """Two workers, a producer and an operator, all forks of this process, which has imported everything.

    It runs the command line with the words of each line (JSON) on standard input, and tells the exit
    code and what was printed.
    """
    end_with_parent()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    company = [
        *(_forked(lambda name=name: _work(url, name), log) for name in WORKERS),
        _forked(lambda: _produce(url, ledger, marks), log),
        _forked(lambda: _command(url), log),
    ]
    try:
        for line in sys.stdin:
            print(json.dumps(_ordered(json.loads(line), f"{log}-order")), flush=True)
    finally:
        for pid in company:
            os.kill(pid, signal.SIGTERM)
        for pid in company:
            os.waitpid(pid, 0)


def _work(url: str, name: str | None = None) -> None:
    Worker(["mail", "reports"], name=name, connection=Redis.from_url(url)).work()


def _produce(url: str, ledger: str, marks: str) -> None:
    ways = ("enqueue", "many", "unique", "other", "pipeline")
    produce(Redis.from_url(url), LANES, name="e", ledger=ledger, marks=marks, dice=Random(1), ways=ways, pause=0.1)


def _enqueue_failing(url: str, marks: str, times: str, *keys: str) -> None:
    queue = Queue("mail", connection=Redis.from_url(url))
    for key in keys:
        queue.enqueue(jobs.fail, marks, key, int(times), job_id=key)


def _command(url: str) -> None:
    operator, dice = Shedder(Redis.from_url(url), by="earlier"), Random(2)
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


def _ordered(words: list[str], log: str) -> tuple[int, str]:
    Path(log).unlink(missing_ok=True)
    _, status = os.waitpid(_forked(lambda: command_line(args=words), log), 0)
    return os.waitstatus_to_exitcode(status), Path(log).read_text(encoding="utf-8")


def _forked(action: Callable[[], object], log: str) -> int:
    """The id of a process that does it; what it says goes to `log`."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        end_with_parent()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        _speak_into(log)
        action()
        status = 0
    except SystemExit as end:
        status = int(end.code or 0)
    except BaseException:  # noqa: BLE001 - it goes to the log, and nothing goes on in this fork
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _speak_into(log: str) -> None:
    said, nothing = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644), os.open(os.devnull, os.O_RDONLY)
    for number, descriptor in enumerate((nothing, said, said)):
        os.dup2(descriptor, number)


if __name__ == "__main__":
    main(*sys.argv[1:])
