"""Every part that tells of an event knows what it means."""

from __future__ import annotations

import ast
import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from shedder.cli.events import event_line
from shedder.events import SYSTEM, VERBS, Event
from shedder.policy.model import IncidentPolicy
from shedder.postmortem.narrative import timeline_of
from shedder.updates.messages import messages_of
from tests.unit.postmortems import INCIDENT, at

SOURCES = Path(__file__).parents[2] / "src" / "shedder"
WRITERS = {"event_head", "head_of_step", "EventDraft", "_change"}
NAMES = {"verb", "VERB", "BEGAN", "ENDED"}


def an_event(verb: str, by: str = "oncall@desk", lanes: tuple[str, ...] = ("mail",)) -> Event:
    return Event("1-1", at(20), verb, by, "", lanes)


def told(event: Event) -> list[str]:
    return [each.text for each in messages_of(INCIDENT, [event], IncidentPolicy(), at(21))
            if each.name == "event-1-1"]  # fmt: skip


def written_by_scripts() -> set[str]:
    texts = [path.read_text(encoding="utf-8") for path in SOURCES.rglob("*.lua")]
    return {verb for text in texts for verb in re.findall(r"\bverb = '([^']+)'", text)}


def written_by_python() -> set[str]:
    found: set[str] = set()
    for path in SOURCES.rglob("*.py"):
        if "cli" in path.parts:  # whose verbs are those of the command line
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            found |= verbs_in(node)
    return found


def verbs_in(node: ast.AST) -> set[str]:
    """What a part of the code gives an event as its verb."""
    if isinstance(node, ast.keyword) and node.arg == "verb":
        return texts_of(node.value)
    if isinstance(node, ast.Assign) and NAMES & {getattr(each, "id", "") for each in node.targets}:
        return texts_of(node.value)
    called = getattr(node, "func", None)
    if WRITERS & {getattr(called, "id", ""), getattr(called, "attr", "")} and (given := getattr(node, "args", [])):
        return texts_of(given[0])
    return set()


def texts_of(value: ast.expr) -> set[str]:
    either = [value.body, value.orelse] if isinstance(value, ast.IfExp) else [value]
    return {str(each.value) for each in either if isinstance(each, ast.Constant)}


def test_each_verb_that_is_written_has_a_row_and_each_row_is_written() -> None:
    """By a script or in Python; the table knows them all, and none that is gone."""
    written = (written_by_scripts() | written_by_python()) - {""}
    assert {"pause", "drained", "mitigate started", "role take"} <= written
    assert set(VERBS) == written


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_is_told_as_a_sentence(verb: str) -> None:
    """No post-mortem says `policy apply`, as if that were what somebody did."""
    for moment in timeline_of(INCIDENT, [an_event(verb)]):
        assert verb != moment.what
        assert "{" not in moment.what


def test_a_verb_that_is_not_known_says_its_name() -> None:
    """One of a newer shedder stops nobody, whatever it is."""
    (moment,) = timeline_of(INCIDENT, [an_event("{made} up")])
    assert "{made} up" == moment.what
    assert "{made} up mail" in event_line(an_event("{made} up")).plain
    assert [] == told(an_event("{made} up"))


@pytest.mark.parametrize("verb", ["policy apply", "replay", "uninstall"])
def test_the_main_channel_hears_of_each_decision(verb: str) -> None:
    """As it hears of a pause or a divert: each changes which jobs start."""
    assert told(an_event(verb))


def test_what_the_system_did_is_told_as_its_own() -> None:
    """It is not somebody without a role."""
    assert ["shedder: put the backlog of mail back"] == told(an_event("restore", SYSTEM))


@pytest.mark.parametrize("verb", ["pause expired", "drained", "set aside"])
def test_what_ends_by_itself_is_done_by_nobody_in_a_post_mortem(verb: str) -> None:
    """Its event has the name of who ordered it, who may be asleep by then."""
    (moment,) = timeline_of(INCIDENT, [an_event(verb)])
    assert SYSTEM == moment.who


def test_a_pause_that_expired_says_no_number_that_it_does_not_have() -> None:
    """Nobody counts the jobs when a pause expires; `0 jobs waiting` would be a lie."""
    assert "waiting" not in event_line(an_event("pause expired")).plain


@pytest.mark.parametrize("verb", [name for name, row in VERBS.items() if row.is_of_incident and row.undo])
def test_what_was_taken_back_is_told_as_taken_back(verb: str) -> None:
    """The event of such an undo has the verb of what it undoes, and must not be told as that."""
    undo = replace(an_event(verb), id="9-2", undoes=an_event(verb).id)
    first, then = timeline_of(INCIDENT, [an_event(verb), undo])
    assert ", undone at " in first.what
    assert then.what.startswith("took ")
    assert not first.what.startswith(then.what)
    assert f"undo {verb}" in event_line(undo, is_plain=True).plain
    assert event_line(an_event(verb), is_plain=True, is_undone=True).plain.endswith("  undone")


def test_an_undo_of_a_pause_is_told_as_an_undo() -> None:
    """A timeline says that the lanes go on, and that somebody undid something."""
    undo = replace(an_event("resume"), undoes="1-1")
    told = [*timeline_of(INCIDENT, [undo]), *timeline_of(INCIDENT, [replace(undo, details={"undid": "pause"})])]
    assert told[0].what.startswith("undid an earlier change: resumed mail")
    assert told[1].what.startswith("undid an earlier pause: resumed mail")


def test_a_restore_of_several_lanes_is_one_line() -> None:
    """Its events are one for each backlog; the lanes and the numbers are those of all."""
    restore = replace(an_event("restore"), lanes=("mail",), before={"mail": {"backlog": 2}}, undoes="1-1")
    other = replace(restore, id="9-9", lanes=("mail.low",), before={"mail.low": {"backlog": 3}})
    later = replace(restore, id="9-10", at=restore.at + timedelta(minutes=1))
    first, second = timeline_of(INCIDENT, [restore, other, later])
    assert ((other.id,), ()) == (first.also, second.also)
    assert all(lane in first.what for lane in ("mail", "mail.low"))
