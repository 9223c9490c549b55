"""An operator's process dies between any two commands of an order; somebody else goes on."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any
from unittest import mock

from shedder.errors import ShedderError
from shedder.store.ahead import Ahead
from shedder.store.store import Store
from tests.faults.load import Load
from tests.faults.schedule import Fault
from tests.faults.states import mend
from tests.faults.verbs import (
    ALL_VERBS,
    LANES,
    MOST_STEPS,
    Verb,
    end_all_controls,
    fill_lanes,
    small_steps,
    wrong_lists,
    wrong_when_idle,
)
from tests.servers import patient

if TYPE_CHECKING:
    from tests.faults.stage import Stage


@contextlib.contextmanager
def counted_commands(number: int, then: Callable[[], object], *, also_reads: bool = True) -> Iterator[None]:
    """A time in which `then` is called after so many commands of this thread were carried out.

    Without reads, those are counted which may change something.
    """
    done, here = 0, threading.get_ident()

    def counted(method: Callable[..., Any]) -> Callable[..., Any]:
        def call(self: Store, *args: Any) -> Any:
            nonlocal done
            if threading.get_ident() == here:
                if done >= number:
                    then()
                done += 1
            return method(self, *args)

        return call

    with (
        mock.patch.object(Store, "execute", counted(Store.execute)),
        mock.patch.object(Store, "read", counted(Store.read) if also_reads else Store.read),
        mock.patch.object(Ahead, "send", counted(Ahead.send)),
    ):
        yield


def _kill_me() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True, slots=True)
class Killed:
    """An order is given again and again; its process dies one command later each time."""

    verb: Verb

    def __call__(self, stage: Stage) -> None:
        """Play it."""
        with small_steps():
            for number in stage.steps(MOST_STEPS):
                if not self._play(stage, number):
                    return

    def _play(self, stage: Stage, number: int) -> bool:
        """Whether the process died before it was done."""
        stage.redis.flushall()
        stage.book.sure.clear()
        self.verb.prepare(stage)
        child = stage.start(partial(self._act, stage, number))
        status = child.wait()
        if status == 1:
            raise RuntimeError(f"{self.verb.name} failed: {child.said()}")
        stage.outcome.injected += status == -signal.SIGKILL
        stage.outcome.kills += status == -signal.SIGKILL
        seen = stage.check_now(has_stock=self.verb.mends)
        stage.outcome.wrong += wrong_lists(seen)
        since = time.monotonic()
        if self.verb.mends or stage.dice.random() < 0.5:
            with contextlib.suppress(ShedderError):
                self.verb.act(stage.operator())
            stage.check_now()
        end_all_controls(stage)
        stage.outcome.recovered.append(time.monotonic() - since)
        stage.outcome.wrong += wrong_when_idle(stage)
        stage.outcome.jobs += len(stage.book.sure)
        return status == -signal.SIGKILL

    def _act(self, stage: Stage, number: int) -> None:
        # a check-up reads some hundred times, and changes nothing
        with counted_commands(number, _kill_me, also_reads=not self.verb.mends):
            self.verb.act(stage.operator())


def _kill_commands(stage: Stage) -> None:
    """The command line itself, killed at any moment after its start."""
    orders = (
        ("divert", "mail", "-r", "x", "--yes"),
        ("divert", "mail", "--function", "tests.jobs.decorated", "-r", "x", "--yes"),
        ("pause", "mail", "-r", "x"),
    )
    for _ in range(max(2, stage.size // 4)):
        stage.redis.flushall()
        stage.book.sure.clear()
        fill_lanes(stage)
        command = [sys.executable, "-m", "shedder", "--url", patient(stage.server.url)]
        with subprocess.Popen(
            [*command, *stage.dice.choice(orders)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            time.sleep(stage.dice.uniform(0.4, 1.2))
            process.kill()
        stage.outcome.injected += 1
        stage.outcome.kills += process.returncode == -signal.SIGKILL
        stage.outcome.jobs += len(stage.book.sure)
        stage.check_now()
        end_all_controls(stage)
        stage.outcome.wrong += wrong_when_idle(stage)


def _repair_under_load(stage: Stage) -> None:
    """Workers, producers and an operator go on while jobs are torn out, and menders are killed."""
    load = Load(stage)
    load.wait_for_progress()
    for _ in range(max(3, stage.size)):
        load.note_fault()
        _tear_one_out(stage)
        child = stage.start(lambda: mend(stage.operator()))
        time.sleep(stage.dice.uniform(0.05, 0.6))
        child.kill()
        stage.outcome.kills += 1
    mend(stage.operator())
    load.wait_for_progress()
    load.finish(also=lambda: mend(stage.operator()))


def _tear_one_out(stage: Stage) -> None:
    """As a fail-over may, or a stock worker that is killed with a job in hand."""
    for lane in stage.dice.sample(LANES, len(LANES)):
        if stage.redis.rpop(stage.keys.lane(lane)[0]) is not None:
            stage.outcome.injected += 1
            return


def faults() -> list[Fault]:
    """The rows of this family."""
    rows = [Fault(f"operator kill: {verb.name}", "operators", Killed(verb)) for verb in ALL_VERBS]
    return [
        *rows,
        Fault("operator kill: the command line", "operators", _kill_commands),
        Fault("operator kill: repair under load", "operators", _repair_under_load),
    ]
