"""All who read a job read the same: the worker, the claim, the scan, the dry run and the looks."""

from __future__ import annotations

import logging
import marshal
import pickle
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import IntEnum, StrEnum
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import rq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rq.job import Job, JobStatus
from rq.serializers import DefaultSerializer, JSONSerializer

from shedder.api.shedder import Shedder
from shedder.engine.jobs import function_of, texts_of
from shedder.lanes import lane_of
from shedder.queues.divert import divert_lanes
from shedder.rq import Queue, SimpleWorker
from shedder.selection import Selection
from shedder.status.looks import job_in_row, look_at_jobs
from shedder.store.codec import text_of
from shedder.store.store import Store
from tests.rq.given import CAUSE, KEYS
from tests.rq.payload.written import Mailer
from tests.workers import run_burst

if TYPE_CHECKING:
    from redis import Redis

    from shedder.policy.lateness import WaitingJob

LANE = "mail.normal"
LIST = KEYS.lane("mail")[0]


class Tenant(StrEnum):
    """What an application may have in its metas, and pickle by reference."""

    ACME = "acme"


class Attempt(IntEnum):
    """The same, of a number."""

    SEVENTH = 7


class Marshalled:
    """A serializer whose bytes nobody else can read, like msgpack's."""

    dumps = staticmethod(partial(marshal.dumps))
    loads = staticmethod(marshal.loads)


def pickled(protocol: int) -> type:
    """A serializer that a worker takes: it is known by its name."""
    return type(f"Pickle{protocol}", (), {
        "dumps": staticmethod(partial(pickle.dumps, protocol=protocol)), "loads": staticmethod(pickle.loads),
    })  # fmt: skip


SERIALIZERS: list[Any] = [DefaultSerializer, JSONSerializer, *map(pickled, range(6)), Marshalled]
FUNCTIONS = ["app.mail.send", "app.é.send", "other", "app." + "a" * 1_500, "app." + "a" * 3_000]
ARGUMENTS: list[Any] = [1, "x" * 300, bytes(range(256)).hex() * 40, Mailer("nobody")]
TENANTS: list[Any] = [
    "acme", "other", Tenant.ACME, 7, "7", Attempt.SEVENTH, 7.0, True, None, 10**5_000, "\ud800", ["acme"], b"acme",
    datetime(2026, 1, 1, tzinfo=UTC),
]  # fmt: skip
OTHERS: list[dict[Any, Any]] = [
    {}, {"id": "r-1", "copy": "acme"}, {"mailer": Mailer("nobody")}, {"text": "x" * 70_000}, {"text": "x" * 1_100_000},
    {5: "acme", ("a", "b"): 1}, {Tenant.ACME: 1}, {"a": {"tenant": "acme"}, "b": [1, (2,)]}, {"\ud800": 1},
]  # fmt: skip
ODD: list[Any] = [None, {}, ["tenant", "acme"], "acme"]
SELECTIONS = [
    Selection(functions, meta)
    for functions in ((), ("app.*",), ("*",), ("other", "app.mail.send"))
    for meta in ((), (("tenant", "acme"),), (("tenant", "7"),), (("tenant", "True"), ("id", "r-1")))
    if functions or meta
] + [
    Selection(any_of=(Selection(("other",)), Selection(("app.*",), (("tenant", "acme"),)))),
    Selection(any_of=(
        Selection(meta=(("tenant", "acme"),), older_than=timedelta(days=1)), Selection(meta=(("tenant", "7"),)),
    )),
]  # fmt: skip


@dataclass(frozen=True)
class Written:
    """One job, and how its producer writes it."""

    function: str
    argument: Any
    meta: Any
    producer: type[rq.Queue]
    is_compressed: bool
    has_created_at: bool
    is_known_here: bool


JOBS = st.builds(
    Written,
    st.sampled_from(FUNCTIONS),
    st.sampled_from(ARGUMENTS),
    st.builds(lambda tenant, other: {**other, "tenant": tenant}, st.sampled_from(TENANTS), st.sampled_from(OTHERS))
    | st.sampled_from([*OTHERS, *ODD]),
    st.sampled_from([Queue, rq.Queue]),
    st.booleans(),
    st.sampled_from([True, True, True, False]),
    st.sampled_from([True, True, False]),
)


