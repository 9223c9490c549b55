"""Records become the documented JSON."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from importlib.resources import files

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shedder.cli.output import document, json_text, jsonable
from shedder.events import Event
from shedder.health.audit import AuditReport
from shedder.queues.pause import PausedLane, PauseReceipt
from shedder.selection import Selection
from shedder.units import Rate
from tests.cli.schema_writer import all_schemas, written

AT = datetime(2026, 11, 23, 3, 11, tzinfo=timezone(timedelta(hours=1)))


@pytest.mark.parametrize(("name", "schema"), all_schemas().items())
def test_the_schema_files_follow_from_the_records(name, schema):
    """A changed record has changed its schema: `python -m tests.cli.schema_writer` writes them."""
    jsonschema.Draft202012Validator.check_schema(schema)
    assert written(schema) == (files("shedder") / "schemas" / f"{name}.json").read_text()


def test_every_schema_names_itself_and_its_number():
    """The `$id` and the title end in the name that the object says; a number is behind it."""
    for name, schema in all_schemas().items():
        if name != "policy":  # a file that people write: its form has a field for the version
            said = schema["properties"]["schema"]["const"].removeprefix("shedder.")
            assert (f"urn:shedder:{said.replace('/', ':')}", f"shedder.{said}") == (
                schema["$id"], schema["title"])  # fmt: skip
            assert said.startswith(f"{name}/")
            assert int(said.partition("/")[2]) >= 1


def test_every_part_of_a_schema_is_described():
    """Who reads a schema learns what each field of a record means."""
    pause = all_schemas()["pause"]["properties"]
    assert [] == [name for name, each in pause.items() if not each.get("description", name == "schema")]


def test_times_are_utc_and_records_keep_their_shape():
    """Times are ISO 8601 in UTC, tuples are arrays, nothing is null."""
    receipt = PauseReceipt("1-0", AT, None, (PausedLane("mail", 3),), (), ())
    lane = {"lane": "mail", "waiting": 3, "replaced": None, "parked": 0, "restored": None}
    assert {
        "schema": "shedder.pause/1", "event": "1-0", "at": "2026-11-23T02:11:00Z", "until": None,
        "lanes": [lane], "running": [], "workers": [], "still_running": None, "resumed": [],
    } == document("pause/1", receipt, still_running=None)  # fmt: skip


def test_rates_and_selections_are_told_as_they_are_typed():
    """A rate is its text, a selection has its criteria and a text for a person."""
    selection = Selection.parse(functions="app.*", meta="tenant=acme", older_than="1h")
    assert "200/second" == jsonable(Rate(200))
    assert {
        "describes": "function app.*, meta tenant=acme, older than 1h",
        "functions": ["app.*"], "meta": {"tenant": "acme"}, "older_than_seconds": 3600.0, "any_of": [],
    } == jsonable(selection)  # fmt: skip


def test_what_follows_from_a_record_is_told_too():
    """Properties that are a number, a truth or a text are part of the object."""
    assert jsonable(AuditReport(AT, 0, {}))["is_clean"] is True
    assert jsonable(Event("1-0", AT, "scan", "", "", ()))["can_undo"] is False


@given(st.text(), st.datetimes(timezones=st.just(UTC)))
def test_every_text_survives(text, at):
    """Whatever a name holds, the output is ASCII, and JSON gives the same text back."""
    line = json_text(document("event/1", Event("1-0", at, text, text, text, (text,))), is_line=True)
    assert line.isascii()
    assert [line] == line.splitlines()
    assert text == json.loads(line)["why"]
