"""What `shedder incident` shows, refuses, and hands over as JSON."""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from shedder import Shedder
from shedder.cli.incident_view import effect_texts
from shedder.incident.records import Effect, Reading, Yardstick
from tests.cli.conftest import OPEN, all_keys


def test_it_shows_how_it_stands(invoke, mail):
    """How far, who does what, who is missing, what was found, what to type next."""
    invoke(*OPEN, "--began", "38m")
    invoke("incident", "note", "replica lags", "--by", "eve@desk")
    done = invoke("incident", "show")
    assert re.match(r"Incident \S+ is open\.", done.lines[0])
    assert "Severity 2: receipts are hours late." == done.lines[1]
    assert re.match(r"Began (\S+ )?\d\d:\d\d UTC \(38m .*ago\), detected", done.lines[2])
    assert re.search(r"commander +ana@desk", done.out)
    assert re.search(r"operations +nobody", done.out)
    assert re.search(r"\d\d:\d\d eve@desk: replica lags", done.out)
    listed = invoke("incident", "list")
    assert re.search(r"open +2 .* ana@desk +receipts are hours late", listed.out)


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("incident open late -s 9", 2, "1 (worst) to 5"),
        ("incident open late -s 2", 3, "--also"),
        ("incident open late", 2, "--severity"),
        ("incident open late -s 2 --also --began 2099-01-01", 2, "not in the future"),
        ("incident open late -s 2 --also --began soon", 2, "02:11"),
        ("incident take king", 2, "commander, operations"),
        ("incident take commander", 3, "ana@desk has the role commander"),
        ("incident assign operations ana@desk", 3, "--also"),
        ("incident accept", 3, "nobody has offered a role"),
        ("incident mitigated --at 2099-01-01T00:00", 2, "not in the future"),
        ("incident correct --resolved 1m", 2, "is not resolved yet"),
        ("incident close", 3, "not resolved"),
        ("incident show 2026-01-01-1", 3, "there is no incident 2026-01-01-1"),
        ("incident review", 2, "--well"),
        ("incident review --well x", 3, "is open; nothing was changed; resolve it first"),
        ("incident action add x --type wish", 2, "prevent, detect"),
        ("incident action add x --type detect --due 2020-01-01", 2, "in the past"),
        ("incident action done 1", 3, "action 1"),
        ("incident import /nowhere", 2, "No such file"),
        ("incident export --out /nowhere/x", 2, "No such file"),
    ],
)
def test_what_is_refused_is_one_line_and_changes_nothing(invoke, mail, redis, line, code, said):
    """The line says what would be accepted; Redis is byte for byte as it was."""
    invoke(*OPEN)
    before = all_keys(redis)
    done = invoke(*shlex.split(line))
    assert (code, 1) == (done.code, len(done.err.splitlines()))
    assert said in done.err
    assert before == all_keys(redis)


def test_without_an_incident_there_is_a_way_to_one(invoke):
    """Nothing to show is said in one line that names the command."""
    assert "shedder incident open" in invoke("incident", "show").err
    assert "shedder incident open" in invoke("incident", "list").err
    assert 3 == invoke("incident", "mitigated").code


def test_json_follows_its_schema(invoke, mail):
    """Each answer is one JSON object of a known shape."""
    assert "open" == invoke(*OPEN, "--json").json["incident"]["state"]
    invoke("pause", "mail", "-r", "x", "--by", "ana@desk")
    assert "ana@desk" == invoke("incident", "show", "--json").json["commander"]
    assert 1 == len(invoke("incident", "list", "--json").json["incidents"])
    events = invoke("incident", "timeline", "--json").json["events"]
    assert ["incident open", "pause"] == [event["verb"] for event in events]
    assert "commander" == invoke("events", "--json").json["events"][-1]["role"]
    added = invoke("incident", "action", "add", "x", "--type", "detect", "--json").json
    assert 1 == added["incident"]["actions"][0]["number"]
    assert 1 == len(invoke("incident", "action", "list", "--json").json["actions"])
    assert "incident" == invoke("undo", "-r", "x", "--json").json["kind"]
    assert invoke("incident", "export").json["events"]


def test_actions_are_listed_and_leave(invoke):
    """A table for people, and files for elsewhere."""
    invoke(*OPEN)
    invoke("incident", "action", "add", "Alarm", "--type", "detect", "-p", "1", "--due", "2w")
    assert re.search(r"1 +Alarm +detect +1 +- +20\d\d-", invoke("incident", "action", "list").out)
    assert "| 1 | Alarm |" in invoke("incident", "action", "export").out
    assert invoke("incident", "action", "export", "--format", "gh").out.startswith("gh issue create")
    assert 0 == invoke("incident", "action", "done", "1").code


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (Reading(9, 0, 700.0), Reading(9, 0, 30.0), "receipts late to in time (10m tolerated)"),
        (Reading(9, 0, 700.0), Reading(0, 9), "receipts late to put aside (10m tolerated)"),
        (Reading(9, 0, 700.0), Reading(9, 0, 900.0), "receipts late (10m tolerated)"),
        (Reading(9, 0, 70.0), Reading(0), "receipts in time (10m tolerated)"),
        (Reading(9, 0, 700.0), Reading(9, 0, 3.0, 1.0, 1.0, 9.0), "receipts late to failing (10m tolerated)"),
        (Reading(9, 0, 3.0), Reading(9, 0, 3.0, 1.0, 9.0, 0.1), "receipts in time to some failed (10m tolerated)"),
    ],
)
def test_an_effect_says_whether_the_business_can_bear_it(before, after, said):
    """In the words of the policy, where there is one."""
    effect = Effect("1-1", "pause", 300.0, {"mail": before}, {"mail": after})
    (text,) = effect_texts(effect)
    assert "; " not in text
    (text,) = effect_texts(replace(effect, yardsticks={"mail": Yardstick("receipts", 600.0)}))
    assert said == text.partition("; ")[2]


def test_an_effect_says_that_it_made_jobs_fail():
    """What ends well and what fails stand apart."""
    before, after = Reading(9, 0, 7.0, 1.0, 5.0, 0.0), Reading(9, 0, 3.0, 1.0, 0.0, 50.0)
    (text,) = effect_texts(Effect("1-1", "drain", 300.0, {"mail": before}, {"mail": after}))
    assert re.search(r"out 5(\.0)?/s to 0(\.0)?/s, failing 0(\.0)?/s to 50(\.0)?/s$", text), text


def test_a_time_of_day_in_a_correction_is_of_the_day_of_the_incident(invoke, redis):
    """In the review the next day, `23:50` is in the night of the incident."""
    opened = (datetime.now(UTC) - timedelta(hours=30)).replace(second=0, microsecond=0)
    Shedder(redis).incidents.open("late", severity=2, times={"began": opened - timedelta(hours=1), "opened": opened})
    noticed = opened - timedelta(minutes=5)
    done = invoke("incident", "correct", "--detected", f"{noticed:%H:%M}", "--json")
    assert noticed == datetime.fromisoformat(done.json["incident"]["detected_at"])
