"""Lanes with many jobs of several kinds, written straight into Redis, and the truth about them."""

from __future__ import annotations

import pickle
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import TYPE_CHECKING, Any

from shedder.engine.jobs import function_field
from shedder.policy.model import Policy, Rule
from shedder.selection import Selection
from shedder.store.keys import Keys

if TYPE_CHECKING:
    from redis import Redis

NOUNS = {"receipts": 5, "newsletters": 240, "reports": 30}
"""Kinds of work, and the minutes that each may wait."""

POLICY = Policy(rules=tuple(
    Rule(queue="mail", selection=Selection(functions=(f"app.{noun}.*",)), label=noun,
         tolerance=timedelta(minutes=minutes))
    for noun, minutes in NOUNS.items()
))  # fmt: skip


@dataclass(frozen=True, slots=True)
class Person:
    """A job of a crowd.

    Attributes:
        noun: Its kind.
        enqueued: When it was enqueued.
        is_ours: A producer of ours enqueued it.
    """

    noun: str
    enqueued: datetime
    is_ours: bool = True


def ago(**age: float) -> datetime:
    """The moment so long ago."""
    return datetime.now(UTC) - timedelta(**age)


def behind_newsletters() -> list[Person]:
    """A burst of 29,659 newsletters, and 320 receipts that came after it, one a second."""
    news = [Person("newsletters", ago(seconds=351 - 5 * number / 29_659)) for number in range(29_659)]
    return [*news, *(Person("receipts", ago(seconds=345 - number)) for number in range(320))]


def put(redis: Redis, keys: Keys, jobs: Sequence[Person], *, name: str = "mail", first: str = "job") -> list[str]:
    """Write `jobs` as a list and their hashes; their ids."""
    ids = [f"{first}{number}" for number in range(len(jobs))]
    for start in range(0, len(jobs), 5_000):
        with redis.pipeline(transaction=False) as ask:
            for job, one in zip(ids[start : start + 5_000], jobs[start : start + 5_000], strict=True):
                ask.hset(keys.engine.jobs + job, mapping=_hash(one))
            ask.rpush(keys.engine.lists + name, *ids[start : start + 5_000])
            ask.execute()
    redis.sadd(keys.engine.queues, keys.engine.lists + name)
    return ids


def _hash(job: Person) -> dict[str, Any]:
    at = job.enqueued.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    function = f"app.{job.noun}.send"
    found: dict[str, Any] = {"created_at": at, "enqueued_at": at, "status": "queued", "origin": "mail"}
    if job.is_ours:
        return {**found, "shedder": function_field(function, at)}
    return {**found, "data": zlib.compress(pickle.dumps((function, None, (), {})))}


def late_among(jobs: Iterable[Person], noun: str, at: datetime) -> tuple[int, int]:
    """How many jobs of a kind are late at a moment, and how many there are."""
    own = [job for job in jobs if job.noun == noun]
    return sum(at - job.enqueued > timedelta(minutes=NOUNS[noun]) for job in own), len(own)


def crowd(random: Random) -> list[Person]:
    """A lane as it may be: floods and trickles of kinds, clocks that differ, jobs put in front, two producers."""
    now, size = datetime.now(UTC), random.choice([20, 200, 700, 2_000])
    spread = random.choice([60, 400, 3_600, 6 * 3_600])  # seconds since the first arrived
    skew, is_ours = random.choice([0.0, 0.3, 5.0]), random.random() < 0.7
    jobs: list[tuple[float, str]] = []
    for noun in random.sample(list(NOUNS), random.randint(1, len(NOUNS))):
        share = random.choice([1.0, 0.3, 0.03])
        began, lasts = random.uniform(0, spread), random.choice([5.0, spread / 4, spread])
        ages = (max(began - random.uniform(0, lasts), 0.0) for _ in range(max(int(size * share), 1)))
        jobs += [(age, noun) for age in ages]
    jobs.sort(reverse=True)
    people = [Person(noun, now - timedelta(seconds=max(age + random.uniform(-skew, skew), 0)), is_ours)
              for age, noun in jobs]  # fmt: skip
    return [*_in_front(random, people, now), *_as_they_stand(random, people)]


def _as_they_stand(random: Random, people: list[Person]) -> list[Person]:
    """Mostly in order of age; sometimes a backlog came back behind younger jobs, and sometimes there is no order."""
    how = random.random()
    if how < 0.1:
        return random.sample(people, len(people))
    if how < 0.2:
        end = random.randint(0, len(people))
        return [*people[end:], *people[:end]]
    return people


def _in_front(random: Random, people: Sequence[Person], now: datetime) -> list[Person]:
    """Jobs that are tried again, or were put in front: younger than those behind them."""
    number = random.choice([0, 0, 1, 30])
    return [Person(random.choice(people).noun, now - timedelta(seconds=random.uniform(0, 20))) for _ in range(number)]
