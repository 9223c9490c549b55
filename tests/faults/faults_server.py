"""The server is killed, restarted or frozen: in the middle of every order, and under load.

What can be lost depends on the persistence that its owner chose. When its process is killed:
nothing that was acknowledged with `appendonly yes`, whatever `appendfsync` says (only a crash of
the machine tells the three apart: nothing with `always`, about a second with `everysec`, more with
`no`); everything without. In no case half an order.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from shedder.errors import RedisUnreachable, ShedderError
from tests.faults.accounting import Wrong
from tests.faults.faults_operators import counted_commands
from tests.faults.load import Load
from tests.faults.schedule import Fault
from tests.faults.stage import Address
from tests.faults.verbs import VERBS, Verb, end_all_controls, small_steps, wrong_lists, wrong_when_idle

if TYPE_CHECKING:
    from shedder.embedded import EmbeddedServer
    from tests.faults.stage import Stage

PERSISTENCE = {
    "always": {"appendonly": True, "appendfsync": "always"},
    "everysec": {"appendonly": True, "appendfsync": "everysec"},
    "no fsync": {"appendonly": True, "appendfsync": "no"},
    "nothing": {"appendonly": False},
}


@dataclass(frozen=True, slots=True)
class KilledInVerbs:
    """The server dies after each command of each order, or at any moment of it."""

    persistence: str

    def __call__(self, stage: Stage) -> None:
        """Play it."""
        server = stage.own_server(**PERSISTENCE[self.persistence])
        with small_steps():
            for _ in range(max(4, stage.size // 2)):
                self._play(stage, server, stage.dice.choice(VERBS))

    def _play(self, stage: Stage, server: EmbeddedServer, verb: Verb) -> None:
        stage.redis.flushall()
        stage.book.sure.clear()
        verb.prepare(stage)
        number = stage.dice.randrange(8) if stage.dice.random() < 0.5 else 1_000
        child = stage.start(partial(_act, stage, verb, number, server.pid))
        if number == 1_000:
            time.sleep(stage.dice.uniform(0, 0.03))
            server.kill()
        child.wait()
        server.restart()
        stage.outcome.injected += 1
        stage.outcome.kills += 1
        if self.persistence == "nothing":
            self._expect_nothing(stage)
            return
        stage.outcome.wrong += wrong_lists(stage.check_now())
        end_all_controls(stage)
        stage.outcome.wrong += wrong_when_idle(stage)
        stage.outcome.jobs += len(stage.book.sure)

    def _expect_nothing(self, stage: Stage) -> None:
        seen = stage.snapshot()
        if seen.keys:
            stage.outcome.wrong.append(Wrong("half", f"left of everything: {sorted(seen.keys)}"))
        stage.operator().pause("mail", reason="it goes on")


def _act(stage: Stage, verb: Verb, number: int, server: int) -> None:
    def kill() -> None:
        os.kill(server, signal.SIGKILL)
        time.sleep(0.005)

    with counted_commands(number, kill):
        try:
            verb.act(stage.operator())
        except RedisUnreachable:
            return


@dataclass(frozen=True, slots=True)
class KilledUnderLoad:
    """The server dies and comes back while producers, workers and an operator are at work."""

    persistence: str

    def __call__(self, stage: Stage) -> None:
        """Play it."""
        server = stage.own_server(**PERSISTENCE[self.persistence])
        load = Load(stage)
        load.wait_for_progress()
        for _ in range(max(2, stage.size // 5)):
            time.sleep(stage.dice.uniform(0.1, 0.5))
            load.note_fault()
            server.kill()
            stage.outcome.kills += 1
            time.sleep(stage.dice.uniform(0, 0.4))
            server.restart()
            if self.persistence == "nothing":
                stage.book.read(stage.ledger_path)
                stage.book.vanishing |= stage.book.sure.keys() | stage.book.maybe
            load.wait_for_progress()
        load.finish()


_IN_STEPS = (
    "divert some",
    "divert some of a parked lane",
    "upkeep of a scan",
    "drain at once",
    "drain at once and merge",
    "undo divert",
    "upkeep of a restore",
)


def _restarted_in_steps(stage: Stage) -> None:
    """A polite SHUTDOWN and a start before some command of a scan or a restore."""
    server = stage.own_server(**PERSISTENCE["always"])
    verbs = [verb for verb in VERBS if verb.name in _IN_STEPS]
    with small_steps():
        for verb in verbs:
            for number in stage.dice.sample(range(1, 7), 1 if stage.is_short else 4):
                stage.redis.flushall()
                stage.book.sure.clear()
                verb.prepare(stage)
                _act_over_restart(stage, server, verb, number)
                stage.outcome.wrong += wrong_lists(stage.check_now())
                _say_again(stage, verb)
                stage.check_now()
                end_all_controls(stage)
                stage.outcome.wrong += wrong_when_idle(stage)
                stage.outcome.jobs += len(stage.book.sure)


def _act_over_restart(stage: Stage, server: EmbeddedServer, verb: Verb, number: int) -> None:
    done = False

    def restart() -> None:
        nonlocal done
        if not done:
            done = True
            server.client().shutdown()
            server.restart()
            stage.outcome.injected += 1

    with counted_commands(number, restart), contextlib.suppress(RedisUnreachable):
        verb.act(stage.operator())


def _frozen_under_load(stage: Stage) -> None:
    server = stage.own_server()
    load = Load(stage)
    load.wait_for_progress()
    for _ in range(max(1, stage.size // 10)):
        load.note_fault()
        server.freeze()
        time.sleep(1.5 if stage.is_short else 10.0)
        server.thaw()
        load.wait_for_progress()
    load.finish()


def _frozen_in_verbs(stage: Stage) -> None:
    """A frozen server carries an order out later, when its operator has given up on it."""
    server = stage.own_server()
    impatient = Address(server.url, socket_timeout=0.2)
    with small_steps():
        for verb in stage.dice.sample(VERBS, min(len(VERBS), stage.size)):
            stage.redis.flushall()
            stage.book.sure.clear()
            verb.prepare(stage)
            server.freeze()
            try:
                verb.act(stage.operator(impatient.client()))
                stage.outcome.wrong.append(Wrong("other", f"{verb.name} noticed nothing"))
            except RedisUnreachable:
                stage.outcome.injected += 1
            server.thaw()
            stage.outcome.wrong += wrong_lists(stage.check_now())
            _say_again(stage, verb)
            stage.check_now()
            end_all_controls(stage)
            stage.outcome.wrong += wrong_when_idle(stage)
            stage.outcome.jobs += len(stage.book.sure)


def _say_again(stage: Stage, verb: Verb) -> None:
    try:
        verb.act(stage.operator())
    except ShedderError:
        return  # such as an undo of what was undone


def faults() -> list[Fault]:
    """The rows of this family."""
    return [
        *[Fault(f"server kill in orders: appendonly {name}", "server", KilledInVerbs(name)) for name in PERSISTENCE],
        *[
            Fault(
                f"server kill under load: appendonly {name}",
                "server",
                KilledUnderLoad(name),
                beside=KilledUnderLoad(name) if name != "nothing" else None,
                is_short=name in ("always", "nothing"),
            )
            for name in PERSISTENCE
        ],
        Fault("server shutdown in scans and restores", "server", _restarted_in_steps),
        Fault("server freeze under load", "server", _frozen_under_load, _frozen_under_load),
        Fault("server freeze in orders", "server", _frozen_in_verbs),
    ]
