"""The record of an incident is written whole and once, and left alone when it is damaged."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from shedder.api.shedder import Shedder
from shedder.errors import ConditionNotMet, InvalidInput, NothingMatched, RecordUnreadable
from shedder.events import Cause
from shedder.incident.lifecycle import new_incident
from shedder.incident.store import LARGEST_RECORD, EventDraft, incident_record, write_incident
from tests.features.incidents import AT, FULL, note

if TYPE_CHECKING:
    from redis import Redis

    from shedder.embedded import EmbeddedServer

WHO = Cause("ana@desk", "why")


@pytest.fixture
def shedder(redis: Redis) -> Shedder:
    return Shedder(redis, by="ana@desk")


@pytest.mark.parametrize(
    "changes",
    [
        {"v": 2},
        {"severity": True},
        {"severity": "2"},
        {"opened_at": "now"},
        {"opened_at": 1e300},
        {"roles": {}},
        {"roles": [{"role": "king", "person": "a", "since": 1}]},
        {"notes": [5]},
        {"review": []},
    ],
)
def test_a_damaged_record_is_named_and_left_alone(shedder: Shedder, redis: Redis, changes: dict[str, Any]) -> None:
    """What cannot be read is refused in one sentence, and nothing is written over it."""
    identifier = shedder.incidents.open("late", severity=2).incident.id
    key = shedder.keys.incident(identifier)
    before = json.dumps({**incident_record(FULL), **changes})
    redis.set(key, before)
    with pytest.raises(RecordUnreadable, match=f"the record of the incident {identifier} cannot"):
        shedder.incidents.change(note("x"), verb="note", reason="x", incident=identifier)
    assert (before.encode(), 1) == (redis.get(key), redis.xlen(shedder.keys.events))


def test_opening_writes_record_and_event_in_one_step(shedder: Shedder, redis: Redis) -> None:
    """Both say the same, at the same time by the server's clock."""
    redis.config_resetstat()
    receipt = shedder.incidents.open("late", severity=2, commander="bob@desk", by="ana@desk")
    assert 1 == redis.info("commandstats")["cmdstat_xadd"]["calls"]
    (event,) = shedder.events()
    incident = receipt.incident
    assert (receipt.event, incident.id) == (event.id, event.incident)
    assert ("incident open", "ana@desk", "late", ()) == (
        event.verb, event.by, event.why, event.lanes,
    )  # fmt: skip
    assert receipt.at == event.at == incident.opened_at == incident.detected_at
    assert f"{event.at:%Y-%m-%d}-1" == incident.id
    assert ("bob@desk", "open", 1) == (incident.commander, incident.state, incident.revision)
    assert incident == shedder.incidents.current() == shedder.incidents.read(incident.id)
    assert {**event.after, "v": 1, "revision": 1} == incident_record(incident)


def test_a_second_incident_must_be_asked_for(shedder: Shedder, redis: Redis) -> None:
    """While one is open another is refused, and nothing is changed; the worst one is current."""
    first = shedder.incidents.open("late", severity=3).incident
    kept = redis.dump(shedder.keys.incidents)
    with pytest.raises(ConditionNotMet, match=f"{first.id} is open; .*--also"):
        shedder.incidents.open("gone", severity=1)
    assert (kept, 1) == (redis.dump(shedder.keys.incidents), len(shedder.events()))
    second = shedder.incidents.open("gone", severity=1, also=True).incident
    assert (first.id[:-1], "2") == (second.id[:-1], second.id[-1])
    assert (second, first) == shedder.incidents.open_ones()
    assert (second, first) == shedder.incidents.list()
    assert (second,) == shedder.incidents.list(limit=1)


