"""What a post-mortem says in words is true, and free of names."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from shedder.events import Event
from shedder.incident.records import Note
from shedder.policy.model import Rule
from shedder.policy.workload import Workload
from shedder.postmortem.build import _summary, impact_of, postmortem_of
from shedder.postmortem.narrative import anonymize
from shedder.postmortem.plots import plots_of
from shedder.postmortem.writing import render_both
from shedder.queues.samples import Sample
from shedder.selection import Selection
from shedder.wording import pace
from tests.unit.postmortems import EVENTS, INCIDENT, at, material

ROLES = {"ana@desk": "commander", "ana": "operations"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ana@desk paused it", "commander paused it"),
        ("as Ana@Desk says.", "as commander says."),
        ("(ana)", "(operations)"),
        ("banana, ana@desktop, ana-lyse", "banana, ana@desktop, ana-lyse"),
        ("mail to joana@desk", "mail to joana@desk"),
    ],
)
def test_names_become_roles(text: str, said: str) -> None:
    """Whole names only, however they are written."""
    assert said == anonymize(text, ROLES)


def test_what_people_wrote_is_told_without_their_names() -> None:
    """Reasons, findings and updates; the event log keeps them."""
    notes = (
        Note(1, at(20), "bob@desk", "bob@desk sees replica lag", "database logs"),
        Note(2, at(21), "ana@desk", "it grows"),
    )
    events = tuple(replace(each, why="as ana@desk said") for each in EVENTS)
    found = postmortem_of(material(incident=replace(INCIDENT, notes=notes), events=events))
    assert (
        (at(20), "database logs", "communications sees replica lag"), (at(21), "", "it grows")
    ) == found.findings  # fmt: skip
    assert {"as commander said"} == {each.why for each in found.deeds}
    for text in render_both(found, ()).values():
        narrative = text.partition("Event log")[0]
        assert "What was found" in narrative
        assert "communications sees replica lag" in narrative
        assert "@desk" not in narrative


def told(verb: str, **more: Any) -> str:
    event = Event("7-1", at(20), verb, "bob@desk", "r", (), **more)
    return postmortem_of(material(events=(event,))).timeline[0].what


def test_the_timeline_says_which_role_and_what_was_corrected() -> None:
    """A line that says only that something was changed helps nobody."""
    database = {"role": "investigator", "task": "database logs", "person": "eve@desk"}
    assert "took the role operations" == told("role take", after={"roles": [{"role": "operations"}]})
    assert "left the role investigator (database logs)" == told(
        "role leave", before={"roles": [database]}, after={"past_roles": [database]}
    )
    assert "corrected severity 2 to 3" == told(
        "incident correct", before={"severity": 2}, after={"severity": 3, "severities": [1]}
    )
    assert "corrected began and title" == told("incident correct", after={"began_at": 1, "title": "late"})
    assert "took the role" == told("role take", after={"roles": "damaged"})


def test_a_drain_that_was_halted_is_a_deed_with_its_numbers() -> None:
    """The program did it, and plots show its letter."""
    halted = Event("7-1", at(20), "drain halted", "shedder", "r", ("mail",), details={"failed": 25, "ended": 50},
                   after={"mail": {"backlog": 3000}})  # fmt: skip
    (line,) = postmortem_of(material(events=(halted,))).timeline
    assert ("shedder", "A", True) == (line.who, line.mark, line.is_deed)
    assert line.what.endswith("(25 of the last 50 jobs failed, 3,000 jobs in the backlog)")
    drained = replace(halted, verb="drained", details={}, after={"released": 7})
    assert "(7 jobs released)" in postmortem_of(material(events=(drained,))).timeline[0].what


@pytest.mark.parametrize(
    ("details", "said"),
    [
        ({"outcome": "done", "seconds": 2.0}, "(done after 2 s)"),
        ({"outcome": "failed", "exit_code": 4, "seconds": 61.0},
         "(failed with exit code 4 after 1 min)"),
        ({"outcome": "end not recorded"}, "(end not recorded)"),
    ],
)  # fmt: skip
def test_a_mitigation_is_told_with_its_end(details: dict[str, Any], said: str) -> None:
    """That it ran is not that it helped."""
    assert f"ran the mitigation rollback {said}" == told("mitigate", details={"mitigation": "rollback", **details})


def test_work_with_late_jobs_is_not_called_unaffected() -> None:
    """Also where no sample was taken just then."""
    late = replace(impact_of("exports", timedelta(hours=1), {}, ()), late_jobs=5)
    said = _summary(INCIDENT, at(0), at(10), [late], ())
    assert ("About 5 exports were late." in said, "Not late" in said) == (True, False)


def test_work_of_which_nothing_is_known_is_not_called_unaffected() -> None:
    """Where its lanes were late and nobody counted whose jobs those were, the document says so."""
    receipts = replace(impact_of("receipts", timedelta(minutes=5), {}, ()), late_jobs=None, is_known=False)
    said = _summary(INCIDENT, at(0), at(10), [receipts], ())
    assert ("Not known: whether receipts were late." in said, "Not late" in said) == (True, False)


@pytest.mark.parametrize(("waited", "counted", "is_known"), [(200, 0, True), (400, 0, False), (400, 7, True)])
def test_whether_work_was_late_is_known_by_its_lanes_or_by_a_count(waited: int, counted: int, is_known: bool) -> None:
    """Jobs of a backlog may have been its own, too."""
    rule = Rule("mail", Selection(functions=("*.receipt",)), label="receipts", tolerance=timedelta(minutes=5))
    kind = Workload("receipts", timedelta(minutes=5), ("mail",), rule)
    samples = {"mail": tuple(Sample(at(n), 0, 9, 0, 0, waited, n, n) for n in range(50, 151))}
    found = material(kinds=(kind,), samples=samples, late={"receipts": counted})
    assert [is_known] == [each.is_known for each in postmortem_of(found).impacts]


def test_times_of_another_day_are_told_with_the_day() -> None:
    """Incidents like midnight."""
    hours = timedelta(hours=24)
    events = (*EVENTS, replace(EVENTS[1], id="9-9", at=at(10) + hours))
    incident = replace(INCIDENT, resolved_at=at(150) + hours)
    for text in render_both(postmortem_of(material(incident=incident, events=events)), ()).values():
        assert f"{at(10) + hours:%m-%d %H:%M:%S}" in text
        assert f"{at(15):%m-%d %H:%M:%S}" not in text.partition("Event log")[0]


@pytest.mark.parametrize(("longest", "unit"), [(20, "seconds"), (239, "seconds"), (300, "minutes"), (90_000, "hours")])
def test_a_plot_has_a_unit_that_fits(longest: int, unit: str) -> None:
    """A wait of twenty seconds is no third of a minute."""
    samples = [Sample(at(n), 1, 0, 0, longest * n, 0, n, n) for n in range(2)]
    assert f"Wait of the oldest job, in {unit}" in [each.title for each in plots_of({"mail": samples}, ())]


def test_nothing_a_second_is_nothing() -> None:
    """Not nothing an hour."""
    assert ("0/s", "1/h") == (pace(0), pace(1 / 3600))
