"""How are things, in the words of the business? Plain facts, of which updates are made."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

STAKEHOLDERS, TEAM = "stakeholders", "team"
AUDIENCES = (STAKEHOLDERS, TEAM)


@dataclass(frozen=True, slots=True)
class Work:
    """One kind of work that the policy names, as it is now.

    Attributes:
        noun: What the business calls it, in the plural, such as `receipt e-mails`.
        tolerance: How long one of it may wait without harm.
        waiting: Jobs that have not started, those in backlogs among them.
        held: Those of them that do not start now because somebody decided so: in a backlog that
            does not drain, or in a paused lane.
        late: Those of them that have waited longer than the tolerance.
        oldest: How long the oldest of them has waited; None when none waits.
        tenants: Whose jobs are late, counted; None when the jobs do not say.
        since: When it became late (server's clock, UTC); None when it is not, or nobody knows.
        arrivals: Jobs that arrive a second; None when not known.
        completions: Jobs that end a second; None when not known.
        is_estimated: The counts were made from a part of the jobs.
        is_tenants_partial: The tenants were counted in a part of the jobs, so there may be more.
        targets: The queues or lanes that it is in.
    """

    noun: str
    tolerance: timedelta
    waiting: int = 0
    held: int = 0
    late: int = 0
    oldest: timedelta | None = None
    tenants: int | None = None
    since: datetime | None = None
    arrivals: float | None = None
    completions: float | None = None
    is_estimated: bool = False
    is_tenants_partial: bool = False
    targets: tuple[str, ...] = ()

    @property
    def is_late(self) -> bool:
        """Whether any of it has waited longer than it may."""
        return self.late > 0

    @property
    def net(self) -> float | None:
        """Jobs by which it becomes fewer a second; negative when it grows; None when not known."""
        if self.arrivals is None or self.completions is None:
            return None
        return self.completions - self.arrivals


@dataclass(frozen=True, slots=True)
class Measure:
    """Something that somebody has done and that still holds.

    Attributes:
        what: In words that follow a subject, such as `newsletters are paused`.
        role: Who did it, as a role: `operations`; empty when nobody had one.
        since: Since when (server's clock, UTC).
        command: The command that did it, for the team; empty when there is none.
        why: For which reason, for the team.
    """

    what: str
    role: str
    since: datetime
    command: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class Situation:
    """All that an update tells.

    Attributes:
        at: When it was read (server's clock, UTC).
        works: The kinds of work that the policy names, in its order.
        measures: What has been done and holds, oldest first.
        notices: What customers notice of features that are degraded, a sentence each.
        next_update: When the next update is due; None when there will be none.
        title: What the incident is called; empty outside of one.
        began: When it began; None outside of one.
    """

    at: datetime
    works: tuple[Work, ...] = ()
    measures: tuple[Measure, ...] = ()
    notices: tuple[str, ...] = ()
    next_update: datetime | None = None
    title: str = ""
    began: datetime | None = None
