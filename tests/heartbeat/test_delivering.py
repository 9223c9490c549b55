"""Delivering messages takes a bounded time, whatever the channels do."""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING

from shedder import Shedder
from shedder.store.codec import server_time
from shedder.updates.channels import DELIVERING_SECONDS, SEND_SECONDS, Round, deliver
from shedder.updates.messages import MAIN, NOTES, Message
from shedder.updates.watcher import LEASE_SECONDS, ROUND_SECONDS
from tests.heartbeat.desk import POSTING, Desk

if TYPE_CHECKING:
    import pytest
    from redis import Redis

    from tests.heartbeat.sink import Sink


def messages(shed: Shedder, channel: str, count: int) -> list[Message]:
    at = server_time(shed.store)
    return [Message(f"{channel}-{each}", channel, "title", "text", at) for each in range(count)]


def test_channels_are_sent_to_side_by_side(shed: Shedder) -> None:
    """A channel that takes its time does not hold up the other."""
    both = threading.Barrier(2)

    def send(_channel: str, _title: str, _text: str) -> bool:
        both.wait(10)
        return True

    told = [*messages(shed, MAIN, 2), *messages(shed, NOTES, 2)]
    assert () == deliver(shed.store, "x", told, send, who="me")


def test_a_round_begins_no_message_when_its_time_is_over(shed: Shedder, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a slow channel has not got yet stays for the next round, and is not taken."""
    sent: list[str] = []

    def send(_channel: str, title: str, _text: str) -> bool:
        sent.append(title)
        return not threading.Event().wait(0.1)

    monkeypatch.setattr("shedder.updates.channels.DELIVERING_SECONDS", 0.25)
    told = messages(shed, MAIN, 20)
    assert () == deliver(shed.store, "x", told, send, who="me")
    first = len(sent)
    assert 1 <= first <= 4
    monkeypatch.setattr("shedder.updates.channels.DELIVERING_SECONDS", 60)
    deliver(shed.store, "x", told, send, who="another")
    assert 20 == len(sent)


def test_a_channel_that_hangs_is_left_alone_for_the_rest_of_a_round(shed: Shedder) -> None:
    """Of several incidents the first alone meets it."""
    asked: list[str] = []

    def send(channel: str, _title: str, _text: str) -> bool:
        asked.append(channel)
        return channel == NOTES

    now = Round()
    told = [*messages(shed, MAIN, 2), *messages(shed, NOTES, 1)]
    for incident in ("one", "two", "three"):
        deliver(shed.store, incident, told, send, who="me", within=now)
    assert (1, 3) == (asked.count(MAIN), asked.count(NOTES))


def test_a_round_is_shorter_than_the_lease() -> None:
    """Who leads asks again before another may lead, though all that is sent to hangs."""
    longest = DELIVERING_SECONDS + SEND_SECONDS + ROUND_SECONDS
    assert longest < LEASE_SECONDS


def test_incidents_whose_channels_hang_leave_the_lead_where_it_is(
    shed: Shedder, sink: Sink, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A round over several incidents waits for a channel once, and the lease is renewed."""
    monkeypatch.setattr("shedder.updates.channels.SEND_SECONDS", 0.5)
    sink.mood = {"main": "hang", "notes": "hang"}
    desk = Desk(shed, POSTING, sink)
    for title in ("second", "third", "fourth"):
        shed.incidents.open(title, severity=2, also=True)
    assert desk.look_at(16).is_leading
    assert {"main": 1, "notes": 1} == Counter(sink.asked)
    assert not desk.new_watcher("second").look().is_leading


def test_who_has_lost_the_lead_sends_nothing(desk: Desk, redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """A watcher that was held up before it sends leaves sending to who leads now."""
    look_after = desk.watcher._post_if_late

    def held_up(*args: object) -> object:
        redis.set(desk.shed.keys.watch_lease, "second", px=40_000)
        return look_after(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(desk.watcher, "_post_if_late", held_up)
    assert not desk.look_at(16).is_leading
    assert desk.sink is not None
    assert [] == desk.sink.taken
