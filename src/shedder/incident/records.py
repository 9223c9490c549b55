"""The records of an incident: roles, notes, updates, actions and effects, plain and frozen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

NOW = datetime.max.replace(tzinfo=UTC)
"""In a record that is to be written: the server's time at that moment."""

SEVERITIES = range(1, 6)
"""1 is the worst."""


class Role(StrEnum):
    """What a person does in an incident."""

    COMMANDER = "commander"
    OPERATIONS = "operations"
    COMMUNICATIONS = "communications"
    INVESTIGATOR = "investigator"


class ActionType(StrEnum):
    """What an action of the review is meant to do about the next incident."""

    PREVENT = "prevent"
    DETECT = "detect"
    MITIGATE = "mitigate"
    PROCESS = "process"


class ReviewPart(StrEnum):
    """What people write into a review; everything else in it is computed."""

    WELL = "well"
    BADLY = "badly"
    LUCK = "luck"
    FACTORS = "factors"


@dataclass(frozen=True, slots=True)
class SeveritySince:
    """A severity, and since when it holds.

    Attributes:
        severity: 1 (worst) to 5.
        since: Since when (server's clock, UTC).
        by: Who said so.
    """

    severity: int
    since: datetime
    by: str


@dataclass(frozen=True, slots=True)
class RoleHeld:
    """A role, and who has it.

    Attributes:
        role: Which.
        person: Who has it.
        since: Since when (server's clock, UTC).
        task: What an investigator looks into; empty for the other roles.
        offered_to: Who it was offered to and has not accepted it yet; empty without an offer.
        offered_at: When it was offered; None without an offer.
    """

    role: Role
    person: str
    since: datetime
    task: str = ""
    offered_to: str = ""
    offered_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class RolePast:
    """A role that somebody had.

    Attributes:
        role: Which.
        person: Who had it.
        since: Since when (server's clock, UTC).
        until: Until when (server's clock, UTC).
        task: What an investigator looked into; empty for the other roles.
    """

    role: Role
    person: str
    since: datetime
    until: datetime
    task: str = ""


@dataclass(frozen=True, slots=True)
class Note:
    """A finding: no decision, and nothing for the main channel.

    Attributes:
        number: Counts the notes of the incident from 1.
        at: When it was written (server's clock, UTC).
        by: Who wrote it.
        text: What was found.
        task: Which task it belongs to; empty when to none.
    """

    number: int
    at: datetime
    by: str
    text: str
    task: str = ""


@dataclass(frozen=True, slots=True)
class Update:
    """A heartbeat that was posted.

    Attributes:
        number: Counts the updates of the incident from 1.
        at: When it was posted (server's clock, UTC).
        by: Who posted it.
        text: What it says.
        audience: Who it is for: `stakeholders` or `team`.
        is_automatic: Nobody did: the computed part was posted because its time had come.
    """

    number: int
    at: datetime
    by: str
    text: str
    audience: str = "stakeholders"
    is_automatic: bool = False


