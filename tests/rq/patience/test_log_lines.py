"""An outage of an hour is one line when it begins and one when it is over, for each part of a process."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import count
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import redis as redis_package
from redis import Redis
from rq.worker import BaseWorker

from shedder import Shedder
from shedder.policy.applied import PolicyCopy
from shedder.policy.model import Policy
from shedder.queues.maintenance import Upkeep
from shedder.rq import SimpleWorker
from shedder.rq.outages import LONGEST_WAIT_SECONDS, RetryPolicy
from shedder.rq.worker import COMMANDS_RETRY_SECONDS
from shedder.settings import watch
from shedder.settings.windows import Absence
from shedder.store.clients import own_client
from shedder.store.store import Store
from shedder.updates.watcher import Watcher
from tests.busy import busy
from tests.rq.patience.troubles import full, read_only, restarting

if TYPE_CHECKING:
    from shedder.embedded import EmbeddedServer
    from tests.conftest import ServerFactory

LOOKS, SECONDS = 60, 60
"""A look a minute: an hour."""

Clock = Callable[[], float]
Part = Callable[[Redis, Clock, ExitStack], Callable[[], object]]


@contextmanager
def few_replicas(server: EmbeddedServer) -> Iterator[None]:
    """A master that has lost its replicas takes no writes."""
    with server.client() as operator:
        operator.config_set("min-replicas-to-write", 1)
        yield
        operator.config_set("min-replicas-to-write", 0)


@contextmanager
def locked(server: EmbeddedServer) -> Iterator[None]:
    """Somebody has set a password that the application does not know."""
    with server.client() as operator:
        operator.config_set("requirepass", "SECRET")
        operator.client_kill_filter(_type="normal", skipme=True)
        operator.client_kill_filter(_type="pubsub", skipme=True)
        yield
        operator.config_set("requirepass", "")


TROUBLES = [restarting, busy, full, read_only, few_replicas, locked]


def following(client: Redis, _clock: Clock, opened: ExitStack) -> Callable[[], object]:
    """The thread that follows flags and limits, with something to declare at each look."""
    app, numbers = Shedder(client), count()
    opened.callback(app.close)
    look = watch._Look(app._watch)
    opened.callback(look.close)

    def do() -> None:
        app.flags.declare(f"hint-{next(numbers)}")
        app.limits.declare(f"report-{next(numbers)}", default="5/minute")
        try:
            look.do()
        except Exception as error:  # noqa: BLE001 - as the thread does
            app._watch._note_away(error)
            look.fail()

    return do


def hitting(client: Redis, clock: Clock, opened: ExitStack) -> Callable[[], object]:
    """Hits of a limit, and of another without a thread behind them."""
    app = Shedder(client)
    app.limits.declare("reports", default="5/minute", without_redis="local")
    app._watch.is_awake = True
    app.limits._absence = Absence(clock)
    opened.callback(app.limits.close)
    return lambda: app.limits.hit("reports")


def policy(client: Redis, clock: Clock, opened: ExitStack) -> Callable[[], object]:
    """What each enqueue asks for."""
    copy = PolicyCopy(Store(impatient(client, opened), Shedder(client).keys), clock)
    return lambda: copy.policy


def upkeep(client: Redis, _clock: Clock, opened: ExitStack) -> Callable[[], object]:
    """What a worker does between two jobs; its client is patient, this one is not."""
    keys = Shedder(client).keys
    chores = Upkeep(Store(impatient(client, opened), keys), ["mail"])

    def do() -> None:
        with suppress(redis_package.exceptions.RedisError):
            client.delete(keys.sampled)
        chores.do()

    return do


def watching(client: Redis, _clock: Clock, opened: ExitStack) -> Callable[[], object]:
    """Rounds of `incident watch`."""
    shed = Shedder(impatient(client, opened))
    watcher = Watcher(shed, Policy, lambda _: None, clock=shed.incidents.now)
    return watcher._safe_round


def impatient(client: Redis, opened: ExitStack) -> Redis:
    """A client of its own, which gives up after a second."""
    return opened.enter_context(own_client(client, patience=1.0))


PARTS: list[Part] = [following, hitting, policy, upkeep, watching]


@pytest.mark.parametrize("trouble", TROUBLES)
def test_an_hour_of_trouble_is_two_lines_for_each_part(
    server_factory: ServerFactory, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, trouble: Any
) -> None:
    """Of limits, flags, policy, upkeep and watcher; each says when it is over if it said that it began."""
    monkeypatch.setattr(watch, "POLL_SECONDS", 0.0)
    server = server_factory(port=0)
    for part in PARTS:
        seconds = count(0, SECONDS)
        with server.client(retry=None) as client, ExitStack() as opened:
            do = part(client, lambda seconds=seconds: float(next(seconds)), opened)  # type: ignore[misc]
            do()
            caplog.clear()
            with trouble(server):
                told = caplog_of(caplog, do, LOOKS)
                assert len(told) <= 1, (part.__name__, told)
            after = caplog_of(caplog, do, 5)
            assert len(after) == len(told), (part.__name__, told, after)


def caplog_of(caplog: pytest.LogCaptureFixture, do: Callable[[], object], times: int) -> list[str]:
    """What is logged while something is done so many times."""
    with caplog.at_level(logging.INFO):
        for _ in range(times):
            do()
    told = [each.getMessage() for each in caplog.records]
    caplog.clear()
    return told


@pytest.mark.parametrize("trouble", [each for each in TROUBLES if each is not locked])
def test_an_hour_of_trouble_is_two_lines_of_a_worker(
    server_factory: ServerFactory, caplog: pytest.LogCaptureFixture, trouble: Any
) -> None:
    """Its client tries again, at least every two seconds, until a command is carried out."""
    waits, is_over, is_healed = [0.0], threading.Event(), threading.Event()

    def wait(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) > LOOKS:
            is_over.set()
            is_healed.wait()

    server = server_factory(port=0)
    with server.client(retry=None) as client, caplog.at_level(logging.INFO):
        worker = SimpleWorker(["mail"], connection=client)
        worker.connection.patience = RetryPolicy(client.connection_pool, sleep=wait)
        thread = threading.Thread(target=worker.connection.set, args=("written", 1))
        with trouble(server):
            thread.start()
            is_over.wait()
            assert 1 == len(caplog.records)
        is_healed.set()
        thread.join()
        assert ["trying again", "serves us again"] == re.findall("trying again|serves us again", caplog.text)
        assert LONGEST_WAIT_SECONDS == max(waits)


def test_a_worker_that_gets_no_commands_says_so_once(
    redis: Redis, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RQ's thread tries again every two seconds, and RQ's line would come each time."""
    waits: list[float] = []
    monkeypatch.setattr("time.sleep", waits.append)
    worker = SimpleWorker(["mail"], connection=redis)
    for _ in range(LOOKS):
        worker._pubsub_exception_handler(redis_package.exceptions.ConnectionError("gone"), None, None)
    assert [COMMANDS_RETRY_SECONDS] * LOOKS == waits
    assert 1 == len(caplog.records)


