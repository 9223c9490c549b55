"""The records of a policy (rules, defaults, mitigations, incidents) and what they decide alone.

They are plain and frozen; `policy.document` reads and writes them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import lru_cache

from shedder.lanes import DEFAULT_PRIORITY, Lane, lane_of
from shedder.selection import Selection
from shedder.units import Rate

POLICY_VERSION = 1
"""The version of the policy's form that is read and written here."""

SAYINGS = ("priority", "shed", "label", "tolerance", "retry")
"""What a rule can say; the first rule that matches a job and says it, decides it."""


FAILS_AT = 0.2
HALT_AT = 0.5


@dataclass(frozen=True, slots=True)
class Rule:
    """What holds for some jobs.

    Attributes:
        queue: Name of a queue, or a glob on it; the queue of a lane, not the lane.
        selection: Which jobs of it: by function and by fields of their meta.
        priority: Their priority; None when the rule says nothing of it.
        shed: They may be shed, those with smaller numbers first; None when nothing is said.
        label: What the business calls them, such as `receipt e-mails`; empty when nothing is said.
        tolerance: They are late when they wait longer; None when nothing is said.
        retry: Whether a person may bring them back when they have failed; None when nothing is said.
    """

    queue: str = "*"
    selection: Selection = field(default_factory=Selection)
    priority: str | None = None
    shed: int | None = None
    label: str = ""
    tolerance: timedelta | None = None
    retry: bool | None = None

    def is_for_queue(self, queue: str) -> bool:
        """Whether the rule can match jobs of `queue`."""
        return _is_name_in(queue, self.queue)

    def matches(self, *, queue: str, function: str | None, meta: Mapping[str, str]) -> bool:
        """Whether the rule holds for a job; a function that is not known meets no glob."""
        return self.is_for_queue(queue) and self.selection.matches(function=function, meta=meta, age=timedelta())

    def says(self, saying: str) -> bool:
        """Whether the rule says anything of one of `SAYINGS`."""
        return getattr(self, saying) not in (None, "")

    def describe(self) -> str:
        """For humans, such as `queue reports, function app.reports.*`."""
        if self.selection.is_whole:
            return f"queue {self.queue}"
        return f"queue {self.queue}, {self.selection.describe()}"


@lru_cache(maxsize=4096)
def _is_name_in(queue: str, glob: str) -> bool:
    """Whether a glob takes a name; asked by each producer for each job and each rule."""
    return Selection(functions=(glob,)).matches(function=queue, meta={}, age=timedelta())


@dataclass(frozen=True, slots=True)
class Defaults:
    """What holds when a command does not say it.

    Attributes:
        drain_rate: The pace of a drain; None when each must name its own.
        pause_for: After what time a pause expires; None when it stands until an operator ends it.
        limit_for: After what time a limit that an operator set expires; None as above.
        flag_for: After what time a degraded flag is restored; None as above.
        fails_at: Work fails where this share of at least twenty jobs that ended in five minutes
            failed, 0 to 1; 0 for never, None for `FAILS_AT`.
        halt_at: A drain halts where this share of its last jobs failed, 0 to 1; 0 for never, None
            for `HALT_AT`.
    """

    drain_rate: Rate | None = None
    pause_for: timedelta | None = None
    limit_for: timedelta | None = None
    flag_for: timedelta | None = None
    fails_at: float | None = None
    halt_at: float | None = None

    @property
    def share_that_fails(self) -> float:
        """The share of jobs at which work fails; 0 for never."""
        return FAILS_AT if self.fails_at is None else self.fails_at

    @property
    def share_that_halts(self) -> float:
        """The share of jobs at which a drain halts; 0 for never."""
        return HALT_AT if self.halt_at is None else self.halt_at


@dataclass(frozen=True, slots=True)
class Mitigation:
    """A measure outside the queues that was declared before it was needed.

    Attributes:
        name: How it is called.
        run: The program and its arguments; `{release}` and the like are filled in. No shell.
        timeout: The longest that it may take.
        kind: `rollback`, `scale` or `other`.
    """

    name: str
    run: tuple[str, ...]
    timeout: timedelta = timedelta(minutes=5)
    kind: str = "other"

    @property
    def placeholders(self) -> tuple[str, ...]:
        """What must be filled in, each once, in order of appearance."""
        found = (name for part in self.run for name in PLACEHOLDER.findall(part))
        return tuple(dict.fromkeys(found))


PLACEHOLDER = re.compile(r"\{([a-z][a-z0-9_]*)\}")

