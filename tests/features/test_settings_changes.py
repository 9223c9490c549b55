"""An operator's change of flags and limits that is cut, killed, or one of two."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
import redis as redis_package

from shedder import Rate, Shedder
from shedder.errors import CannotUndo, RedisUnreachable
from tests.faults.faults_operators import counted_commands
from tests.faults.proxy import DROP_REPLY, TEAR
from tests.features.changes import check, count_of, prepare, proxy_to, state
from tests.waiting import PATIENCE_SECONDS

Act = Callable[[Shedder], object]

ACTS: dict[str, Act] = {
    "limit set": lambda it: it.set_limit("reports", Rate(9, 60), reason="r"),
    "limit set for a key": lambda it: it.set_limit("reports", Rate(9), key="t=a", reason="r"),
    "limit clear": lambda it: it.clear_limit("reports", reason="r"),
    "flag degrade": lambda it: it.degrade_flag("hints", percent=50, reason="r"),
    "flag degrade a group": lambda it: it.degrade_flag(group="spare", reason="r"),
    "flag restore": lambda it: it.restore_flag("hints", reason="r"),
    "undo": lambda it: it.undo(reason="r", by="ana@desk"),
}


@pytest.fixture
def proxy(server):
    with proxy_to(server) as made:
        yield made


@pytest.mark.parametrize("fault", [DROP_REPLY, TEAR])
@pytest.mark.parametrize("name", ACTS)
def test_a_reply_that_is_lost_or_torn_is_one_change(redis, proxy, name, fault):
    """A client that asks again by itself is told what happened the first time."""
    prepare(redis)
    client = redis_package.Redis(
        host="127.0.0.1", port=int(proxy.url.rpartition(":")[2]), socket_timeout=PATIENCE_SECONDS
    )
    client.ping()
    proxy.order(fault, times=1)
    done = ACTS[name](Shedder(client, by="oncall@ops"))
    client.close()
    assert 1 == proxy.came_true()
    assert [done.event] == [event.id for event in Shedder(redis).events()[2:]]
    check(redis)


@pytest.mark.parametrize("fault", [DROP_REPLY, TEAR])
@pytest.mark.parametrize("name", ACTS)
def test_a_client_that_does_not_ask_again_is_told_that_it_is_uncertain(redis, proxy, name, fault):
    """The change is there as a whole, with its event, and saying it once more is harmless."""
    prepare(redis)
    client = proxy.client(socket_timeout=PATIENCE_SECONDS)
    client.ping()
    proxy.order(fault, times=1)
    with pytest.raises(RedisUnreachable):
        ACTS[name](Shedder(client, by="oncall@ops"))
    client.close()
    assert 3 == count_of(redis)
    check(redis)


@pytest.mark.parametrize("name", ACTS)
def test_a_server_that_is_killed_in_a_change_has_all_of_it_or_nothing(server_factory, name):
    """It dies before each of the commands of the change in turn, and comes back with its data."""
    server = server_factory(appendonly=True)
    for number in range(10):
        with server.client() as client:
            client.flushall()
            prepare(client)
            before = state(client)
            with counted_commands(number, server.kill):
                died = _try(client, ACTS[name])
        server.restart()
        with server.client() as client:
            changed = count_of(client) - 2
            assert 0 <= changed <= 1
            assert changed or before == state(client)
            check(client)
        if not died:
            return
    pytest.fail("the change never came to its end")


def _try(client, act: Act) -> bool:
    """Whether the server was away before the end."""
    try:
        act(Shedder(client, by="oncall@ops"))
    except RedisUnreachable:
        return True
    return False


def test_of_two_operators_at_once_the_later_is_told_what_it_replaced(server, redis):
    """However they meet: one finds what stood before, the other finds the first one's."""
    prepare(redis)
    for _ in range(20):
        before = state(redis)["reports"]
        barrier = threading.Barrier(2)

        def change(rate, barrier=barrier):
            with server.client() as client:
                operator = Shedder(client, by=f"{rate}@desk")
                barrier.wait()
                return operator.set_limit("reports", Rate(rate, 60), reason="both")

        with ThreadPoolExecutor(2) as pool:
            receipts = list(pool.map(change, (10, 20)))
        first, second = sorted(receipts, key=lambda each: [*map(int, each.event.split("-"))])
        assert [before["by"]] == [each.by for each in first.replaced]
        (replaced,) = second.replaced
        rates = {"10@desk": "10/minute", "20@desk": "20/minute"}
        assert rates[replaced.by] == replaced.body["rate"]
        assert state(redis)["reports"]["by"] != replaced.by
        check(redis)


@pytest.mark.parametrize("name", ACTS)
def test_every_change_works_when_memory_is_full(server_factory, name):
    """At maxmemory with noeviction an operator can set, clear, degrade, restore and undo."""
    server = server_factory(config={"maxmemory-policy": "noeviction"})
    with server.client() as client:
        prepare(client)
        client.config_set("maxmemory", "1")
        with pytest.raises(redis_package.exceptions.OutOfMemoryError):
            client.set("anything", "1")
        ACTS[name](Shedder(client, by="oncall@ops"))
        assert 3 == count_of(client)
        check(client)


@pytest.mark.parametrize("number", range(6))
@pytest.mark.parametrize(("first", "second"), [("flag degrade", "flag restore"), ("limit set", "limit clear")])
def test_a_change_amid_an_undo_is_not_lost(redis, first, second, number):
    """Somebody else changes the same setting before each of the commands of an undo in turn."""
    prepare(redis)
    event = ACTS[first](Shedder(redis, by="oncall@ops")).event
    other = Shedder(redis, by="bob@desk")
    events = []

    def change() -> None:
        if not events:
            events.append("")
            events.append(ACTS[second](other).event)

    with counted_commands(number, change), suppress(CannotUndo):
        Shedder(redis, by="ana@desk").undo(event, reason="wrong")
    last = Shedder(redis).events()[-1]
    assert not events or events[-1] in (last.id, "")
    check_last_change_stands(redis, last)


def check_last_change_stands(redis, event) -> None:
    """Each setting of `event` is as that left it."""
    found = state(redis)
    for name, after in event.after.items():
        assert found.get(name, {}).get("since") == after.get("since")
