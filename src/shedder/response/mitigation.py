"""A mitigation in the journal: begun, alive, ended.

The process that runs one says every few seconds that it lives. When it has fallen silent, as after
SIGKILL, whoever looks next writes down that nobody has seen the end.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from shedder.errors import ShedderError
from shedder.events import Cause, Event, event_head
from shedder.queues.maintenance import EventWritten, end_mitigation, written_from
from shedder.response.runner import (
    Interrupted,
    ProgramResult,
    Say,
    ShutdownSignals,
    carry_out,
    mask_for,
)
from shedder.store.clients import own_client
from shedder.store.codec import time_from_ms
from shedder.store.keys import Keys
from shedder.store.store import Command, Store

if TYPE_CHECKING:
    from typing import Self

    from shedder.policy.model import Mitigation


logger = logging.getLogger("shedder.mitigate")

UnseenEnd = Callable[[int | None], str]
"""From the process group, once there is one, to the head of the event of an unseen end."""

SILENT_SECONDS = 20.0
"""A process that has given no sign of life for so long is thought gone."""

SIGN_SECONDS = SILENT_SECONDS / 5
"""So often a process that carries one out says that it is alive."""


def mitigate(
    store: Store,
    mitigation: Mitigation,
    command: tuple[str, ...],
    cause: Cause,
    *,
    say: Say,
    carry: Callable[..., ProgramResult] = carry_out,
) -> MitigationReceipt:
    """Write that it starts, run it, and write how it ended.

    Raises:
        RedisUnreachable: before it started; then it was not run.
        KeyboardInterrupt: Ctrl-C, SIGTERM or SIGHUP interrupted it; the journal says so.
    """
    with ShutdownSignals() as asked:
        receipt = _mitigate(store, mitigation, command, cause, say=say, carry=carry,
                            asked=asked)  # fmt: skip
    if asked.by:  # while its end was written down
        raise KeyboardInterrupt
    return receipt


class SignsOfLife:
    """Says, for as long as this context lasts, that the process lives which runs a mitigation.

    A thread does, so that a Redis that is away, which may be why the mitigation is needed, keeps
    nobody from following it and from ending it in time.
    """

    def __init__(self, store: Store, event: str, unseen_end: UnseenEnd) -> None:
        self._client = own_client(store.connection, patience=SIGN_SECONDS)
        self._store = Store(self._client, store.keys)
        self._event = event
        self._unseen_end = unseen_end
        self._group: int | None = None
        self._is_over = False
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._say, name="shedder-mitigate", daemon=True)

    def __enter__(self) -> Self:
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

    def _say(self) -> None:
        while not self._is_over:
            try:
                end = self._unseen_end(self._group)
                self._store.run(renew_mitigation(self._store.keys, self._event, end))
            except ShedderError as error:
                logger.debug("no sign of life of %s: %s", self._event, error)
            self._wake.wait(SIGN_SECONDS)
            self._wake.clear()
        self._client.close()


def _mitigate(
    store: Store,
    mitigation: Mitigation,
    command: tuple[str, ...],
    cause: Cause,
    *,
    say: Say,
    carry: Callable[..., ProgramResult],
    asked: ShutdownSignals,
) -> MitigationReceipt:
    mask = mask_for(os.environ)
    shown = [mask(part) for part in command]
    names: dict[str, Any] = {
        "mitigation": mitigation.name,
        "kind": mitigation.kind,
        "command": shown,
        "host": socket.gethostname(),
    }
    unseen_end = partial(_unseen_end, cause, names)
    head = event_head(BEGAN, cause, (), **names)
    began = store.run(begin_mitigation(store.keys, head, unseen_end(None))).event
    names["began"] = began
    try:
        with SignsOfLife(store, began, unseen_end) as signs:
            ran = carry(command, timeout=mitigation.timeout, say=say, mask=mask, asked=asked,
                        started=signs.started)  # fmt: skip
    except Interrupted as error:
        _note(store, cause, {**names, "interrupted_by": error.by.name}, error.ran)
        raise
    return _receipt(names, ran, _note(store, cause, names, ran))


def _receipt(names: Mapping[str, Any], ran: ProgramResult, done: EventWritten) -> MitigationReceipt:
    return MitigationReceipt(
        event=done.event,
        at=done.at,
        name=names["mitigation"],
        command=tuple(names["command"]),
        outcome=ran.outcome,
        exit_code=ran.exit_code,
        seconds=ran.seconds,
        output=ran.output,
    )


def _note(store: Store, cause: Cause, names: dict[str, Any], ran: ProgramResult) -> EventWritten:
    head = event_head(
        ENDED, cause, (), **names, outcome=ran.outcome, exit_code=ran.exit_code,
        seconds=round(ran.seconds, 3), output=ran.output,
    )  # fmt: skip
    return store.run(end_mitigation(store.keys, names["began"], head))


def _unseen_end(cause: Cause, names: dict[str, Any], group: int | None) -> str:
    return event_head(ENDED, cause, (), **names, group=group, outcome=UNSEEN)


BEGAN = "mitigate started"
ENDED = "mitigate"

UNSEEN = "end not recorded"
"""The outcome of a mitigation whose process fell silent."""

NO_END_YET = "no end recorded yet"
"""What is said instead of an outcome while there is none."""


def begin_mitigation(keys: Keys, head: str, unseen_end: str) -> Command[EventWritten]:
    """Write that a mitigation begins; `unseen_end` is the head of the event of an unseen end."""
    return Command(
        "begin_mitigation",
        (keys.mitigations, keys.events, keys.operation(uuid4().hex)),
        ("begin", head, unseen_end, int(1000 * SILENT_SECONDS)),
        written_from,
    )


def renew_mitigation(keys: Keys, event: str, unseen_end: str) -> Command[bool]:
    """Say that the process of the mitigation which began with `event` is alive."""
    silent_ms = int(1000 * SILENT_SECONDS)
    return Command("renew_mitigation", (keys.mitigations,), (event, unseen_end, silent_ms), bool)


def unended(events: Iterable[Event]) -> tuple[Event, ...]:
    """Of `events` the beginnings of mitigations whose end none of them tells, oldest first."""
    found = list(events)
    ends = {str(each.details.get("began", "")) for each in found if each.verb == ENDED}
    return tuple(
        each
        for number, each in enumerate(found)
        if each.verb == BEGAN and each.id not in ends and not _has_plain_end(each, found[number:])
    )


def with_end_unknown(events: Iterable[Event]) -> tuple[Event, ...]:
    """Of `events` the beginnings without an end, and the ends that nobody has seen."""
    found = without_outdated(events)
    return (*unended(found), *(each for each in found if _is_unseen(each)))


def began_at(event: Event) -> datetime:
    """When the mitigation began of which `event` tells the beginning or the end."""
    milliseconds = str(event.details.get("began", "")).partition("-")[0]
    return time_from_ms(int(milliseconds)) if milliseconds.isdecimal() else event.at


def without_outdated(events: Iterable[Event]) -> tuple[Event, ...]:
    """`events` without an unseen end that was told after all, by a process that had been frozen."""
    found = list(events)
    seen = {
        each.details.get("began")
        for each in found
        if each.verb == ENDED and each.details.get("outcome") != UNSEEN
    }
    return tuple(each for each in found if not (_is_unseen(each) and _began(each) in seen))


def _is_unseen(event: Event) -> bool:
    return event.verb == ENDED and event.details.get("outcome") == UNSEEN


def _began(event: Event) -> object:
    return event.details.get("began")


def _has_plain_end(began: Event, later: Iterable[Event]) -> bool:
    """Whether a shedder from before ends had the id of their beginning told its end."""
    name = began.details.get("mitigation")
    return any(
        each.verb == ENDED
        and "began" not in each.details
        and (each.details.get("mitigation"), each.by) == (name, began.by)
        for each in later
    )


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
