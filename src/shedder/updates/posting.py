"""Updates of an incident, drafted and posted by a person or when they are late; the status page.

The record comes first, in one script with its event; what is sent is what the record holds. So two
people who post at once post two updates, one after the other, and none is lost.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from shedder.api.shedder import Shedder
from shedder.errors import InvalidInput
from shedder.events import SYSTEM
from shedder.incident.lifecycle import check_open
from shedder.incident.records import NOW, Incident, IncidentReceipt, Update
from shedder.incident.store import Decide
from shedder.policy.model import Policy
from shedder.postmortem.writing import environment_for, render, write_whole, writing_into
from shedder.updates.sentences import compose, expected_end
from shedder.updates.situation import (
    STAKEHOLDERS,
    MeasuredWorkload,
    Situation,
    brought_back,
    read_situation,
    taken_back,
)

LONGEST_TEXT = 4000

PAGE_TEMPLATE = "status.html.j2"
PAGE_FILES = ("index.html", "status.json")
PAGE_SCHEMA = "shedder.status-page/1"


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


@dataclass(frozen=True, slots=True)
class PageWork:
    """One line of the page.

    Attributes:
        noun: What the business calls it.
        state: `failing`, `delayed`, `on hold`, `some failed`, `not known` or `fine`.
        late: Jobs that are late.
        failed_in_minute: Attempts that failed in the last minute; None when that is not known.
        oldest_seconds: How long the oldest job has waited; None when none waits.
        expected_end: When it will be done, as far as that can be told.
    """

    noun: str
    state: str
    late: int
    failed_in_minute: int | None
    oldest_seconds: int | None
    expected_end: datetime | None


def draft_update(shed: Shedder, policy: Policy, incident: Incident, *, audience: str, now: datetime) -> Draft:
    """The update as it would be posted at `now`."""
    every = policy.incident.update_every_for(incident.severity)
    told = [each.at for each in incident.updates if each.audience == audience]
    events = shed.incidents.timeline(incident.id)
    undone = taken_back(events, policy, since=max(told, default=incident.opened_at))
    situation = replace(read_situation(shed, policy, incident, next_update=now + every), taken_back=undone)
    situation = replace(situation, brought_back=brought_back(events, policy))
    return Draft(situation, compose(situation, audience=audience), audience, now + every)


def joined(said: str | None, computed: str) -> str:
    """What a person says and what was computed, as sentences: half a sentence gets its full stop."""
    own = (said or "").strip()
    stop = "" if not own or own.endswith((".", "!", "?", ":", ";", "\u2026")) else "."
    return f"{own}{stop} {computed}".strip()


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
        return _with_update(it, draft.text, replace(draft, next_update=following), by=SYSTEM, is_automatic=True)

    return _record(shed, incident, draft, decide, reason=draft.text, by=SYSTEM, is_automatic=True)


def write_page(folder: Path, situation: Situation, incident: Incident | None, *, templates: str | None = None) -> None:
    """Write the page into `folder`, which is made; each file appears whole.

    Raises:
        ShedderError: the template is broken, or the folder cannot be written.
    """
    works = tuple(_page_work(work, situation.at) for work in situation.works)
    text = compose(situation, audience=STAKEHOLDERS)
    page = render(
        environment_for(templates),
        PAGE_TEMPLATE,
        {"it": situation, "incident": incident, "works": works, "text": text,
         "headline": _headline([work.state for work in works]),
         "is_fine": bool(works) and all(work.state == "fine" for work in works)},
    )  # fmt: skip
    plain = _page_document(situation, incident, works, text)
    document = f"{json.dumps(plain, default=datetime.isoformat, indent=1)}\n"
    with writing_into(folder):
        for name, content in zip(PAGE_FILES, (page, document), strict=True):
            write_whole(folder / name, content.encode("utf-8", "replace"))


def _record(shed: Shedder, incident: str, draft: Draft, decide: Decide, **more: Any) -> IncidentReceipt:
    """Change the record; the numbers behind the update stand in its event."""
    works = [
        {"noun": work.noun, "late": work.late, "may_be_late": work.doubt is not None, "waiting": work.waiting,
         "failed": work.failed,
         "oldest": None if work.oldest is None else int(work.oldest.total_seconds()),
         "tenants": work.tenants}
        for work in draft.situation.works
    ]  # fmt: skip
    return shed.incidents.change(
        decide, verb="incident update", incident=incident, audience=draft.audience, works=works, **more
    )


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
        accepted = f"a text of at most {LONGEST_TEXT:,} characters that is not empty"
        raise InvalidInput(name="update", value=said[:50], accepted=accepted)
    return said


def _page_document(
    situation: Situation, incident: Incident | None, works: tuple[PageWork, ...], text: str
) -> dict[str, Any]:
    """The page as plain values; no names of people, no names of queues."""
    return {
        "schema": PAGE_SCHEMA,
        "at": situation.at,
        "next_update": situation.next_update,
        "text": text,
        "incident": None if incident is None else {
            "id": incident.id, "title": incident.title, "severity": incident.severity,
            "state": incident.state, "opened_at": incident.opened_at,
            "updates": [{"at": each.at, "text": each.text}
                        for each in incident.updates if each.audience == STAKEHOLDERS],
        },
        "works": [asdict(work) for work in works],
    }  # fmt: skip


def _page_work(work: MeasuredWorkload, at: datetime) -> PageWork:
    return PageWork(
        noun=work.noun,
        state=_state(work),
        late=work.late,
        failed_in_minute=work.outcomes.failed_in_minute if work.outcomes else None,
        oldest_seconds=None if work.oldest is None else int(work.oldest.total_seconds()),
        expected_end=expected_end(work, at) if work.is_late else None,
    )


_HEADLINES = {
    "failing": "Some work fails",
    "delayed": "Some work is delayed",
    "on hold": "Some work is on hold",
    "some failed": "Some jobs have failed",
    "not known": "Not all is known",
    "fine": "All is well",
}
"""By state, the worst first."""


def _state(work: MeasuredWorkload) -> str:
    states = {
        "failing": work.is_failing,
        "delayed": work.is_late or work.is_overdue,
        "on hold": work.held or work.is_paused,
        "some failed": work.has_failed,
        "not known": not work.is_well,
    }
    return next((state for state, holds in states.items() if holds), "fine")


def _headline(states: Sequence[str]) -> str:
    """What the page says on top while no incident is open; "All is well" only if that is known of all work."""
    return next((text for state, text in _HEADLINES.items() if state in states), "No work is known")
