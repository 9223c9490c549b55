"""What matters of the journal is found, however many events lie before or behind it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from shedder.errors import CannotUndo
from shedder.events import Cause, event_head, read_copies
from shedder.policy.model import Policy
from tests.features.scene import Scene

if TYPE_CHECKING:
    from redis import Redis

WORKERS = 25
"""As many events as workers write here; the limits of what is read are smaller."""


@pytest.fixture
def scene(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> Scene:
    """Readers that take few events at most."""
    monkeypatch.setattr("shedder.incident.timeline.MOST_ATTRIBUTED", 20)
    monkeypatch.setattr("shedder.incident.timeline.MOST_EVENTS", 20)
    monkeypatch.setattr("shedder.api.shedder.MOST_EVENTS", 20)
    monkeypatch.setattr("shedder.events.EVENTS_PER_PAGE", 7)
    return Scene(redis)


def workers_write(scene: Scene, lane: str = "mail") -> None:
    head = event_head("set aside", Cause("shedder", "older than the policy allows"), (lane,))
    for _ in range(WORKERS):
        scene.redis.xadd(scene.keys.events, {"head": head, "before": "{}", "after": "{}"})


def nothing(_scene: Scene) -> None:
    """Nobody writes."""


around = pytest.mark.parametrize(
    ("before", "after"), [(workers_write, nothing), (nothing, workers_write)],
    ids=["behind-others", "before-others"],
)  # fmt: skip

Write = Callable[[Scene], None]


@around
def test_the_last_change_of_somebody_else_is_found(scene: Scene, before: Write, after: Write) -> None:
    """The newest change of a queue is the one that somebody may still be at work on."""
    before(scene)
    pause = scene.shedder.pause("mail", reason="r", by="eve@desk")
    after(scene)
    assert [pause.event] == [each.id for each in scene.shedder.changes_by_others("mail")]


@around
def test_the_checklist_knows_what_was_just_done(scene: Scene, before: Write, after: Write) -> None:
    """Without an incident too, and however busy the hour was."""
    before(scene)
    pause = scene.shedder.pause("mail", reason="r")
    after(scene)
    steps = {each.name: each for each in scene.shedder.triage(Policy()).steps}
    assert [pause.event] == [each.event for each in steps["pause"].done]


@around
def test_the_last_change_that_can_be_undone_is_found(scene: Scene, before: Write, after: Write) -> None:
    """Events that have no way back do not hide it."""
    before(scene)
    pause = scene.shedder.pause("mail", reason="r")
    after(scene)
    assert pause.event == scene.shedder.event_to_undo().id


def test_a_newer_pause_keeps_an_older_one_from_being_undone(scene: Scene) -> None:
    """However much has happened on the lane between the two."""
    first = scene.shedder.pause("mail", reason="r")
    workers_write(scene)
    scene.shedder.pause("mail", reason="r", by="eve@desk")
    with pytest.raises(CannotUndo, match=r"eve@desk has paused .* again since"):
        scene.shedder.undo(first.event, reason="r")


def test_a_timeline_that_is_too_long_keeps_its_end(scene: Scene) -> None:
    """Events of another incident count for nothing, and the newest are there."""
    incident = scene.shedder.incidents.open("late", severity=2).incident.id
    workers_write(scene)
    other = scene.shedder.incidents.open("other", severity=3, also=True).incident.id
    for number in range(WORKERS):
        scene.shedder.incidents.note(f"{number}", incident=other)
    pause = scene.shedder.pause("mail", reason="r")
    found = scene.shedder.incidents.timeline(incident)
    assert (20, pause.event) == (len(found), found[-1].id)


def test_copies_of_events_that_are_too_many_keep_their_end(scene: Scene) -> None:
    """As those of the journal itself."""
    head = json.dumps({"v": 1, "verb": "pause", "lanes": ["mail"]})
    for number in range(1, 6):
        fields = {"head": head, "before": "{}", "after": "{}"}
        scene.redis.xadd("copies", fields, id=f"{number}-0")
    found = read_copies(scene.shedder.store, "copies", limit=2)
    assert ["4-0", "5-0"] == [each.id for each in found]
