"""What stands on a lane, by whom, and since when?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from shedder.rates import Rate
from shedder.selection import Selection


@dataclass(frozen=True, slots=True)
class Pause:
    """A pause in force.

    Attributes:
        lane: Name of the lane.
        by: Who paused it.
        why: For which reason.
        since: Since when (server's clock, UTC).
        until: When it ends by itself; None when somebody must end it.
        is_parked: Its list was taken out of the reach of stock workers.
    """

    lane: str
    by: str
    why: str
    since: datetime
    until: datetime | None = None
    is_parked: bool = False


@dataclass(frozen=True, slots=True)
class Divert:
    """A divert in force: an order on one lane.

    Attributes:
        lane: Name of the lane.
        order: Id of the order, one for all lanes that were diverted together.
        by: Who diverted it.
        why: For which reason.
        since: Since when (server's clock, UTC).
        selection: Which jobs it takes.
        backlog: Jobs in its backlog.
        drain: The drain under way, if there is one.
        is_scanning: Its first pass through the waiting jobs is not finished.
        is_restoring: Its backlog is on the way back into the lane.
        is_limit: It is a limit on starts: what it takes starts at its rate, from its backlog.
        most: As a limit, at most so many of its jobs run at once; None without such a bound.
        until: As a limit, when it ends by itself; None when somebody must end it.
    """

    lane: str
    order: str
    by: str
    why: str
    since: datetime
    selection: Selection
    backlog: int = 0
    drain: Drain | None = None
    is_scanning: bool = False
    is_restoring: bool = False
    is_limit: bool = False
    most: int | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Drain:
    """A drain under way.

    Attributes:
        rate: At most so many jobs start from the backlog.
        by: Who ordered it.
        why: For which reason.
        since: Since when (server's clock, UTC).
        stays: The divert stays in force after its backlog is empty.
        released: Jobs that it has released so far.
        skipped: Jobs that could not run any more, by cause (`gone`, `canceled`, ...).
    """

    rate: Rate
    by: str
    why: str
    since: datetime
    stays: bool = False
    released: int = 0
    skipped: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StartsLimit:
    """What a limit on the starts of jobs said before it was changed.

    Attributes:
        lane: The lane that it stands on.
        rate: At most so many starts; None without a pace.
        most: At most so many jobs that run at once; None without such a bound.
        by: Who set it.
        why: For which reason.
        since: Since when (server's clock, UTC).
        until: When it would have ended by itself; None when somebody had to end it.
    """

    lane: str
    rate: Rate | None
    most: int | None
    by: str
    why: str
    since: datetime
    until: datetime | None = None
