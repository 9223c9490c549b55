"""The life of an incident: opened, mitigated, resolved, reopened, corrected. Decisions only.

Each takes a record and gives the next one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from shedder.errors import ConditionNotMet, InvalidInput
from shedder.incident.records import NOW, SEVERITIES, Incident, Role, RoleHeld, SeveritySince

LONGEST_TITLE = 200

REVIEW_IN = timedelta(hours=48)
"""How long after the end of an incident its review is due."""

TIMES = ("began", "detected", "opened", "mitigated", "resolved")
"""The times that can be corrected."""


def new_incident(
    day: str, title: str, *, severity: int, by: str, commander: str = "", now: datetime,
    times: Mapping[str, datetime] | None = None,
) -> Incident:  # fmt: skip
    """An incident that is being opened; `day` is its id without the number.

    Raises:
        InvalidInput: the title is empty, the severity is none, or a time is in the future.
    """
    opened = Incident(
        id=day,
        title=checked_text("title", title, longest=LONGEST_TITLE),
        severity=checked_severity(severity),
        opened_at=NOW,
        opened_by=by,
        severities=(SeveritySince(severity, NOW, by),),
        roles=(RoleHeld(Role.COMMANDER, commander, NOW),) if commander else (),
    )
    timed = with_times(opened, times or {}, now)
    return replace(timed, detected_at=timed.detected_at or timed.opened_at)


def as_mitigated(incident: Incident, now: datetime, *, at: datetime | None = None) -> Incident:
    """Customers are helped.

    Raises:
        ConditionNotMet: it is resolved.
        InvalidInput: `at` is in the future, or before it was noticed.
    """
    check_open(incident)
    if incident.mitigated_at is not None and at is None:
        return incident
    return with_times(incident, {"mitigated": at or NOW}, now)


def as_resolved(incident: Incident, now: datetime, *, at: datetime | None = None) -> Incident:
    """It is over; a review is due.

    Raises:
        ConditionNotMet: it is resolved already.
        InvalidInput: `at` is in the future, or before it was mitigated.
    """
    check_open(incident)
    resolved = with_times(incident, {"resolved": at or NOW}, now)
    return replace(
        resolved, mitigated_at=resolved.mitigated_at or resolved.resolved_at, next_update_at=None,
        review_due_at=now + REVIEW_IN,
    )  # fmt: skip


def as_reopened(incident: Incident) -> Incident:
    """It was not over.

    Raises:
        ConditionNotMet: it is open, or closed.
    """
    check_not_closed(incident)
    if incident.is_open:
        raise ConditionNotMet(f"{incident.id} is {incident.state}", try_instead="there is nothing to reopen")
    return replace(incident, mitigated_at=None, resolved_at=None, review_due_at=None)


def as_corrected(
    incident: Incident, now: datetime, *, by: str, title: str | None = None, severity: int | None = None,
    times: Mapping[str, datetime] | None = None,
) -> Incident:  # fmt: skip
    """What was written down wrongly, or has changed: the title, the severity, or times.

    Raises:
        ConditionNotMet: it is closed.
        InvalidInput: one of them cannot be, or the incident is not mitigated or resolved yet.
    """
    check_not_closed(incident)
    for name in times or {}:
        if name in ("mitigated", "resolved") and getattr(incident, f"{name}_at") is None:
            accepted = f"`shedder incident {_VERBS[name]}` first"
            says = f"{incident.id} is not {name} yet; {accepted}"
            raise InvalidInput(name=name, value=incident.state, accepted=accepted, says=says)
    changed = with_times(incident, times or {}, now)
    if title is not None:
        changed = replace(changed, title=checked_text("title", title, longest=LONGEST_TITLE))
    return changed if severity is None else with_severity(changed, severity, by=by)


_VERBS = {"mitigated": "mitigated", "resolved": "resolve"}


def with_severity(incident: Incident, severity: int, *, by: str) -> Incident:
    """Another severity, from now on.

    Raises:
        InvalidInput: it is none.
    """
    if checked_severity(severity) == incident.severity:
        return incident
    return replace(incident, severity=severity, severities=(*incident.severities, SeveritySince(severity, NOW, by)))


def with_times(incident: Incident, times: Mapping[str, datetime], now: datetime) -> Incident:
    """The incident with other times, by name: `began`, `detected`, `opened`, ...

    Raises:
        InvalidInput: a name is none, a time is in the future, or their order is impossible.
    """
    for name, at in times.items():
        if name not in TIMES:
            raise InvalidInput(name="time", value=name, accepted=", ".join(TIMES))
        check_not_in_future(name, at, now)
    moments: dict[str, Any] = {f"{name}_at": at for name, at in times.items()}
    return _checked_order(replace(incident, **moments))


def check_not_in_future(name: str, at: datetime | None, now: datetime) -> None:
    """Refuse a time of an incident that has not come.

    Raises:
        InvalidInput: it is after `now`.
    """
    if at is not None and at is not NOW and at > now:
        raise InvalidInput(name=name, value=_moment(at), accepted="a time that is not in the future")


def check_open(incident: Incident) -> None:
    """Refuse what makes sense only before an incident is resolved.

    Raises:
        ConditionNotMet: it is resolved or closed.
    """
    check_not_closed(incident)
    if not incident.is_open:
        again = f"to go on with it, first `shedder incident reopen {incident.id}`"
        raise ConditionNotMet(f"{incident.id} is {incident.state}", try_instead=again)


def check_not_closed(incident: Incident) -> Incident:
    """`incident`; refuse what changes it after its review.

    Raises:
        ConditionNotMet: it is closed.
    """
    if incident.closed_at is not None:
        raise ConditionNotMet(f"{incident.id} is closed for good", try_instead="open another one if it happens again")
    return incident


def checked_severity(severity: int) -> int:
    """`severity`, if it is one.

    Raises:
        InvalidInput: it is none.
    """
    if severity not in SEVERITIES:
        raise InvalidInput(name="severity", value=severity, accepted=f"{SEVERITIES[0]} (worst) to {SEVERITIES[-1]}")
    return severity


def checked_text(name: str, text: str, *, longest: int, lines: bool = False) -> str:
    """`text` without space around it, if it can stand in a record.

    Raises:
        InvalidInput: it is empty, too long, or drives a terminal.
    """
    said = text.strip()
    plain = said.replace("\n", " ").replace("\t", " ") if lines else said
    if not said or len(said) > longest or not plain.isprintable():
        accepted = f"a text of at most {longest:,} characters that can be printed"
        raise InvalidInput(name=name, value=said[:50], accepted=accepted)
    return said


_ORDER = (
    ("began", "detected"), ("detected", "mitigated"), ("detected", "resolved"), ("mitigated", "resolved"),
    ("opened", "resolved"),
)  # fmt: skip


def _checked_order(incident: Incident) -> Incident:
    for earlier, later in _ORDER:
        first, second = getattr(incident, f"{earlier}_at"), getattr(incident, f"{later}_at")
        if first is not None and second is not None and first > second:
            accepted = f"a time that is not before {earlier} ({_moment(first)})"
            raise InvalidInput(name=later, value=_moment(second), accepted=accepted)
    return incident


def _moment(at: datetime) -> str:
    return "now" if at is NOW else f"{at:%Y-%m-%dT%H:%M:%SZ}"
