"""How is a change of an incident's record taken back? Decisions only."""

from __future__ import annotations

from typing import Any

from shedder.errors import CannotUndo
from shedder.incident.life import check_not_closed
from shedder.incident.records import Incident
from shedder.incident.stored import Record, incident_from_record, record_of
from shedder.records import Event


def reverted(incident: Incident, event: Event) -> Incident:
    """`incident` with the fields that `event` changed as they were before it.

    Raises:
        CannotUndo: one of them is not as the event left it.
        ConditionNotMet: the incident is closed.
    """
    check_not_closed(incident)
    record = record_of(incident)
    for name in {**event.before, **event.after}:
        before, after = event.before.get(name), event.after.get(name)
        if isinstance(before, list) or isinstance(after, list):
            record[name] = _items(record.get(name) or [], before or [], after or [], event, name)
        else:
            _check(record.get(name) == after, event, name)
            _put(record, name, before)
    return incident_from_record(record)


def _items(
    items: list[Any], before: list[Any], after: list[Any], event: Event, name: str
) -> list[Any]:
    _check(all(each in items for each in after), event, name)
    kept = [each for each in items if each not in after]
    return sorted([*kept, *before], key=lambda each: each.get("number", 0))


def _put(record: Record, name: str, value: Any) -> None:
    if value is None:
        record.pop(name, None)
    else:
        record[name] = value


def _check(is_so: bool, event: Event, name: str) -> None:  # noqa: FBT001 - it is the question
    if not is_so:
        raise CannotUndo(
            event.id, reason=f"{name.removesuffix('_at')} was changed again since",
            try_instead=f"shedder incident show {event.incident}",
        )  # fmt: skip
