"""Updates of an incident: drafted, and posted by a person or when their time has passed.

The record comes first, in one script with its event; what is sent is what the record holds. So two
people who post at once post two updates, one after the other, and none is lost.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from shedder.errors import InvalidInput
from shedder.events import SYSTEM
from shedder.incident.lifecycle import check_open
from shedder.incident.records import NOW, Incident, IncidentReceipt, Update
from shedder.incident.store import Decide
from shedder.policy.model import Policy
from shedder.updates.sentences import compose
from shedder.updates.situation import STAKEHOLDERS, Situation, read_situation

if TYPE_CHECKING:
    from shedder.api.shedder import Shedder


LONGEST_TEXT = 4000


@dataclass(frozen=True, slots=True)
class Draft:
    """An update before it is posted.

    Attributes:
        situation: What it is made of.
        text: What it says.
        audience: Who it is for.
        next_update: When the one after it is due.
    """

    situation: Situation
    text: str
    audience: str
    next_update: datetime


def draft_update(shed: Shedder, policy: Policy, incident: Incident, *, audience: str, now: datetime) -> Draft:
    """The update as it would be posted at `now`."""
    every = policy.incident.update_every_for(incident.severity)
    situation = read_situation(shed, policy, incident, next_update=now + every)
    return Draft(situation, compose(situation, audience=audience), audience, now + every)


def post_update(
    shed: Shedder, incident: str, draft: Draft, *, text: str | None = None, by: str | None = None
) -> IncidentReceipt:
    """Record the update of `draft`, or `text` in its place, as posted by `by` now.

    Raises:
        ConditionNotMet: the incident is over.
        InvalidInput: the text is empty or too long.
    """
    said = _checked_update(draft.text if text is None else text)

    def decide(it: Incident, _now: datetime) -> Incident:
        check_open(it)
        return _with_update(it, said, draft, by=by or shed.by)

    return _record(shed, incident, draft, decide, reason=said, by=by)


def post_automatic(
    shed: Shedder, incident: str, draft: Draft, *, due: datetime, every: timedelta, now: datetime
) -> IncidentReceipt:
    """Record the computed update that was `due`, unless somebody has posted one meanwhile.

    The one after it is due `every` after that, so that a late one does not shift the rest.
    """
    following = due + every
    while following <= now:
        following += every

    def decide(it: Incident, _now: datetime) -> Incident:
        is_due_still = it.is_open and (it.next_update_at or it.opened_at + every) == due
        if not is_due_still:
            return it
        at_time = replace(draft, next_update=following)
        return _with_update(it, draft.text, at_time, by=SYSTEM, is_automatic=True)

    return _record(shed, incident, draft, decide, reason=draft.text, by=SYSTEM, is_automatic=True)


def _record(shed: Shedder, incident: str, draft: Draft, decide: Decide, **more: Any) -> IncidentReceipt:
    """Change the record; the numbers behind the update stand in its event."""
    works = [
        {"noun": work.noun, "late": work.late, "may_be_late": work.doubt is not None, "waiting": work.waiting,
         "oldest": None if work.oldest is None else int(work.oldest.total_seconds()),
         "tenants": work.tenants}
        for work in draft.situation.works
    ]  # fmt: skip
    return shed.incidents.change(
        decide, verb="incident update", incident=incident, audience=draft.audience, works=works,
        **more,
    )  # fmt: skip


def _with_update(incident: Incident, text: str, draft: Draft, *, by: str, is_automatic: bool = False) -> Incident:
    """The incident with one more update; only one for stakeholders moves the time of the next."""
    number = len(incident.updates) + 1
    update = Update(number, NOW, by, text, draft.audience, is_automatic)
    changed = replace(incident, updates=(*incident.updates, update))
    if draft.audience != STAKEHOLDERS:
        return changed
    return replace(changed, next_update_at=draft.next_update)


def _checked_update(text: str) -> str:
    """`text` as it can be posted.

    Raises:
        InvalidInput: it is empty or too long.
    """
    said = text.strip()
    if not said or len(said) > LONGEST_TEXT:
        raise InvalidInput(
            name="update", value=said[:50],
            accepted=f"a text of at most {LONGEST_TEXT:,} characters that is not empty",
        )  # fmt: skip
    return said
