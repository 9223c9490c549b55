"""Mitigations in the journal: their beginning, that their process lives, and their end.

The process that runs one says every few seconds that it lives. When it has fallen silent, as after
SIGKILL, the next process that looks writes down that its end is not known.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self
from uuid import uuid4

from shedder.errors import ShedderError
from shedder.events import Cause, Event, event_head
from shedder.policy.model import Mitigation
from shedder.queues.maintenance import EventWritten, end_mitigation, written_from
from shedder.response.runner import Interrupted, ProgramResult, Say, ShutdownSignals, carry_out, mask_for
from shedder.store.clients import own_client
from shedder.store.codec import time_from_ms
from shedder.store.keys import Keys
from shedder.store.store import Command, Store

logger = logging.getLogger("shedder.mitigate")

BEGAN = "mitigate started"
ENDED = "mitigate"

OUTCOME_UNKNOWN = "end not recorded"
"""The outcome of a mitigation whose process fell silent."""

NO_END_YET = "no end recorded yet"
"""The text in place of an outcome while there is none."""

SILENT_SECONDS = 20.0
"""A process that has given no sign of life for this long is thought gone."""

SIGN_SECONDS = SILENT_SECONDS / 5
"""The time between two signs of life."""


@dataclass(frozen=True, slots=True)
class MitigationReceipt:
    """How a declared mitigation went.

    Attributes:
        event: Id of the event that says how it ended.
        at: When it had ended (server's clock, UTC).
        name: Its name in the policy.
        command: The program and its arguments, secrets masked.
        outcome: `done`, `failed`, `timed out` or `not started`.
        exit_code: What it exited with; minus the signal that ended it; None when it never began.
        seconds: How long it ran, in seconds.
        output: The end of what it printed, secrets masked.
    """

    event: str
    at: datetime
    name: str
    command: tuple[str, ...]
    outcome: str
    exit_code: int | None
    seconds: float
    output: str = ""


def run_mitigation(
    store: Store, mitigation: Mitigation, command: tuple[str, ...], cause: Cause, *, say: Say,
    carry: Callable[..., ProgramResult] = carry_out,
) -> MitigationReceipt:  # fmt: skip
    """Write that it starts, run it, and write how it ended.

    Raises:
        RedisUnreachable: before it started; then it was not run.
        KeyboardInterrupt: Ctrl-C, SIGTERM or SIGHUP interrupted it; the journal says so.
    """
    mask = mask_for(os.environ)
    run = MitigationRun(store, cause, {
        "mitigation": mitigation.name, "kind": mitigation.kind,
        "command": [mask(part) for part in command], "host": socket.gethostname(),
    })  # fmt: skip
    with ShutdownSignals() as asked:
        try:
            with run:
                result = carry(command, timeout=mitigation.timeout, say=say, mask=mask,
                               asked=asked, started=run.started)  # fmt: skip
        except Interrupted as error:
            run.end(error.ran, interrupted_by=error.by.name)
            raise
        receipt = run.end(result)
    if asked.by:  # while its end was written down
        raise KeyboardInterrupt
    return receipt


class MitigationRun:
    """One run of a mitigation in the journal; `facts` stand in each of its events.

    It begins with this context. For as long as the context lasts, a thread says that its process
    lives, so that a Redis that is away, which may be why the mitigation is needed, keeps nobody
    from following it and from ending it in time.
    """

    def __init__(self, store: Store, cause: Cause, facts: dict[str, Any]) -> None:
        self._store = store
        self._cause = cause
        self._facts = facts
        self._group: int | None = None
        self._is_over = False
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="shedder-mitigate", daemon=True)

    def __enter__(self) -> Self:
        begin = begin_mitigation(self._store.keys, self._head(BEGAN), self._unknown_end())
        self._facts["began"] = self._store.run(begin).event
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._is_over = True
        self._wake.set()
        self._thread.join(SIGN_SECONDS)

    def started(self, group: int) -> None:
        """The number of the process group that is left when this process is killed."""
        self._group = group
        self._wake.set()

    def end(self, result: ProgramResult, **more: Any) -> MitigationReceipt:
        """Write down how it ended."""
        facts = self._facts
        head = self._head(ENDED, **more, outcome=result.outcome, exit_code=result.exit_code,
                          seconds=round(result.seconds, 3), output=result.output)  # fmt: skip
        done = self._store.run(end_mitigation(self._store.keys, facts["began"], head))
        return MitigationReceipt(
            done.event, done.at, facts["mitigation"], tuple(facts["command"]), result.outcome,
            result.exit_code, result.seconds, result.output,
        )  # fmt: skip

    def _head(self, verb: str, **more: Any) -> str:
        return event_head(verb, self._cause, (), **self._facts, **more)

    def _unknown_end(self) -> str:
        """The head of the event that is written when its process falls silent."""
        return self._head(ENDED, group=self._group, outcome=OUTCOME_UNKNOWN)

    def _renew(self) -> None:
        client = own_client(self._store.connection, patience=SIGN_SECONDS)
        store, event = Store(client, self._store.keys), self._facts["began"]
        while not self._is_over:
            try:
                store.run(renew_mitigation(store.keys, event, self._unknown_end()))
            except ShedderError as error:
                logger.debug("no sign of life of %s: %s", event, error)
            self._wake.wait(SIGN_SECONDS)
            self._wake.clear()
        client.close()


def begin_mitigation(keys: Keys, head: str, unknown_end: str) -> Command[EventWritten]:
    """Write that a mitigation begins; `unknown_end` is the head of its end if it falls silent."""
    return Command(
        "begin_mitigation",
        (keys.mitigations, keys.events, keys.operation(uuid4().hex)),
        ("begin", head, unknown_end, int(1000 * SILENT_SECONDS)),
        written_from,
    )


def renew_mitigation(keys: Keys, event: str, unknown_end: str) -> Command[bool]:
    """Say that the process of the mitigation which began with `event` is alive."""
    return Command("renew_mitigation", (keys.mitigations,), (event, unknown_end, int(1000 * SILENT_SECONDS)), bool)


def running_mitigations(events: Iterable[Event]) -> tuple[Event, ...]:
    """Of `events` the beginnings of mitigations whose end none of them tells, oldest first."""
    found = list(events)
    return tuple(
        each for number, each in enumerate(found)
        if each.verb == BEGAN and not any(_is_end(later, each) for later in found[number:])
    )  # fmt: skip


def without_known_end(events: Iterable[Event]) -> tuple[Event, ...]:
    """Of `events` the beginnings without an end, and the ends with an unknown outcome."""
    found = without_outdated(events)
    return (*running_mitigations(found), *filter(_is_unknown_end, found))


def without_outdated(events: Iterable[Event]) -> tuple[Event, ...]:
    """`events` without an unknown end that was told after all: by a process that was frozen."""
    found = list(events)
    told = {each.details.get("began") for each in found if each.verb == ENDED and not _is_unknown_end(each)}
    return tuple(each for each in found if not (_is_unknown_end(each) and each.details.get("began") in told))


def without_ended(events: Iterable[Event]) -> tuple[Event, ...]:
    """`events` with each mitigation once: its end, or its beginning while it has none."""
    found = without_outdated(events)
    running = running_mitigations(found)
    return tuple(each for each in found if each.verb != BEGAN or each in running)


def began_at(event: Event) -> datetime:
    """When the mitigation began of which `event` tells the beginning or the end."""
    milliseconds = str(event.details.get("began", "")).partition("-")[0]
    return time_from_ms(int(milliseconds)) if milliseconds.isdecimal() else event.at


def _is_unknown_end(event: Event) -> bool:
    return event.verb == ENDED and event.details.get("outcome") == OUTCOME_UNKNOWN


def _is_end(event: Event, began: Event) -> bool:
    if event.verb != ENDED or "began" in event.details:
        return event.verb == ENDED and str(event.details["began"]) == began.id
    # an end that a shedder wrote before ends had the id of their beginning
    name = event.details.get("mitigation")
    return (name, event.by) == (began.details.get("mitigation"), began.by)
