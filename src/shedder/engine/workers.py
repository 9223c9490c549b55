"""Queues and workers that RQ has on record."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shedder.engine.names import WORKER, WORKERS, workers_key
from shedder.lanes import Lane, check_name, lanes_of_targets, why_refused
from shedder.store.codec import text_of
from shedder.store.keys import Keys
from shedder.store.store import Pipeline, Store

TOLERATED_SECONDS = 10.0
"""RQ leaves at least 60 s between a sign of life and its end."""

Registered = dict[str, tuple[str, ...]]
"""The keys of workers, and in which lanes' sets RQ has them."""


@dataclass(frozen=True, slots=True)
class WorkerSeen:
    """A worker that serves a lane.

    Attributes:
        name: Its name in RQ.
        lanes: Names of the lanes (RQ queues) that it serves.
        is_stock: It is a worker without shedder: it obeys no control.
        state: RQ's state of it (`busy`, `idle`, ...).
        host: Where it runs; empty when RQ does not say.
    """

    name: str
    lanes: tuple[str, ...]
    is_stock: bool
    state: str = ""
    host: str = ""


def queues_of(store: Store) -> tuple[str, ...]:
    """The names of all RQ queues (lanes), sorted."""
    return queue_names(store.keys, store.read(lambda ask: ask.smembers(store.keys.engine.queues))[0])


def queue_names(keys: Keys, members: Sequence[bytes | str]) -> tuple[str, ...]:
    """The names that the members of RQ's set of queues stand for, sorted."""
    return tuple(sorted(text_of(key).removeprefix(keys.engine.lists) for key in members))


def lanes_meant(store: Store, targets: Sequence[str]) -> tuple[Lane, ...]:
    """The lanes of `targets`, each once, in the order given.

    Raises:
        InvalidInput: no queue may be called so; or it names a normal lane, and RQ has a queue of
            this name, which may be meant.
    """
    lanes = lanes_of_targets(targets)
    doubtful = [target for target in targets if why_refused(target)]
    lists, queues = store.keys.engine.lists, store.keys.engine.queues
    known = store.read(lambda ask: [ask.sismember(queues, lists + name) for name in doubtful]) if doubtful else ()
    for target, is_queue in zip(doubtful, known, strict=False):
        if is_queue:
            check_name(target)
    return lanes


def workers_of(store: Store, lanes: Sequence[str]) -> tuple[WorkerSeen, ...]:
    """The live workers that serve one of `lanes`, in two round trips; sorted by name."""
    if not lanes:
        return ()
    return live_workers(store, registered_from(lanes, store.read(lambda ask: ask_registered(ask, lanes))))


def all_workers(store: Store, *, is_stock: bool | None = None) -> tuple[WorkerSeen, ...]:
    """All live workers, or those of that kind, whatever they serve; sorted by name."""
    members = store.read(lambda ask: ask.smembers(WORKERS))[0]
    found = live_workers(store, dict.fromkeys(sorted(map(text_of, members)), ()))
    return tuple(worker for worker in found if is_stock in (None, worker.is_stock))


def live_workers(store: Store, registered: Registered) -> tuple[WorkerSeen, ...]:
    """The live ones of `registered`, in a round trip."""
    if not registered:
        return ()
    return workers_from(registered, store.read(lambda ask: ask_workers(ask, registered)))


def ask_registered(ask: Pipeline, lanes: Sequence[str]) -> None:
    """Ask for the workers that registered for each of `lanes`: one reply each."""
    for lane in lanes:
        ask.smembers(workers_key(lane))


def registered_from(lanes: Sequence[str], replies: Sequence[Any]) -> Registered:
    """What the replies to `ask_registered` say."""
    registered: dict[str, list[str]] = {}
    for lane, members in zip(lanes, replies, strict=True):
        for key in members:
            registered.setdefault(text_of(key), []).append(lane)
    return {key: tuple(registered[key]) for key in sorted(registered)}


def ask_workers(ask: Pipeline, registered: Registered) -> None:
    """Ask for what is stored of each registered worker: one reply each."""
    for key in registered:
        ask.hmget(key, _FIELDS)


def workers_from(registered: Registered, replies: Sequence[Any]) -> tuple[WorkerSeen, ...]:
    """The live workers that the replies to `ask_workers` describe."""
    return tuple(_live_workers(registered, replies))


_FIELDS = ("queues", "state", "hostname", "shedder", "death")


def _live_workers(registered: Registered, replies: Sequence[Any]) -> Iterator[WorkerSeen]:
    for (key, lanes), values in zip(registered.items(), replies, strict=True):
        found = {name: text_of(value) for name, value in zip(_FIELDS, values, strict=True) if value}
        if found and "death" not in found:
            yield _worker(key, lanes, found)


def _worker(key: str, lanes: tuple[str, ...], found: Mapping[str, str]) -> WorkerSeen:
    # A worker that was frozen until its hash expired writes only some of it again. Its queues are
    # then those under which it registered, and as nothing says that it is ours it counts as stock.
    queues = found.get("queues")
    return WorkerSeen(
        name=key.removeprefix(WORKER),
        # a name may hold a comma, as those between the names
        lanes=tuple(dict.fromkeys((*queues.split(","), *lanes))) if queues else lanes,
        is_stock="shedder" not in found,
        state=found.get("state", ""),
        host=found.get("hostname", ""),
    )