MITIGATION_KINDS = ("rollback", "scale", "other")

SEVERITIES = (1, 2, 3, 4, 5)


@dataclass(frozen=True, slots=True)
class IncidentPolicy:
    """How the team tells others of an incident.

    Attributes:
        update_every: How often an update is due, where its severity says nothing else.
        update_every_by_severity: How often, by severity.
        posts_by_itself: The computed part of an update is posted when nobody does.
        channels: By name (`main`, `notes`) where it goes: Apprise URLs, or `env:NAME` for what the
            environment holds. They may hold secrets, so they are in no text of this record.
        templates: Folder with templates that replace the built-in ones; empty for none.
        status_page: Folder into which the status page is written; empty for none.
        export: Folder into which the records are written each minute; empty for none.
        people: Who can have a role; empty for anybody.
    """

    update_every: timedelta = timedelta(minutes=15)
    update_every_by_severity: Mapping[int, timedelta] = field(default_factory=dict)
    posts_by_itself: bool = False
    channels: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False)
    templates: str = ""
    status_page: str = ""
    export: str = ""
    people: tuple[str, ...] = ()

    def update_every_for(self, severity: int | None) -> timedelta:
        """How often an update is due at `severity`."""
        if severity is None:
            return self.update_every
        return self.update_every_by_severity.get(severity, self.update_every)


WEB_COLOURS = ("red", "orange", "yellow", "green", "blue", "violet", "grey")


@dataclass(frozen=True, slots=True)
class WebPolicy:
    """What stands in sight on every page of the control room.

    Attributes:
        name: What is run here, such as `production`; empty when nothing is said.
        colour: The colour of its name, one of `WEB_COLOURS`; empty when nothing is said.
    """

    name: str = ""
    colour: str = ""


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy as a whole; one without anything is what holds when none was applied.

    Attributes:
        rules: In order; the first that matches decides each thing that it says.
        defaults: What holds when a command does not say it.
        stale_after: Jobs of a backlog that are older are set aside; None for never.
        notices: What the customer notices when a flag is degraded, by flag.
        mitigations: Declared measures outside the queues, by name.
        incident: How the team tells others of an incident.
        web: What stands in sight on every page of the control room.
    """

    rules: tuple[Rule, ...] = ()
    defaults: Defaults = field(default_factory=Defaults)
    stale_after: timedelta | None = None
    notices: Mapping[str, str] = field(default_factory=dict)
    mitigations: Mapping[str, Mitigation] = field(default_factory=dict)
    incident: IncidentPolicy = field(default_factory=IncidentPolicy)
    web: WebPolicy = field(default_factory=WebPolicy)

    def rule_for(
        self, saying: str, *, queue: str, function: str | None = None,
        meta: Mapping[str, str] | None = None,
    ) -> tuple[int, Rule] | None:  # fmt: skip
        """The rule that decides one of `SAYINGS` for a job, with its number from 1; or None."""
        for number, rule in enumerate(self.rules, start=1):
            if rule.says(saying) and rule.matches(queue=queue, function=function, meta=meta or {}):
                return number, rule
        return None

    def lane_for(self, queue: str, *, function: str | None, meta: Mapping[str, str]) -> Lane:
        """The lane into which a new job of `queue` goes.

        A queue that is declared as a whole stays where it is: its workers serve it accordingly.
        """
        found = self.rule_for("priority", queue=queue, function=function, meta=meta)
        if found is None or found[1].selection.is_whole:
            return Lane(queue)
        return Lane(queue, found[1].priority or DEFAULT_PRIORITY)

    def priority_of_queue(self, queue: str) -> str:
        """The priority that the whole of `queue` was given, for jobs without one of their own."""
        for rule in self.rules:
            if rule.priority and rule.selection.is_whole and rule.is_for_queue(queue):
                return rule.priority
        return DEFAULT_PRIORITY

    def served_as(self, lane: str) -> str:
        """The priority with which workers serve the lane of this name."""
        found = lane_of(lane)
        if found.priority != DEFAULT_PRIORITY:
            return found.priority
        return self.priority_of_queue(found.queue)

    def in_shed_order(self) -> tuple[tuple[int, Rule], ...]:
        """The rules whose jobs may be shed, first to shed first, with their numbers from 1."""
        found = [each for each in enumerate(self.rules, start=1) if each[1].shed is not None]
        return tuple(sorted(found, key=lambda each: (each[1].shed, each[0])))
