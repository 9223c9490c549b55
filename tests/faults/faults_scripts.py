"""Somebody flushes the scripts, or keeps the server busy with an endless one until it is killed."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any
from unittest import mock

import redis.exceptions

from shedder.errors import ShedderError
from shedder.store.store import Store
from tests.faults.accounting import Wrong
from tests.faults.faults_network import signature
from tests.faults.faults_operators import counted_commands
from tests.faults.faults_records import acts
from tests.faults.load import Load
from tests.faults.schedule import Fault
from tests.faults.stage import hurried
from tests.faults.verbs import VERBS, Verb, end_all_controls, fill_lanes, small_steps, wrong_lists, wrong_when_idle
from tests.forked import run_module
from tests.servers import patient
from tests.waiting import wait_until

if TYPE_CHECKING:
    from redis import Redis

    from tests.faults.stage import Stage

BUSY_AFTER = {"busy-reply-threshold": "20"}
"""Milliseconds after which a server says BUSY, instead of 5 s."""

A_DAY_SECONDS = 86_400.0

SAID = "runs a script that blocks everybody"

ENDLESS = "while true do end"


def _flushed_in_verbs(stage: Stage) -> None:
    """Before each command of each order the server forgets all scripts: it ends as without."""

    def flush() -> None:
        stage.redis.script_flush()
        stage.outcome.injected += 1

    # claims whose time is over meanwhile would end elsewhere for another reason
    with hurried(A_DAY_SECONDS), small_steps():
        for name, prepare, act in acts():
            _begin(stage, prepare)
            act(stage)
            expected = signature(stage.snapshot())
            _begin(stage, prepare)
            with counted_commands(0, flush):
                act(stage)
            if signature(stage.check_now()) != expected:
                stage.outcome.wrong.append(Wrong("other", f"{name} ended elsewhere"))
            if "claims" not in name:  # those have started some
                _end(stage)


def _begin(stage: Stage, prepare: Callable[[Stage], object]) -> None:
    stage.redis.flushall()
    stage.forget()
    prepare(stage)


def _end(stage: Stage) -> None:
    end_all_controls(stage)
    stage.outcome.wrong += wrong_when_idle(stage)
    stage.outcome.jobs += len(stage.book.sure)


def _flushed_under_load(stage: Stage) -> None:
    """All the while somebody flushes, hundreds of times in all."""
    load = Load(stage)
    load.wait_for_progress()
    child = stage.start(partial(_flush_for_ever, stage.server.client()))
    before = _flushes(stage)
    for _ in range(max(3, stage.size // 2)):
        time.sleep(stage.dice.uniform(0.05, 0.2))
        load.wait_for_progress()
    stage.outcome.injected += _flushes(stage) - before
    child.kill()
    load.finish()


def _flush_for_ever(client: Redis) -> None:
    while True:
        client.script_flush()
        time.sleep(0.002)


def _flushes(stage: Stage) -> int:
    told: Any = stage.redis.info("commandstats")
    return int(told.get("cmdstat_script|flush", {}).get("calls", 0))


class Busy:
    """Somebody's endless script, which reads only, and its end by SCRIPT KILL."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.has_begun = False

    def begin(self) -> None:
        """Return when the server says BUSY; the second time nothing is done."""
        if not self.has_begun:
            self.has_begun = True
            self._stage.outcome.injected += 1
            self._child = self._stage.start(partial(_run_endless, self._stage.server.client()))
            wait_until(self._is_busy, interval=0.002, what="a server that is busy")

    def end(self) -> None:
        """Return when the server serves again."""
        if self.has_begun:
            self._stage.redis.script_kill()
            wait_until(lambda: not self._is_busy(), interval=0.002, what="a server that serves")
            self._child.wait()

    def _is_busy(self) -> bool:
        try:
            self._stage.redis.ping()
        except redis.exceptions.ResponseError:
            return True
        return False


def _run_endless(client: Redis) -> None:
    with contextlib.suppress(redis.exceptions.ResponseError):
        client.eval(ENDLESS, 0)


