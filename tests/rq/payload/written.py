"""Hashes of jobs as producers write them."""

from __future__ import annotations

import pickle
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from rq.job import Job
from rq.serializers import DefaultSerializer, JSONSerializer

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis import Redis

PROTOCOLS = range(2, 6)


class PickleOf:
    """A serializer that pickles with the protocol that it is given, as older producers do."""

    def __init__(self, protocol: int) -> None:
        self.dumps: Callable[[Any], bytes] = partial(pickle.dumps, protocol=protocol)
        self.loads = pickle.loads


SERIALIZERS = [DefaultSerializer, JSONSerializer, *map(PickleOf, PROTOCOLS)]


class Mailer:
    """A user's class; only the name of its method ends up in the job."""

    def __init__(self, sender: str) -> None:
        self.sender = sender

    def send(self) -> None: ...

    def __call__(self) -> None: ...

    class Inner:
        @staticmethod
        def send() -> None: ...


def send_mail() -> None: ...


def stored(redis: Redis, func: Any, *, serializer: Any = None, **options: Any) -> dict[bytes, bytes]:
    """The hash of a real job, as it stands in Redis."""
    job = Job.create(func, connection=redis, serializer=serializer, origin="mail", **options)
    job.save()
    fields = cast("dict[bytes, bytes]", redis.hgetall(job.key))
    assert job.func_name == Job.fetch(job.id, redis, serializer=serializer).func_name
    return fields


META = {
    "tenant": "acme é",
    "empty": "",
    "attempt": 3,
    "big": -(2**100),
    "ratio": 1.5,
    "urgent": True,
    "draft": False,
    "note": None,
}