def test_a_worker_that_ends_in_the_middle_of_a_command_does_so_without_an_error(
    redis: Redis, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RQ closes the connection under the thread that listens, after a second; what redis-py raises then is no error."""
    is_closed = threading.Event()

    def listen(*_: object, **__: object) -> None:
        is_closed.wait()
        raise TypeError("argument must be an int, or have a fileno() method.")

    monkeypatch.setattr(redis_package.client.PubSub, "get_message", listen)
    worker = SimpleWorker(["mail"], connection=redis)
    worker.subscribe()
    thread = worker.pubsub_thread
    assert thread is not None
    monkeypatch.setattr(thread, "join", lambda timeout: None)
    worker.unsubscribe()
    is_closed.set()
    threading.Thread.join(thread)
    assert not [each for each in caplog.records if each.levelno > logging.INFO]


def test_a_worker_that_ends_tells_the_thread_that_listens_before_rq_waits_for_it(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else that thread often listens for more, and RQ waits for it, a second."""
    order: list[str] = []
    worker: Any = SimpleWorker(["mail"], connection=redis)
    worker.pubsub_thread = SimpleNamespace(stop=lambda: order.append("told"))
    monkeypatch.setattr(BaseWorker, "unsubscribe", lambda _: order.append("waited for"))
    worker.unsubscribe()
    assert ["told", "waited for"] == order