def _busy_in_verbs(stage: Stage) -> None:
    """The server turns busy before some command of an order; said again later, it is whole."""
    stage.own_server(config=BUSY_AFTER)
    # the harness plays the upkeep with commands of its own; under load a worker does it
    orders = [verb for verb in VERBS if "upkeep" not in verb.name]
    verbs = stage.dice.sample(orders, min(len(orders), 2 * stage.size))
    with small_steps():
        for verb in verbs:
            _begin(stage, verb.prepare)
            _act_while_busy(stage, verb, stage.dice.choice((0, 1, 2, 4)))
            stage.outcome.wrong += wrong_lists(stage.check_now())
            with contextlib.suppress(ShedderError):  # such as an undo of what was undone
                verb.act(stage.operator())
            stage.check_now()
            _end(stage)


def _act_while_busy(stage: Stage, verb: Verb, number: int) -> None:
    busy, met = Busy(stage), list[str]()
    try:
        with _notes_of_busy(met), counted_commands(number, busy.begin):
            verb.act(stage.operator())
    except ShedderError as error:
        if SAID not in str(error) or "\n" in str(error):
            stage.outcome.wrong.append(Wrong("other", f"{verb.name} said: {error}"))
    else:
        if {*met} - {SAMPLE}:
            stage.outcome.wrong.append(Wrong("other", f"{verb.name} noticed nothing of {met}"))
    finally:
        busy.end()


SAMPLE = "sample_lanes"
"""What is asked once an order is carried out; the receipt does not depend on it, and a log record says so."""


@contextlib.contextmanager
def _notes_of_busy(met: list[str]) -> Iterator[None]:
    """A time in which `met` gets what met a busy server: a read that has nothing to ask meets none."""

    def noted(method: Callable[..., Any]) -> Callable[..., Any]:
        def call(self: Store, first: Any, *args: Any, **more: Any) -> Any:
            try:
                return method(self, first, *args, **more)
            except (ShedderError, redis.exceptions.RedisError):
                met.append(getattr(first, "script", method.__name__))
                raise

        return call

    names = ("execute", "read", "read_and_run")
    with contextlib.ExitStack() as patches:
        for name in names:
            patches.enter_context(mock.patch.object(Store, name, noted(getattr(Store, name))))
        yield


def _busy_at_the_command_line(stage: Stage) -> None:
    """The command line says in one sentence what is the matter, and has changed nothing."""
    stage.own_server(config=BUSY_AFTER)
    fill_lanes(stage)
    before = signature(stage.snapshot())
    busy = Busy(stage)
    busy.begin()
    order = ("pause", "mail", "-r", "x")
    done = run_module("shedder", "--url", patient(stage.server.url), *order, env=os.environ)
    busy.end()
    lines = done.stderr.strip().replace("\n  ", " ").splitlines()  # as where COLUMNS is set
    if done.returncode != 4 or len(lines) != 1 or SAID not in lines[0]:
        stage.outcome.wrong.append(Wrong("other", f"{done.returncode}: {done.stderr}"))
    if signature(stage.check_now()) != before or stage.redis.exists(stage.keys.pauses):
        stage.outcome.wrong.append(Wrong("other", "something was changed"))
    _end(stage)


def _busy_under_load(stage: Stage) -> None:
    """The server is busy now and then while everything is at work."""
    stage.own_server(config=BUSY_AFTER)
    load = Load(stage)
    load.wait_for_progress()
    for _ in range(max(3, stage.size // 2)):
        busy = Busy(stage)
        busy.begin()
        time.sleep(stage.dice.uniform(0.05, 0.3))
        busy.end()
        load.wait_for_progress()
    load.finish()


def faults() -> list[Fault]:
    """The rows of this family."""
    return [
        Fault("script flush before every command", "scripts", _flushed_in_verbs),
        Fault("script flush under load", "scripts", _flushed_under_load),
        Fault("script kill in orders", "scripts", _busy_in_verbs),
        Fault("script kill: the command line", "scripts", _busy_at_the_command_line),
        Fault("script kill under load", "scripts", _busy_under_load, _busy_under_load),
    ]
