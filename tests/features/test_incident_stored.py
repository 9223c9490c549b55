"""Every field of an incident's record is read as it was written."""

from __future__ import annotations

import json
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shedder.errors import RecordUnreadable
from shedder.incident.records import NOW, Incident, Note
from shedder.incident.store import changes_between, incident_from, incident_record, record_text
from tests.features.incidents import AT, FULL


def test_every_field_is_kept() -> None:
    """A record with something in every field comes back as it was."""
    empty = [each.name for each in fields(Incident) if not getattr(FULL, each.name)]
    assert [] == empty
    assert FULL == incident_from(record_text(incident_record(FULL)))


def test_what_is_not_there_has_its_default() -> None:
    """A record from before a field was added is read; one without what must be there is not."""
    least = {"v": 1, "id": "a", "title": "t", "severity": 1, "opened_at": 5, "opened_by": "b"}
    assert "open" == incident_from(json.dumps(least)).state
    with pytest.raises(RecordUnreadable, match="it has no 'title'"):
        incident_from(json.dumps({**least, "title": None} | {"v": 1}).replace('"title"', '"x"'))


@given(st.text(st.characters(codec=None), min_size=1))
def test_any_text_is_kept_and_none_is_taken_for_the_time(text: str) -> None:
    """Whatever a note says, the time is put in where it belongs and nowhere else."""
    incident = replace(FULL, notes=(Note(1, NOW, "ana", text),))
    stored = record_text(incident_record(incident))
    assert 1 == stored.count("\x01")
    read = incident_from(stored.replace("\x01", "5000")).notes[0]
    shown = text.encode("utf-8", "replace").decode().replace("\x01", "?")
    assert (shown, 5) == (read.text, read.at.timestamp())


def test_an_event_tells_only_what_is_new() -> None:
    """Of a list the new items are told, of a field what it was and what it is."""
    more = Note(2, AT, "bob@desk", "more")
    after = incident_record(replace(FULL, severity=3, notes=(*FULL.notes, more)))
    before = incident_record(FULL)
    was, is_ = changes_between(before, after)
    assert ({"severity": 2, "notes": []}, 3) == (was, is_["severity"])
    assert ["more"] == [each["text"] for each in is_["notes"]]
