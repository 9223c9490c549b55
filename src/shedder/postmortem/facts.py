"""The facts of a post-mortem, plain and frozen; templates render them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from shedder.events import Event
from shedder.incident.records import Action
from shedder.queues.samples import Sample


@dataclass(frozen=True, slots=True)
class Impact:
    """What one kind of work suffered.

    Attributes:
        noun: What the business calls it.
        tolerance: How long one of it may wait without harm.
        outside: How long its oldest job had waited longer than that, added up over the incident.
        by_severity: The same for each severity that the incident had.
        late_jobs: Jobs that started too late, or still wait too long at the end: counted from
            samples, so about. Of work that shares its lanes, the most that an update counted;
            None when none did.
        oldest: The longest that the oldest job had waited, of those in the lanes.
        oldest_aside: The same of those that were put aside.
        deepest: The most jobs that waited at one time.
        tenants: The most tenants that an update counted; None when none did.
        began: When it first was outside; None when it never was.
        targets: The lanes that it was measured in.
        is_lane_shared: Other work is in the same lanes, which it waits behind.
        is_known: It is known whether any of it was late. False: jobs of the lanes that it shares waited
            longer than it may, and no update counted whose they were.
        ended: Jobs that ended, well or not; None when nobody counted them.
        failed: Those of them that failed; an attempt that was retried counts. None as above.
    """

    noun: str
    tolerance: timedelta
    outside: timedelta = timedelta()
    by_severity: Mapping[int, timedelta] = field(default_factory=dict)
    late_jobs: int | None = 0
    oldest: timedelta = timedelta()
    oldest_aside: timedelta = timedelta()
    deepest: int = 0
    tenants: int | None = None
    began: datetime | None = None
    targets: tuple[str, ...] = ()
    is_lane_shared: bool = False
    is_known: bool = True
    ended: int | None = None
    failed: int | None = None

    @property
    def share_failed(self) -> float:
        """The share of those that ended that failed, 0 to 1."""
        return (self.failed or 0) / self.ended if self.ended else 0.0


@dataclass(frozen=True, slots=True)
class WorkOverTime:
    """A kind of work, or several that share lanes, as plots show it.

    Attributes:
        noun: What the business calls it.
        lanes: The lanes that it is in.
        ends: By kind of work of those that share the lanes, how many of its jobs had ended and how
            many of them failed, at some moments; empty where the lanes alone tell.
    """

    noun: str
    lanes: tuple[str, ...]
    ends: Mapping[str, tuple[tuple[datetime, int, int], ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Moment:
    """One line of the timeline.

    Attributes:
        at: When (server's clock, UTC).
        who: A role, never a person: `operations`, `shedder`, or `somebody without a role`.
        what: What happened, in words.
        event: Id of its event in the log.
        mark: The letter under which plots show it; empty when they do not.
        is_deed: It changed queues, limits or flags, or was run outside.
        also: Ids of the other events that it tells of: a restore writes one for each backlog.
    """

    at: datetime
    who: str
    what: str
    event: str
    mark: str = ""
    is_deed: bool = False
    also: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LaneEffect:
    """What an intervention did to one lane.

    Attributes:
        lane: Its name.
        depth_before: Jobs that had not started, just before, those put aside among them.
        depth_after: The same some minutes later.
        oldest_before: How long the oldest had waited then, of those in the lane.
        oldest_after: The same later.
        completions_before: Jobs that ended well a second; None when not known.
        completions_after: The same later.
        backlog_before: Jobs that were put aside, just before.
        backlog_after: The same later.
        failing_before: Jobs that failed a second; None when not known.
        failing_after: The same later.
        noun: What is in the lane, as the policy calls it; empty when no kind of work is.
        tolerance: How long the least tolerant of it may wait; None when that is not known.
    """

    lane: str
    depth_before: int
    depth_after: int
    oldest_before: timedelta
    oldest_after: timedelta
    completions_before: float | None = None
    completions_after: float | None = None
    backlog_before: int = 0
    backlog_after: int = 0
    failing_before: float | None = None
    failing_after: float | None = None
    noun: str = ""
    tolerance: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Intervention:
    """Something that somebody did about it, and what that did.

    Attributes:
        moment: Its line of the timeline.
        why: For which reason.
        after: How much later its effect was measured.
        effects: By lane; empty when nothing was measured.
    """

    moment: Moment
    why: str
    after: timedelta = timedelta()
    effects: tuple[LaneEffect, ...] = ()


@dataclass(frozen=True, slots=True)
class Span:
    """A time that the incident took.

    Attributes:
        name: `detect`, `acknowledge`, `mitigate` or `resolve`.
        meaning: From when until when.
        length: How long; None when one of its ends is not known.
    """

    name: str
    meaning: str
    length: timedelta | None


@dataclass(frozen=True, slots=True)
class Blank:
    """A part that people write.

    Attributes:
        name: Such as `well`.
        title: Its heading.
        question: What to think about.
        text: What was written; empty when nothing was.
    """

    name: str
    title: str
    question: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class PostMortem:
    """All that a post-mortem says.

    Attributes:
        incident: Id of the incident.
        title: What it is called.
        severity: The worst that it had.
        state: `open`, `mitigated`, `resolved` or `closed`.
        at: When this was made (server's clock, UTC).
        since: Where the incident begins: when it began, was noticed, or work first was late.
        until: Where it ends: when it was resolved, or now.
        is_began_measured: `since` is what samples say, because nobody has said when it began.
        summary: In a few sentences what happened.
        spans: The times that it took.
        impacts: What each kind of work suffered.
        timeline: What happened, oldest first.
        deeds: What was done and what that did.
        updates: The updates that were posted: when, and what they said.
        findings: What was noted: when, the task (empty without one), and the text.
        blanks: What people write.
        factors: Questions about the system that the facts raise.
        actions: What is to be done.
        review_due: When the review is due; None before it is resolved.
        log: The events as they were recorded, names with them.
        samples: By lane how it was.
        works: The kinds of work that were in these lanes.
        roles: The roles that were held: name and task.
    """

    incident: str
    title: str
    severity: int
    state: str
    at: datetime
    since: datetime
    until: datetime
    is_began_measured: bool
    summary: str
    spans: tuple[Span, ...]
    impacts: tuple[Impact, ...]
    timeline: tuple[Moment, ...]
    deeds: tuple[Intervention, ...]
    updates: tuple[tuple[datetime, str], ...]
    findings: tuple[tuple[datetime, str, str], ...]
    blanks: tuple[Blank, ...]
    factors: tuple[str, ...]
    actions: tuple[Action, ...]
    review_due: datetime | None
    log: tuple[Event, ...]
    samples: Mapping[str, tuple[Sample, ...]]
    works: tuple[WorkOverTime, ...]
    roles: tuple[str, ...]

    @property
    def parts(self) -> Mapping[str, bool]:
        """Each part of the document, and whether something stands in it."""
        parts = {"title": bool(self.title), "severity": True, "summary": bool(self.summary)}
        parts |= {f"time to {span.name}": span.length is not None for span in self.spans}
        parts |= {
            "impact": bool(self.impacts),
            "timeline": bool(self.timeline),
            "what was done": bool(self.deeds),
            "measured effect": any(deed.effects for deed in self.deeds),
            "updates": bool(self.updates),
            "plots": bool(self.samples),
            "questions": bool(self.factors),
            "roles": bool(self.roles),
            "review due": self.review_due is not None,
            "event log": bool(self.log),
        }
        parts |= {blank.title.lower(): bool(blank.text) for blank in self.blanks}
        return parts | {"actions": bool(self.actions)}

    @property
    def filled(self) -> float:
        """The share of its parts in which something stands, 0 to 1."""
        return sum(self.parts.values()) / len(self.parts)
