"""The one object that a program needs: it wires the parts and has no logic of its own."""

from __future__ import annotations

from shedder.facade.care import Care
from shedder.facade.holding import Holding
from shedder.facade.journal import Journal
from shedder.facade.responding import Responding
from shedder.facade.shedding import Shedding

__all__ = ["Shedder"]


class Shedder(Holding, Shedding, Responding, Journal, Care):
    """Load shedding for the RQ queues on one Redis.

    A target is a queue (`mail`, all its lanes) or one lane (`mail.low`, `mail.normal`).

    Args:
        connection: The client that the application uses; it stays as it is.
        by: Who acts, unless a call says otherwise; `user@host` when not given.

    Every method may raise `RedisUnreachable`, `ServerTooOld`, `RecordUnreadable` and
    `InvalidInput` (a target that is no name).
    """
