"""Which jobs run now, and which are in a worker's hands?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shedder.keys import Keys
from shedder.records import RunningJob
from shedder.rq.layout import STARTED, registry_key
from shedder.rq.notes import NOTE_FIELD, function_of_note
from shedder.rq.payload import JobState, function_name, job_of, time_of
from shedder.store import Command, Store
from shedder.stored import text_of

if TYPE_CHECKING:
    from redis.client import Pipeline

JOBS_PER_LANE = 1000
"""Executions of a lane that are looked at, at most."""

CLAIMS_PER_STEP = 1000
"""Claims that one step lists: about 1 ms of the server."""

LONGEST_DATA = 65_536
"""Bytes of a job's data that are worth fetching for the name of its function."""


@dataclass(frozen=True, slots=True)
class ClaimSeen:
    """A job between the list and the first line of its function.

    Attributes:
        is_starting: It has passed the gate and has not reported since; else it has not started.
        worker: Name of the worker that has it.
        lane: Name of the lane it came from.
        job_id: Its id.
        claimed_at_ms: When it was claimed, in milliseconds of the server's clock.
        order: Id of the divert from whose backlog it came; empty when it came from the lane.
        alive_at_ms: Its worker's last sign of life, or when it passed the gate.
        token: The claim itself, by which it is given back.
    """

    is_starting: bool
    worker: str
    lane: str
    job_id: str
    claimed_at_ms: int
    order: str
    alive_at_ms: int
    token: bytes


def list_claims(
    keys: Keys, *, first: int = 0, limit: int = CLAIMS_PER_STEP, starting: int = CLAIMS_PER_STEP
) -> Command[tuple[ClaimSeen, ...]]:
    """At most `limit` claims from rank `first` on, and at most `starting` that passed the gate."""
    return Command(
        "list_claims", (keys.claims, keys.starting), (first, limit, starting), _claims_from
    )


def running_jobs(store: Store, keys: Keys, lanes: Sequence[str]) -> tuple[RunningJob, ...]:
    """The jobs of `lanes` that run now: by lane, then those first that started first.

    A job that is claimed and has not passed the gate does not run, though RQ counts it. Looks at
    no more than `JOBS_PER_LANE` executions of each lane.
    """
    if not lanes:
        return ()
    executions, claims = store.read_and_run(
        lambda ask: ask_executions(ask, lanes), list_claims(keys, limit=0)
    )
    return running_from(store, keys, lanes, executions, claims)


def running_from(
    store: Store,
    keys: Keys,
    lanes: Sequence[str],
    executions: Sequence[Any],
    claims: Sequence[ClaimSeen],
) -> tuple[RunningJob, ...]:
    """Those of the jobs that the replies to `ask_executions` and `list_claims` name that run."""
    starting = {(claim.lane, claim.job_id): claim.worker for claim in claims if claim.lane in lanes}
    found = {
        (lane, job_of(each))
        for lane, those in zip(lanes, executions, strict=True)
        for each in those
    }
    # a frozen process may be past the gate after RQ has given up its execution
    jobs = _started_jobs(store, keys, found | starting.keys(), starting)
    ranks = {lane: rank for rank, lane in enumerate(lanes)}
    return tuple(sorted(jobs, key=lambda job: (ranks[job.lane], _since(job), job.job_id)))


_FIELDS = ("status", "worker_name", "started_at", "created_at", NOTE_FIELD)

_Found = tuple[str, str, Mapping[str, str]]


def ask_executions(ask: Pipeline, lanes: Sequence[str]) -> None:
    """Ask for what RQ has as started in each of `lanes`: one reply each."""
    for lane in lanes:
        ask.zrange(registry_key(STARTED, lane), 0, JOBS_PER_LANE - 1)


def _started_jobs(
    store: Store,
    keys: Keys,
    candidates: Iterable[tuple[str, str]],
    starting: Mapping[tuple[str, str], str],
) -> list[RunningJob]:
    started = _read_started(store, keys, list(candidates))
    names = _read_functions(store, keys, started)
    return [
        RunningJob(
            job_id=job,
            lane=lane,
            worker=fields.get("worker_name", ""),
            since=time_of(fields.get("started_at")),
            function=names[job],
            is_certain=starting.get((lane, job)) != fields.get("worker_name", ""),
        )
        for lane, job, fields in started
    ]


def _read_started(store: Store, keys: Keys, jobs: Sequence[tuple[str, str]]) -> list[_Found]:
    if not jobs:
        return []
    replies = store.read(
        lambda ask: [ask.hmget(keys.engine.jobs + job, _FIELDS) for _, job in jobs]
    )
    found = [(lane, job, _texts(values)) for (lane, job), values in zip(jobs, replies, strict=True)]
    return [each for each in found if each[2].get("status") == JobState.STARTED]


def _read_functions(store: Store, keys: Keys, jobs: Sequence[_Found]) -> dict[str, str]:
    names = {job: _noted_function(fields) for _, job, fields in jobs}
    unknown = [keys.engine.jobs + job for job, name in names.items() if not name]
    if not unknown:
        return names
    sizes = store.read(lambda ask: [ask.hstrlen(key, "data") for key in unknown])
    small = [key for key, size in zip(unknown, sizes, strict=True) if 0 < size <= LONGEST_DATA]
    if small:
        data = store.read(lambda ask: [ask.hget(key, "data") for key in small])
        for key, value in zip(small, data, strict=True):
            names[key.removeprefix(keys.engine.jobs)] = function_name(value or b"") or ""
    return names


def _noted_function(fields: Mapping[str, str]) -> str:
    """The function that our producers note; the note of an older job with this id is no answer."""
    return function_of_note(fields.get(NOTE_FIELD), fields.get("created_at")) or ""


def _texts(values: Sequence[Any]) -> dict[str, str]:
    pairs = zip(_FIELDS, values, strict=True)
    return {name: text_of(value) for name, value in pairs if value is not None}


def _since(job: RunningJob) -> float:
    return job.since.timestamp() if job.since else 0.0


def _claims_from(reply: list[Any]) -> tuple[ClaimSeen, ...]:
    rows = zip(*(reply[column::8] for column in range(8)), strict=True)
    return tuple(
        ClaimSeen(
            is_starting=text_of(which) == "starting",
            worker=text_of(worker),
            lane=text_of(lane),
            job_id=text_of(job),
            claimed_at_ms=int(claimed_at),
            order=text_of(order),
            alive_at_ms=int(alive_at),
            token=token,
        )
        for which, worker, lane, job, claimed_at, order, alive_at, token in rows
    )