def test_of_many_who_open_at_once_one_does(server: EmbeddedServer, redis: Redis) -> None:
    """Whoever is slower is told which incident there is."""
    outcomes: list[str] = []
    barrier = threading.Barrier(4)

    def work() -> None:
        with server.client() as client:
            incidents = Shedder(client, by="somebody").incidents
            barrier.wait()
            try:
                outcomes.append(incidents.open("late", severity=2).incident.id)
            except ConditionNotMet as error:
                outcomes.append(error.found)

    threads = [threading.Thread(target=work) for _ in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    (opened,) = [each.id for each in Shedder(redis).incidents.list()]
    assert sorted([opened, *3 * [f"the incident {opened} is open"]]) == sorted(outcomes)


def test_of_many_notes_at_once_none_is_lost(server: EmbeddedServer, shedder: Shedder) -> None:
    """Who was slower decides again, on the record of who was faster."""
    shedder.incidents.open("late", severity=2)
    barrier = threading.Barrier(4)

    def work(name: str) -> None:
        with server.client() as client:
            incidents = Shedder(client, by=name).incidents
            barrier.wait()
            for each in range(5):
                incidents.change(note(f"{name} {each}"), verb="note", reason="found")

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    notes = shedder.incidents.read().notes
    assert [*range(1, 21)] == [each.number for each in notes]
    assert {f"{name} {each}" for name in "abcd" for each in range(5)} == {e.text for e in notes}
    told = [event.after["notes"][0]["text"] for event in shedder.events() if event.verb == "note"]
    assert [each.text for each in notes] == told


def test_a_reply_that_was_lost_is_no_second_change(shedder: Shedder) -> None:
    """The same step, sent again, returns what the first returned and writes nothing."""
    made = new_incident("day", "late", severity=2, by="ana@desk", now=AT)
    command = write_incident(shedder.keys, None, made, EventDraft("incident open", WHO), operation="o")
    first = shedder.store.run(command)
    assert first is not None
    assert first == shedder.store.run(command)
    assert 1 == len(shedder.events())


def test_a_change_that_changes_nothing_writes_nothing(shedder: Shedder, redis: Redis) -> None:
    """Its receipt has no event."""
    opened = shedder.incidents.open("late", severity=2).incident
    receipt = shedder.incidents.change(lambda incident, _: incident, verb="note", reason="x")
    assert ("", opened, 1) == (receipt.event, receipt.incident, len(shedder.events()))


def test_without_an_incident_there_is_none(shedder: Shedder) -> None:
    """To ask is no error; to change one that is not there is."""
    assert (None, ()) == (shedder.incidents.current(), shedder.incidents.list())
    with pytest.raises(NothingMatched, match="there is no open incident"):
        shedder.incidents.read()
    shedder.incidents.open("late", severity=2)
    with pytest.raises(NothingMatched, match=r"no incident x; known: \d{4}-"):
        shedder.incidents.change(note("x"), verb="note", reason="x", incident="x")


def test_a_record_cannot_grow_without_end(shedder: Shedder, redis: Redis) -> None:
    """What would be too large is refused in one sentence, and the record is as it was."""
    incident = shedder.incidents.open("late", severity=2).incident
    with pytest.raises(InvalidInput, match="at most 524,288"):
        shedder.incidents.change(note("x" * LARGEST_RECORD), verb="note", reason="x")
    assert incident == shedder.incidents.read()


def test_opening_works_when_redis_is_full(shedder: Shedder, server_factory: Any) -> None:
    """An incident may well be that memory is full."""
    with server_factory().client() as client:
        full = Shedder(client, by="ana@desk")
        full.incidents.open("late", severity=2)
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", 1)
        full.incidents.change(note("memory is full"), verb="note", reason="x")
        full.incidents.open("memory is full", severity=1, also=True)
        assert 2 == len(full.incidents.open_ones())


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"title": " "}, "title"),
        ({"title": "x" * 201}, "title"),
        ({"title": "\x1b[2J"}, "title"),
        ({"severity": 0}, r"1 \(worst\) to 5"),
        ({"severity": 6}, r"1 \(worst\) to 5"),
        ({"times": {"opened": timedelta(minutes=5)}}, "not in the future"),
        ({"times": {"detected": timedelta(minutes=5)}}, "not in the future"),
        ({"times": {"lunch": timedelta()}}, "began, detected, opened"),
        ({"times": {"detected": timedelta(minutes=-9), "began": timedelta(minutes=-5)}}, "not before began"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_written(
    shedder: Shedder, redis: Redis, how: dict[str, Any], says: str
) -> None:
    """Each refusal is one sentence, and Redis stays empty."""
    now = datetime.now(UTC)
    times = {name: now + at for name, at in how.pop("times", {}).items()}
    with pytest.raises(InvalidInput, match=says):
        shedder.incidents.open(**{"title": "late", "severity": 2, "times": times, **how})
    assert [] == redis.keys("*")


def test_an_incident_may_have_begun_before_it_was_opened(shedder: Shedder) -> None:
    """The times that are known are given when it is opened."""
    now = datetime.now(UTC).replace(microsecond=0)
    times = {"began": now - timedelta(minutes=38), "opened": now - timedelta(minutes=3)}
    incident = shedder.incidents.open("late", severity=2, times=times).incident
    assert (times["began"], times["opened"]) == (incident.began_at, incident.opened_at)
    assert incident.opened_at == incident.detected_at
