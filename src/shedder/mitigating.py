"""How does a declared mitigation get into the journal, before it runs and after?"""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from shedder.ending import AskedToEnd
from shedder.errors import ShedderError
from shedder.incident.begun import (
    BEGAN,
    ENDED,
    SILENT_SECONDS,
    UNSEEN,
    begin_mitigation,
    renew_mitigation,
)
from shedder.journal import Written, end_mitigation, event_head
from shedder.masking import mask_for
from shedder.mitigation import Interrupted, Ran, Say, carry_out
from shedder.own_client import own_client
from shedder.records import Cause, MitigationReceipt
from shedder.store import Store

if TYPE_CHECKING:
    from typing import Self

    from shedder.keys import Keys
    from shedder.policy import Mitigation

logger = logging.getLogger("shedder.mitigate")

UnseenEnd = Callable[[int | None], str]
"""From the process group, once there is one, to the head of the event of an unseen end."""

SIGN_SECONDS = SILENT_SECONDS / 5
"""So often a process that carries one out says that it is alive."""


def mitigate(
    store: Store,
    keys: Keys,
    mitigation: Mitigation,
    command: tuple[str, ...],
    cause: Cause,
    *,
    say: Say,
    carry: Callable[..., Ran] = carry_out,
) -> MitigationReceipt:
    """Write that it starts, run it, and write how it ended.

    Raises:
        RedisUnreachable: before it started; then it was not run.
        KeyboardInterrupt: Ctrl-C, SIGTERM or SIGHUP interrupted it; the journal says so.
    """
    with AskedToEnd() as asked:
        receipt = _mitigate(store, keys, mitigation, command, cause, say=say, carry=carry,
                            asked=asked)  # fmt: skip
    if asked.by:  # while its end was written down
        raise KeyboardInterrupt
    return receipt


class SignsOfLife:
    """Says, for as long as this context lasts, that the process lives which runs a mitigation.

    A thread does, so that a Redis that is away, which may be why the mitigation is needed, keeps
    nobody from following it and from ending it in time.
    """

    def __init__(self, store: Store, keys: Keys, event: str, unseen_end: UnseenEnd) -> None:
        self._client = own_client(store.connection, patience=SIGN_SECONDS)
        self._keys = keys
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
        store = Store(self._client)
        while not self._is_over:
            try:
                end = self._unseen_end(self._group)
                store.run(renew_mitigation(self._keys, self._event, end))
            except ShedderError as error:
                logger.debug("no sign of life of %s: %s", self._event, error)
            self._wake.wait(SIGN_SECONDS)
            self._wake.clear()
        self._client.close()


def _mitigate(
    store: Store,
    keys: Keys,
    mitigation: Mitigation,
    command: tuple[str, ...],
    cause: Cause,
    *,
    say: Say,
    carry: Callable[..., Ran],
    asked: AskedToEnd,
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
    began = store.run(begin_mitigation(keys, head, unseen_end(None))).event
    names["began"] = began
    try:
        with SignsOfLife(store, keys, began, unseen_end) as signs:
            ran = carry(command, timeout=mitigation.timeout, say=say, mask=mask, asked=asked,
                        started=signs.started)  # fmt: skip
    except Interrupted as error:
        _note(store, keys, cause, {**names, "interrupted_by": error.by.name}, error.ran)
        raise
    return _receipt(names, ran, _note(store, keys, cause, names, ran))


def _receipt(names: Mapping[str, Any], ran: Ran, done: Written) -> MitigationReceipt:
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


def _note(store: Store, keys: Keys, cause: Cause, names: dict[str, Any], ran: Ran) -> Written:
    head = event_head(
        ENDED, cause, (), **names, outcome=ran.outcome, exit_code=ran.exit_code,
        seconds=round(ran.seconds, 3), output=ran.output,
    )  # fmt: skip
    return store.run(end_mitigation(keys, names["began"], head))


def _unseen_end(cause: Cause, names: dict[str, Any], group: int | None) -> str:
    return event_head(ENDED, cause, (), **names, group=group, outcome=UNSEEN)
