"""A child that is forked amid hits waits for no lock of a thread that it does not have."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from queue import LifoQueue
from types import FunctionType, MethodType, ModuleType

import pytest
from redis import BlockingConnectionPool, ConnectionPool, Redis
from redis.connection import AbstractConnection, UnixDomainSocketConnection
from redis.sentinel import Sentinel

from shedder.policy.applied import policy_copy
from shedder.rq import Queue, Worker
from shedder.store.clients import keep_after_fork, own_client
from tests.features.forks import ask

ROOT = Path(__file__).parents[2]
LOCKS = (type(threading.Lock()), type(threading.RLock()))
NOT_OURS = (type, ModuleType, FunctionType, str, bytes, int, float, threading.Thread, threading.local)
NOT_SHARED = (AbstractConnection, LifoQueue, logging.Logger)
"""Connections of the parent and their queue, which redis-py replaces, and what `logging` sees to."""


def locks_of(*roots: object) -> dict[int, object]:
    """Every lock that an attribute of these objects leads to, or of what they hold."""
    seen: dict[int, object] = {}
    todo = deque(roots)
    while todo:
        each = todo.popleft()
        if id(each) in seen or isinstance(each, (*NOT_OURS, *NOT_SHARED)):
            continue
        seen[id(each)] = each
        if isinstance(each, dict):
            todo.extend(each.values())
        elif isinstance(each, list | tuple | set | frozenset | deque):
            todo.extend(each)
        elif isinstance(each, MethodType):
            todo.append(each.__self__)
        else:
            todo.extend(vars(each).values() if hasattr(each, "__dict__") else ())
            todo.extend(getattr(each, name) for name in getattr(type(each), "__slots__", ()) if hasattr(each, name))
    return {number: each for number, each in seen.items() if isinstance(each, LOCKS)}


def held_in_a_child(*roots: object, then: Callable[[], object] = lambda: None) -> int:
    """How many locks of a fork of this process are held, when another thread here holds all.

    The child then does `then`.
    """
    locks = [each for each in locks_of(*roots).values() if each.acquire(blocking=False)]  # type: ignore[attr-defined]
    assert locks
    for each in locks:
        each.release()  # type: ignore[attr-defined]
    ready, over = threading.Event(), threading.Event()

    def hold() -> None:
        for each in locks:
            each.acquire()  # type: ignore[attr-defined]
        ready.set()
        over.wait()
        for each in locks:
            each.release()  # type: ignore[attr-defined]

    holder = threading.Thread(target=hold)
    holder.start()
    ready.wait()
    child = os.fork()
    if not child:
        free = [each.acquire(blocking=False) for each in locks_of(*roots).values()]  # type: ignore[attr-defined]
        if all(free):
            for each in locks_of(*roots).values():
                each.release()  # type: ignore[attr-defined]
            signal.alarm(600)
            then()
        os._exit(min(free.count(False), 99))
    over.set()
    holder.join()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.parametrize("kind", [ConnectionPool, BlockingConnectionPool])
def test_a_child_finds_every_lock_free(redis, connect, kind):
    """Those of limits, flags, the policy, queues and workers, whichever pool the application uses."""
    path = redis.connection_pool.connection_kwargs["path"]
    with Redis.from_pool(kind(connection_class=UnixDomainSocketConnection, path=path)) as client:
        app, queue = connect(client), Queue("mail", connection=client)
        app.limits.declare("reports", default="1000/minute")
        ask(app, queue)
        used = (app, queue, policy_copy(client), Worker(["mail"], connection=client).connection)
        assert 0 == held_in_a_child(*used, then=lambda: ask(app, queue))
        assert 2 == len(queue)


def test_a_child_finds_the_locks_of_its_sentinels_free(redis):
    """A connection to a master begins with a question to a Sentinel, by a pool of its own."""
    asked = Sentinel([("localhost", 1)]).master_for("mymaster")
    own = own_client(asked, patience=1.0)
    keep_after_fork(asked)
    assert 0 == held_in_a_child(asked, own)


def test_the_parent_keeps_its_locks(redis):
    """A fork changes nothing in the process that forks, whose threads use them."""
    client = own_client(redis, patience=1.0)
    before = locks_of(client)
    assert 0 == held_in_a_child(client)
    assert before == locks_of(client)


def test_forks_amid_hits_all_answer(redis):
    """A hundred children of a process whose threads hit, ask and enqueue all the time."""
    words = [sys.executable, "-m", "tests.features.forks", redis.connection_pool.connection_kwargs["path"], "100"]
    done = subprocess.run(words, capture_output=True, text=True, check=True, cwd=ROOT, timeout=600)
    assert "100" == done.stdout.strip()
