"""The record of an incident survives the loss of Redis by its copy."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from shedder.api.shedder import Shedder
from shedder.errors import ConditionNotMet, InvalidInput

if TYPE_CHECKING:
    from redis import Redis


@pytest.fixture
def shedder(redis: Redis) -> Shedder:
    shedder = Shedder(redis, by="ana@desk")
    shedder.incidents.open("late", severity=2, commander="ana@desk")
    shedder.pause("mail", reason="database", expires_in=timedelta(hours=1))
    shedder.incidents.note("found")
    return shedder


def copy_of(shedder: Shedder) -> dict[str, Any]:
    """The copy as it stands in a file."""
    copied: dict[str, Any] = json.loads(json.dumps(shedder.incidents.export()))
    return copied


def test_all_comes_back_after_redis_lost_it(shedder: Shedder, redis: Redis) -> None:
    """The record, the timeline with the ids of its events, and that it is open."""
    copy, before = copy_of(shedder), shedder.incidents.read()
    events = shedder.incidents.timeline()
    redis.flushall()
    receipt = shedder.incidents.bring_back(copy)
    after = shedder.incidents.read()
    assert before == receipt.incident == after == shedder.incidents.current()
    assert (*events, shedder.event(receipt.event)) == shedder.incidents.timeline()
    assert ("incident import", after.id) == (shedder.events()[-1].verb, shedder.events()[-1].incident)


def test_brought_back_twice_it_is_there_once(shedder: Shedder, redis: Redis) -> None:
    """Also when the first time ended in the middle, after some of the events."""
    copy = copy_of(shedder)
    redis.flushall()
    shedder.incidents.bring_back(copy)
    redis.delete(shedder.keys.incident(copy["incident"]["id"]))
    shedder.incidents.bring_back(copy)
    assert "" == shedder.incidents.bring_back(copy).event
    ids = [event.id for event in shedder.incidents.timeline()]
    assert sorted(set(ids)) == sorted(ids)


def test_an_incident_that_is_there_is_left_as_it_is(shedder: Shedder) -> None:
    """What was written since the copy is not lost to it."""
    copy = copy_of(shedder)
    shedder.incidents.note("more")
    before = shedder.incidents.read()
    with pytest.raises(ConditionNotMet, match=f"{before.id} is here already, in revision"):
        shedder.incidents.bring_back(copy)
    assert before == shedder.incidents.read()


@pytest.mark.parametrize(
    "changes",
    [
        {"schema": "shedder.incident-export/2"},
        {"incident": {}},
        {"incident": []},
        {"events": {}},
        {"events": [{"id": "x", "head": {}, "before": {}, "after": {}}]},
        {"events": [{"id": "1-1", "head": "", "before": {}, "after": {}}]},
        {"events": [5]},
    ],
)
def test_what_is_no_copy_is_refused(shedder: Shedder, redis: Redis, changes: dict[str, Any]) -> None:
    """In one sentence, and nothing is written."""
    copy = {**copy_of(shedder), **changes}
    redis.flushall()
    with pytest.raises(InvalidInput, match="shedder incident export"):
        shedder.incidents.bring_back(copy)
    assert [] == redis.keys("*")


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("v", 2, "of version 2"),
        ("id", "../x", "the id of no incident"),
        ("opened_at", 9_999_999_999_999, "not in the future"),
    ],
)
def test_a_record_that_cannot_be_is_refused(shedder: Shedder, redis: Redis, field: str, value: Any, says: str) -> None:
    """A newer version, a name that is none, a time to come."""
    copy = copy_of(shedder)
    copy["incident"][field] = value
    redis.flushall()
    with pytest.raises(InvalidInput, match=says):
        shedder.incidents.bring_back(copy)
    assert [] == redis.keys("*")
