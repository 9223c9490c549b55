"""The status page: one HTML file for people, and one of JSON for programs."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from shedder.errors import ShedderError
from shedder.incident.records import Incident
from shedder.postmortem.writing import environment_for, render, write_whole
from shedder.updates.sentences import compose, expected_end
from shedder.updates.situation import STAKEHOLDERS, MeasuredWorkload, Situation

TEMPLATE = "status.html.j2"
FILES = ("index.html", "status.json")
SCHEMA = "shedder.status-page/1"


@dataclass(frozen=True, slots=True)
class PageWork:
    """One line of the page.

    Attributes:
        noun: What the business calls it.
        state: `delayed`, `on hold`, `not known` or `fine`.
        late: Jobs that are late.
        oldest_seconds: How long the oldest job has waited; None when none waits.
        expected_end: When it will be done, as far as that can be told.
    """

    noun: str
    state: str
    late: int
    oldest_seconds: int | None
    expected_end: datetime | None


def write_page(folder: Path, situation: Situation, incident: Incident | None, *, templates: str | None = None) -> None:
    """Write the page into `folder`, which is made; each file appears whole.

    Raises:
        ShedderError: the template is broken, or the folder cannot be written.
    """
    works = tuple(_page_work(work, situation.at) for work in situation.works)
    text = compose(situation, audience=STAKEHOLDERS)
    page = render(
        environment_for(templates),
        TEMPLATE,
        {"it": situation, "incident": incident, "works": works, "text": text,
         "is_fine": all(work.state == "fine" for work in works),
         "is_delayed": any(work.state in ("delayed", "on hold") for work in works)},
    )  # fmt: skip
    plain = _document(situation, incident, works, text)
    document = f"{json.dumps(plain, default=datetime.isoformat, indent=1)}\n"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in zip(FILES, (page, document), strict=True):
            write_whole(folder / name, content.encode("utf-8", "replace"))
    except OSError as error:
        raise ShedderError(f"{folder} cannot be written: {error.strerror or error}") from error


def _document(
    situation: Situation, incident: Incident | None, works: tuple[PageWork, ...], text: str
) -> dict[str, Any]:
    """The page as plain values; no names of people, no names of queues."""
    return {
        "schema": SCHEMA,
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
    state = "delayed" if work.is_late else "on hold" if work.held else "not known" if work.doubt else "fine"
    return PageWork(
        noun=work.noun,
        state=state,
        late=work.late,
        oldest_seconds=None if work.oldest is None else int(work.oldest.total_seconds()),
        expected_end=expected_end(work, at) if work.is_late else None,
    )
