"""What the model is made of: jobs, diverts, pauses and claims in plain Python."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from shedder.selection import Selection

NOT_WAITING = frozenset({"finished", "canceled", "failed"})


AGES = timedelta(days=1)
"""No job of the model is so old."""


@dataclass(slots=True)
class Work:
    """A job, as far as a decision about it goes.

    Attributes:
        id: Its id.
        lane: Where it was enqueued.
        function: Dotted name of its function.
        tenant: The field `tenant` of its meta, empty for none.
        is_noted: Its hash tells the function in plain text: its producer is ours.
        status: RQ's status of it, `gone` when its hash is.
        is_old: It was enqueued long ago.
        executions: Processes that run it, or died while they did.
        retry: The order of the retry that has brought it back last.
    """

    id: str
    lane: str
    function: str
    tenant: str = ""
    is_noted: bool = False
    status: str = "queued"
    is_old: bool = False
    executions: int = 0
    retry: str = ""

    @property
    def obstacle(self) -> str:
        """Why a claim does not take it; empty when it does."""
        if self.status in NOT_WAITING or self.status == "gone":
            return self.status
        return "started" if self.status == "started" and self.executions else ""


@dataclass(slots=True)
class Pace:
    """A drain under way; the fast one always has tokens, the slow one gets none."""

    is_fast: bool
    stays: bool
    tokens: int = 0

    @property
    def may_start(self) -> bool:
        return self.is_fast or self.tokens > 0


@dataclass(slots=True)
class Order:
    """A divert in force on one lane; `tick` tells which claims are older."""

    id: str
    selection: Selection
    tick: int
    backlog: list[str] = field(default_factory=list)
    is_scanning: bool = False
    is_restoring: bool = False
    pace: Pace | None = None
    last_released: str = ""

    @property
    def is_whole(self) -> bool:
        return self.selection.is_whole


@dataclass(slots=True)
class Hold:
    """A pause, in force unless its time is over."""

    is_parked: bool = False
    is_over: bool = False


@dataclass(frozen=True, slots=True)
class Taken:
    """What a claim should give: lane, job, order of the backlog, whether a divert is open."""

    lane: str
    job: str
    order: str
    is_undecided: bool
    tick: int = 0


@dataclass(frozen=True, slots=True)
class Parts:
    """What stands in the three lists of a lane."""

    kept: tuple[str, ...] = ()
    parked: tuple[str, ...] = ()
    listed: tuple[str, ...] = ()

    @property
    def all(self) -> list[str]:
        return [*self.kept, *self.parked, *self.listed]


def verdict(work: Work, selection: Selection, *, knows_function: bool, knows_meta: bool) -> int:
    """1 taken, 0 not, -1 when it depends on what is not known."""
    answers = []
    if selection.older_than is not None:
        answers.append(int(work.is_old and selection.older_than < AGES))
    if selection.functions:
        matches = any(_is_under(work.function, glob) for glob in selection.functions)
        answers.append(int(matches) if knows_function else -1)
    if selection.meta:
        answers.append(int(("tenant", work.tenant) in selection.meta) if knows_meta else -1)
    return 0 if 0 in answers else min(answers, default=1)


def _is_under(name: str, glob: str) -> bool:
    return name.startswith(glob.rstrip("*"))
