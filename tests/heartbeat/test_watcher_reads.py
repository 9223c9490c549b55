"""A watcher reads of the journal what is new, and nothing twice."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from shedder import Shedder
from shedder.events import Tail, _event
from shedder.policy.model import Policy
from shedder.postmortem.build import material_of
from shedder.store.codec import server_time
from shedder.updates.messages import TOO_OLD

if TYPE_CHECKING:
    from redis import Redis

    from tests.heartbeat.desk import Desk

HEAD = {"v": 1, "verb": "pause", "by": "oncall@ops", "why": "r", "lanes": ["mail"]}


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of all events that are read from now on."""
    ids: list[str] = []
    parse = _event

    def counting(entry: Any) -> Any:
        ids.append(entry[0].decode())
        return parse(entry)

    monkeypatch.setattr("shedder.events._event", counting)
    return ids


def write(redis: Redis, shed: Shedder, identifier: str = "*", **head: Any) -> str:
    fields = {"head": json.dumps({**HEAD, **head}), "before": "{}", "after": "{}"}
    written: bytes = redis.xadd(shed.keys.events, fields, id=identifier)
    return written.decode()


def test_a_round_reads_what_has_come_since_the_one_before(desk: Desk, redis: Redis, read: list[str]) -> None:
    """However many events and incidents there are; and what is new is told."""
    for title in ("second", "third"):
        desk.shed.incidents.open(title, severity=2, also=True)
    for _ in range(300):
        write(redis, desk.shed, verb="set aside")
    desk.look_at(1)
    read.clear()
    desk.look_at(1.1)
    assert [] == read
    pause = desk.shed.pause("mail", reason="database at 99 %")
    desk.look_at(1.2)
    assert [pause.event] == read
    assert desk.sink is not None
    assert any("database at 99 %" in each for each in desk.sink.texts("main"))


def test_a_watcher_that_takes_over_tells_what_nobody_has_told(desk: Desk) -> None:
    """It begins an hour back, as far as anything is news."""
    desk.shed.pause("mail", reason="database at 99 %")
    desk.look_at(1, desk.new_watcher("second"))
    assert desk.sink is not None
    assert 1 == sum("database at 99 %" in each for each in desk.sink.texts("main"))


def test_what_is_no_news_any_more_is_forgotten(shed: Shedder, redis: Redis) -> None:
    """A watcher that runs for weeks does not grow."""
    now = server_time(shed.store)
    tail = Tail(shed.store, span=TOO_OLD, wanted=lambda each: each.verb == "pause")
    kept = write(redis, shed)
    write(redis, shed, verb="set aside")
    assert [kept] == [each.id for each in tail.read(now)]
    assert () == tail.read(now + TOO_OLD + timedelta(minutes=1))


def test_a_journal_that_was_lost_is_read_from_its_new_beginning(shed: Shedder, redis: Redis) -> None:
    """After a fail-over ids may be smaller than those that were seen."""
    now = server_time(shed.store)
    tail = Tail(shed.store, span=TOO_OLD, wanted=lambda _: True)
    ahead = int(now.timestamp() * 1000)
    write(redis, shed, f"{ahead + 5000}-0")
    tail.read(now)
    redis.delete(shed.keys.events)
    assert () == tail.read(now)
    new = write(redis, shed, f"{ahead}-1")
    assert [new] == [each.id for each in tail.read(now)]
    assert [new] == [each.id for each in tail.read(now)]


def test_events_of_one_millisecond_stay_in_their_order(shed: Shedder, redis: Redis) -> None:
    """The tenth comes after the ninth, though not as text."""
    incident = shed.incidents.open("late", severity=2).incident
    at = int(server_time(shed.store).timestamp() * 1000) + 1
    ids = [f"{at}-{number}" for number in range(8, 12)]
    for identifier in ids:
        write(redis, shed, identifier)
    found = material_of(shed, Policy(), incident).events
    assert ids == [each.id for each in found if each.id in ids]
