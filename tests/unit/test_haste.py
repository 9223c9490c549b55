"""One decision is bounded as a whole, and Redis is left alone while it is away."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import redis

from shedder.settings.setting import AWAY_SECONDS
from shedder.settings.windows import DECISION_SECONDS, PATIENCE_SECONDS, Absence
from shedder.store.clients import SHORTEST_WAIT_SECONDS, TOLERATED_SECONDS, Deadline, deadline_client

if TYPE_CHECKING:
    import pytest

REPLIES = 12


class Clock:
    """A clock that passes when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class _Socket:
    """Remembers how long it may wait."""

    def settimeout(self, seconds: float) -> None:
        self.patience = seconds


class _Slow(redis.connection.AbstractConnection):
    """Every reply of this server comes just before the caller gives up."""

    clock = Clock()

    def __init__(self, **_: object) -> None:
        self._sock = None

    def __del__(self) -> None: ...

    def repr_pieces(self) -> list[tuple[str, str]]:
        return []

    def _host_error(self) -> str:
        return "nowhere"

    def _connect(self) -> _Socket:
        self.clock.now += self.socket_connect_timeout
        return _Socket()

    def connect(self) -> None:
        self._sock = self._connect()

    def send_packed_command(self, *_: object, **__: object) -> None: ...

    def read_response(self, *_: object, **__: object) -> None:
        self.clock.now += self._sock.patience


def test_many_slow_replies_together_take_no_longer_than_one_decision() -> None:
    """A connection, its handshake and the answer share one bound, however each of them dawdles."""
    haste = Deadline(PATIENCE_SECONDS, _Slow.clock)
    client = deadline_client(redis.Redis.from_pool(redis.ConnectionPool(connection_class=_Slow)), haste, patience=1.0)
    connection = client.connection_pool.make_connection()
    for _ in range(2):  # the second decision has a bound of its own
        began = _Slow.clock.now
        haste.begin()
        connection.connect()
        for _ in range(REPLIES):
            connection.send_packed_command(b"")
            connection.read_response()
        took = _Slow.clock.now - began
        most = PATIENCE_SECONDS + REPLIES * SHORTEST_WAIT_SECONDS + TOLERATED_SECONDS
        assert took <= most < DECISION_SECONDS


def test_each_thread_has_a_bound_of_its_own() -> None:
    """A thread that begins late does not take from one that began before."""
    clock = Clock()
    haste = Deadline(1.0, clock)
    haste.begin()
    clock.now += 0.75
    with ThreadPoolExecutor(1) as pool:
        assert 1.0 == pool.submit(lambda: (haste.begin(), haste.left)[1]).result()
    assert 0.25 == haste.left


def test_one_hit_a_second_asks_while_redis_is_away() -> None:
    """Who asks waits; all others are decided at once."""
    clock = Clock()
    absence = Absence(clock)
    assert [True, True] == [absence.may_ask() for _ in range(2)]
    absence.note_away(OSError("gone"))
    assert not absence.may_ask()
    for _ in range(3):
        clock.now += AWAY_SECONDS
        assert [True, False, False] == [absence.may_ask() for _ in range(3)]
    absence.note_back()
    assert absence.may_ask()


def test_the_log_says_each_change_once(caplog: pytest.LogCaptureFixture) -> None:
    """However many threads find it at once, and each time anew."""
    absence = Absence(Clock())
    with caplog.at_level(logging.WARNING, "shedder.limits"), ThreadPoolExecutor(8) as pool:
        for _ in range(2):
            list(pool.map(absence.note_away, [OSError("gone")] * 50))
            list(pool.map(lambda _: absence.note_back(), range(50)))
    said = ["without Redis" in record.message for record in caplog.records]
    assert [True, False, True, False] == said