def written(redis: Redis, job: Written, serializer: Any) -> str | None:
    """Put the job onto the list as its producer would; its id, or None where the serializer cannot write it."""
    queue = job.producer("mail", connection=redis, serializer=serializer)
    made = queue.create_job(job.function, args=(job.argument,), status=JobStatus.QUEUED)
    made.meta = job.meta
    try:
        serializer.loads(serializer.dumps(job.meta))
        fields: dict[str, Any] = made.to_dict()
    except (TypeError, ValueError, OverflowError, UnicodeError, pickle.PicklingError):
        return None
    if job.producer is Queue:
        fields["shedder"] = f"{fields['created_at']} {job.function}"
    fields["enqueued_at"] = fields["created_at"]
    data = as_known_here(zlib.decompress(fields["data"]), job)
    fields |= {"data": zlib.compress(data) if job.is_compressed else data}
    if fields.get("meta"):
        fields["meta"] = as_known_here(fields["meta"], job)
    if not job.has_created_at:
        del fields["created_at"]
    redis.hset(made.key, mapping={name: value for name, value in fields.items() if value != ""})
    redis.rpush(LIST, made.id)
    redis.sadd(KEYS.engine.queues, LIST)
    return str(made.id)


def as_known_here(raw: bytes, job: Written) -> bytes:
    """With classes that the worker does not have, where the job is one of another version of the application."""
    return raw if job.is_known_here else raw.replace(b"payload.written", b"payload.removed")


def is_taken(redis: Redis, identifier: str, selection: Selection, serializer: Any) -> bool:
    """What a worker says, which has read the job as RQ does."""
    job = Job.fetch(identifier, connection=redis, serializer=serializer)
    found = selection.decide(function=function_of(job) or None, meta=dict(texts_of(job)), age=timedelta())
    return bool(found)


def looks(redis: Redis, count: int) -> list[WaitingJob]:
    """The jobs of the list one by one, since those that are alike are told together."""
    at = datetime.now(UTC)
    asked = (look_at_jobs(KEYS, (LIST,), ((index, 1),), with_meta=True, at=at) for index in range(count))
    return [job_in_row(row) for command in asked for row in Store(redis, KEYS).run(command)]


def backlog(redis: Redis, order: str) -> set[str]:
    return {text_of(each) for key in KEYS.backlog(order, "mail") for each in redis.lrange(key, 0, -1)}


def is_for_the_worker(job: Written, serializer: Any) -> bool:
    """Whether nobody but the worker may be able to tell: no other stays where a scan should take it."""
    if serializer is Marshalled:
        return True
    is_noted = job.producer is Queue and job.has_created_at
    fields = job.meta if isinstance(job.meta, dict) else {}
    is_opaque = any(
        isinstance(each, Tenant | Attempt | Mailer | datetime | bytes) for each in (*fields, *fields.values())
    )
    return (len(job.function) > 2_048 and not is_noted) or is_opaque or len(str(fields.get("text", ""))) > 1_000_000


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=15)
@given(st.lists(JOBS, min_size=1, max_size=6), st.sampled_from(SERIALIZERS), st.sampled_from(SELECTIONS), st.booleans())
def test_all_readers_of_a_job_agree(
    redis: Redis, jobs: list[Written], serializer: Any, selection: Selection, has_waited: bool
) -> None:
    """A dry run counts what a scan takes; what neither can tell is counted, stays, and is what the claim decides."""
    agree(redis, jobs, serializer, selection, has_waited=has_waited)


HARD = [
    Written("app.mail.send", 1, {"tenant": Tenant.ACME}, Queue, True, True, True),
    Written("app.mail.send", 1, {"tenant": "acme", "mailer": Mailer("nobody")}, Queue, True, True, False),
    Written("app.mail.send", Mailer("nobody"), {"tenant": "acme"}, rq.Queue, True, True, False),
    Written("app." + "a" * 1_500, ARGUMENTS[2], {"tenant": "acme"}, rq.Queue, False, True, True),
    Written("app." + "a" * 3_000, 1, {"tenant": "acme"}, rq.Queue, False, True, True),
    Written("app.mail.send", 1, {"tenant": "acme", "text": "x" * 70_000}, Queue, True, True, True),
    Written("app.mail.send", 1, {"tenant": "acme", "text": "x" * 1_100_000}, Queue, True, True, True),
    Written("app.mail.send", 1, {"tenant": "acme", "much": 10**5_000}, Queue, True, True, True),
    Written("app.mail.send", 1, {"tenant": "acme", "half": "\ud800"}, Queue, True, True, True),
    Written("app.mail.send", 1, {"tenant": "acme"}, Queue, True, False, True),
    Written("app.mail.send", 1, ["tenant", "acme"], Queue, True, True, True),
    Written("app.mail.send", 1, {Tenant.ACME: 1, "tenant": "acme"}, Queue, True, True, True),
]