@dataclass(frozen=True, slots=True)
class Action:
    """What is to be done so that the next time is better.

    Attributes:
        number: Counts the actions of the incident from 1.
        at: When it was written down (server's clock, UTC).
        by: Who wrote it down.
        title: What is to be done.
        type: `prevent`, `detect`, `mitigate` or `process`.
        priority: 1 (first) to 5; None while it is not known.
        owner: Who sees to it, such as a team; empty while it is not known.
        due_at: Until when (UTC); None while it is not known.
        done_at: When it was done; None while it is not.
    """

    number: int
    at: datetime
    by: str
    title: str
    type: ActionType
    priority: int | None = None
    owner: str = ""
    due_at: datetime | None = None
    done_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Incident:
    """An incident: a period with a commander, roles, notes, updates and actions.

    Attributes:
        id: Its id: the day on which it was opened and a number, such as `2026-11-25-1`.
        title: What happens, in the words of who opened it.
        severity: 1 (worst) to 5.
        opened_at: When it was opened (server's clock, UTC, as all times here).
        opened_by: Who opened it.
        revision: Grows with each change of the record.
        began_at: When the trouble began; None while nobody knows.
        detected_at: When it was noticed.
        mitigated_at: When customers were helped; None before.
        resolved_at: When it was over; None before.
        closed_at: When its review was done; None before.
        severities: Which severity it had, and since when.
        roles: Who has which role.
        past_roles: Who had which role.
        notes: Findings, oldest first.
        updates: Heartbeats that were posted, oldest first.
        next_update_at: When the next update is due; None when none is.
        actions: What is to be done so that the next time is better.
        review_due_at: When the review is due; None before it is resolved.
        review: By part (`well`, `badly`, `luck`, `factors`), what people wrote.
        effects: What actions on queues did, measured some minutes later.
    """

    id: str
    title: str
    severity: int
    opened_at: datetime
    opened_by: str
    revision: int = 0
    began_at: datetime | None = None
    detected_at: datetime | None = None
    mitigated_at: datetime | None = None
    resolved_at: datetime | None = None
    closed_at: datetime | None = None
    severities: tuple[SeveritySince, ...] = ()
    roles: tuple[RoleHeld, ...] = ()
    past_roles: tuple[RolePast, ...] = ()
    notes: tuple[Note, ...] = ()
    updates: tuple[Update, ...] = ()
    next_update_at: datetime | None = None
    actions: tuple[Action, ...] = ()
    review_due_at: datetime | None = None
    review: Mapping[str, str] = field(default_factory=dict)
    effects: tuple[Effect, ...] = ()

    @property
    def state(self) -> str:
        """How far it is: `open`, `mitigated`, `resolved` or `closed`."""
        if self.closed_at is not None:
            return "closed"
        if self.resolved_at is not None:
            return "resolved"
        return "open" if self.mitigated_at is None else "mitigated"

    @property
    def is_open(self) -> bool:
        """Whether it is not resolved yet."""
        return self.resolved_at is None and self.closed_at is None

    @property
    def commander(self) -> str:
        """Who coordinates; empty when nobody does."""
        return self.holder(Role.COMMANDER)

    def holder(self, role: Role, *, task: str = "") -> str:
        """Who has `role` (as an investigator, with this task); empty when nobody has."""
        return next((held.person for held in self.roles if (held.role, held.task) == (role, task)), "")

    def roles_of(self, person: str) -> tuple[RoleHeld, ...]:
        """The roles that `person` has."""
        return tuple(held for held in self.roles if is_same_person(held.person, person))

    def role_of(self, person: str) -> str:
        """The role in which `person` acts on queues; operations before all, empty without one."""
        held = [each.role for each in self.roles_of(person)]
        if Role.OPERATIONS in held:
            return Role.OPERATIONS.value
        return held[0].value if held else ""


@dataclass(frozen=True, slots=True)
class IncidentReceipt:
    """What a change of an incident did.

    Attributes:
        event: Id of its event; empty when there was nothing to change.
        at: When it was written down (server's clock, UTC).
        incident: The record as it is now.
    """

    event: str
    at: datetime
    incident: Incident


@dataclass(frozen=True, slots=True)
class Reading:
    """How a lane was at one moment.

    Attributes:
        waiting: Jobs that wait in the lane.
        backlog: Jobs in its backlogs.
        oldest_seconds: How long the first job has waited, in seconds; None when none waits.
        arrivals: Jobs that arrive, a second; None when it is not known.
        completions: Jobs that end well, a second; None when it is not known. An earlier shedder
            counted those that failed among them.
        failing: Jobs that fail, a second; None when it is not known.
    """

    waiting: int
    backlog: int = 0
    oldest_seconds: float | None = None
    arrivals: float | None = None
    completions: float | None = None
    failing: float | None = None

    @property
    def share_failing(self) -> float:
        """The share of those that end that fail, 0 to 1."""
        ends = (self.completions or 0.0) + (self.failing or 0.0)
        return (self.failing or 0.0) / ends if ends else 0.0


@dataclass(frozen=True, slots=True)
class Yardstick:
    """By what the work in a lane is measured: the policy in force when its effect was.

    Attributes:
        noun: What the business calls it.
        tolerance_seconds: How long one of it may wait without harm, in seconds.
    """

    noun: str
    tolerance_seconds: float


@dataclass(frozen=True, slots=True)
class Effect:
    """What an event did to its lanes, some minutes later.

    Attributes:
        event: Id of the event.
        verb: What was done.
        after_seconds: Seconds from the event to its measurement.
        before: By lane, how it was just before the event.
        after: By lane, how it was then.
        yardsticks: By lane, what is in it and how long that may wait; empty without a policy.
    """

    event: str
    verb: str
    after_seconds: float
    before: Mapping[str, Reading] = field(default_factory=dict)
    after: Mapping[str, Reading] = field(default_factory=dict)
    yardsticks: Mapping[str, Yardstick] = field(default_factory=dict)


def is_same_person(one: str, other: str) -> bool:
    """Whether two names mean one person: `ana` is `ana@desk`, while `ana@home` is somebody else."""
    if "@" in one and "@" in other:
        return one == other
    return bool(one and other) and one.partition("@")[0] == other.partition("@")[0]
