"""How does a declared mitigation get into the journal, before it runs and after?"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import uuid4

from shedder.ending import AskedToEnd
from shedder.journal import event_head
from shedder.keys import Keys
from shedder.masking import mask_for
from shedder.mitigation import Interrupted, Ran, Say, carry_out
from shedder.policy import Mitigation
from shedder.records import Cause, MitigationReceipt
from shedder.store import Command, Store
from shedder.stored import text_of, time_from_ms


@dataclass(frozen=True, slots=True)
class Appended:
    """An event that was written.

    Attributes:
        event: Its id.
        at: Server's clock, UTC.
    """

    event: str
    at: datetime


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


def append_event(keys: Keys, head: str) -> Command[Appended]:
    """Write an event that tells of something outside Redis."""
    return Command(
        "append_event",
        (keys.events, keys.operation(uuid4().hex)),
        ("append", head),
        lambda reply: Appended(text_of(reply[0]), time_from_ms(int(reply[1]))),
    )


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
    }
    store.run(append_event(keys, event_head("mitigate started", cause, (), **names)))
    try:
        ran = carry(command, timeout=mitigation.timeout, say=say, mask=mask, asked=asked)
    except Interrupted as error:
        _note(store, keys, cause, {**names, "interrupted_by": error.by.name}, error.ran)
        raise
    done = _note(store, keys, cause, names, ran)
    return MitigationReceipt(
        event=done.event,
        at=done.at,
        name=mitigation.name,
        command=tuple(shown),
        outcome=ran.outcome,
        exit_code=ran.exit_code,
        seconds=ran.seconds,
        output=ran.output,
    )


def _note(store: Store, keys: Keys, cause: Cause, names: dict[str, Any], ran: Ran) -> Appended:
    head = event_head(
        "mitigate", cause, (), **names, outcome=ran.outcome, exit_code=ran.exit_code,
        seconds=round(ran.seconds, 3), output=ran.output,
    )  # fmt: skip
    return store.run(append_event(keys, head))