@pytest.mark.parametrize("has_waited", [True, False])
@pytest.mark.parametrize("selection", [Selection(("app.*",)), Selection((), (("tenant", "acme"),))], ids=str)
def test_readers_agree_on_the_hard_ones(redis: Redis, selection: Selection, has_waited: bool) -> None:
    """Objects, long names, long metas and damage are no exception."""
    agree(redis, HARD, DefaultSerializer, selection, has_waited=has_waited)


@pytest.mark.parametrize("job", HARD, ids=range(len(HARD)))
def test_readers_agree_on_a_hard_one_alone(redis: Redis, job: Written) -> None:
    """Nor is one before which no other makes the scan ask."""
    agree(redis, [job], DefaultSerializer, Selection(("app.*",)), has_waited=True)


def test_a_job_of_no_known_function_meets_no_glob(redis: Redis) -> None:
    """Its data are noise, so a divert of every function leaves it, and RQ fails it."""
    job = rq.Queue("mail", connection=redis).enqueue("app.mail.send")
    redis.hset(job.key, "data", b"noise")
    shedder = Shedder(redis, by="tester")
    everything = Selection(("*",))
    assert (0, 1) == ((preview := shedder.preview_divert(LANE, selection=everything)).taken, preview.undecided)
    order = shedder.divert(LANE, selection=everything, reason="r").lanes[0].order
    work(redis, DefaultSerializer)
    assert set() == backlog(redis, order)
    assert "failed" == job.get_status()


def test_a_dry_run_of_everything_counts_jobs_that_are_gone(redis: Redis) -> None:
    """A divert moves their ids too, so it says the number that will be told."""
    redis.rpush(LIST, "gone", rq.Queue("mail", connection=redis).enqueue("app.mail.send").id)
    redis.ltrim(LIST, 0, 1)
    shedder = Shedder(redis, by="tester")
    assert shedder.preview_divert(LANE).taken == shedder.divert(LANE, reason="r").moved == 2


def agree(redis: Redis, jobs: list[Written], serializer: Any, selection: Selection, *, has_waited: bool) -> None:
    redis.flushall()
    shedder = Shedder(redis, by="tester")
    found = [(each, written(redis, each, serializer)) for each in jobs]
    ids = {identifier: each for each, identifier in found if identifier is not None}
    expected = {identifier for identifier in ids if is_taken(redis, identifier, selection, serializer)}
    preview = shedder.preview_divert(LANE, selection=selection)
    if has_waited:
        receipt = shedder.divert(LANE, selection=selection, reason="r")
        order, scanned = receipt.lanes[0].order, backlog(redis, receipt.lanes[0].order)
        assert (preview.taken, len(ids)) == (len(scanned), preview.lanes[0].waiting)
        assert scanned <= expected
        assert len(expected - scanned) <= preview.undecided
        assert all(is_for_the_worker(ids[each], serializer) for each in expected - scanned)
    else:
        order = "o"
        shedder.store.run(divert_lanes(KEYS, [lane_of("mail")], selection, CAUSE, order=order))
    for job, identifier in zip(looks(redis, len(ids)), redis.lrange(LIST, 0, -1), strict=True):
        seen = selection.decide(function=job.function, meta=job.meta, age=timedelta())
        assert seen is not True or text_of(identifier) in expected
    work(redis, serializer)
    assert expected == backlog(redis, order)


def work(redis: Redis, serializer: Any) -> None:
    """Let a worker do what there is; all jobs that it starts fail, and it says so at length."""
    logging.disable(logging.CRITICAL)
    try:
        run_burst(SimpleWorker(["mail"], connection=redis, serializer=serializer))
    finally:
        logging.disable(logging.NOTSET)
