"""A finding of a rule, and what a check-up of a live installation says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from shedder.records import AuditReport

FINE, WARNING, PROBLEM = "fine", "warning", "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one rule found.

    Attributes:
        check: The rule, such as `persistence`.
        level: `fine`, `warning` (something to know) or `problem` (something to do).
        says: What is so, what it means and what to do about it.
        fix: What a repair does about it, in a few words; empty when a person must act.
        subjects: The lanes, jobs, workers or keys concerned.
        command: What to type next, a word each, without `shedder`; empty where no command helps.
        numbers: The numbers in `says`, such as `jobs`, `seconds` or `share`.
    """

    check: str
    level: str
    says: str
    fix: str = ""
    subjects: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    numbers: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Checkup:
    """All that was looked at.

    Attributes:
        at: When it ended (server's clock, UTC).
        findings: One or more for each check, in the order in which they were made.
        audit: Where every job is; null when it could not be told.
    """

    at: datetime
    findings: tuple[Finding, ...]
    audit: AuditReport | None = None

    @property
    def is_healthy(self) -> bool:
        """Whether no problem was found; a warning is none."""
        return all(finding.level != PROBLEM for finding in self.findings)

    @property
    def repairable(self) -> tuple[Finding, ...]:
        """What a repair would do something about."""
        return tuple(finding for finding in self.findings if finding.fix)


@dataclass(frozen=True, slots=True)
class Repair:
    """What was done about a finding.

    Attributes:
        check: What was looked at.
        did: What was done, in a few words.
        count: How many jobs or orders it was done to.
    """

    check: str
    did: str
    count: int
