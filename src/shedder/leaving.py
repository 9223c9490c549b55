"""Which commands take shedder off a server, and what does that return?"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from shedder.controls import IDS_PER_STEP
from shedder.journal import event_head
from shedder.keys import Keys
from shedder.records import Cause, RestoredLane, WorkerSeen
from shedder.store import Command
from shedder.stored import text_of

CLAIMS_PER_STEP = 500
"""Claims that one step gives back: about 2 ms of the server."""


@dataclass(frozen=True, slots=True)
class QueueLeft:
    """A queue of RQ in which jobs wait for a stock worker.

    Attributes:
        lane: Its name; a lane is a queue of its own.
        jobs: Jobs that wait in it.
    """

    lane: str
    jobs: int


@dataclass(frozen=True, slots=True)
class UninstallReceipt:
    """What `uninstall` did, or with `is_preview` what it would do.

    Attributes:
        at: When it was done (server's clock, UTC).
        is_preview: Nothing was changed.
        workers: Workers of shedder that RQ still has on record.
        resumed: Lanes whose pause has ended.
        restored: Backlogs that are back in their lanes.
        claims: Jobs that were in the hands of workers and had not started.
        found: Jobs that stood in lists which no control knew.
        flags: Flags whose degradation has ended.
        limits: Limits in code whose setting has ended.
        events: Lines of the journal that went.
        keys: Keys of shedder that were removed.
        queues: The queues of RQ in which jobs wait now, by name.
        left: Keys of shedder that are there again: somebody still writes them.
    """

    at: datetime
    is_preview: bool
    workers: tuple[WorkerSeen, ...]
    resumed: tuple[str, ...]
    restored: tuple[RestoredLane, ...]
    claims: int
    found: int
    flags: tuple[str, ...]
    limits: tuple[str, ...]
    events: int
    keys: int
    queues: tuple[QueueLeft, ...]
    left: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ClaimsReturned:
    """What one step of giving claims back did.

    Attributes:
        event: Id of its event; empty when it had nothing to do.
        returned: Jobs given back.
        left: Claims that are left.
    """

    event: str
    returned: int
    left: int


def return_claims(
    keys: Keys, cause: Cause, *, operation: str, step: int
) -> Command[ClaimsReturned]:
    """One step of giving all claimed jobs back."""
    head = event_head("uninstall", cause, ())
    return Command(
        "return_claims",
        (keys.claims, keys.pauses, keys.diverts, keys.events, keys.operation(operation)),
        (f"claims {step}", head, CLAIMS_PER_STEP, int(step == 1)),
        _claims_returned,
    )


def return_list(keys: Keys, source: str, lane: str, cause: Cause, *, total: int) -> Command[int]:
    """One step of bringing a list that no control knows to the front of `lane`; ids left."""
    head = event_head("restore", cause, (lane,))
    return Command(
        "return_list",
        (source, keys.engine.lists + lane, keys.engine.queues, keys.events),
        (IDS_PER_STEP, head, lane, total),
        int,
    )


def _claims_returned(reply: list[Any]) -> ClaimsReturned:
    event, returned, left = reply
    return ClaimsReturned(text_of(event), int(returned), int(left))
