"""Jobs in workers' hands: claimed, started, given back, listed; and the jobs that run."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache
from typing import Any

from shedder.engine.jobs import NOTE_FIELD, JobState, function_from_field, functions_of, job_of, time_of
from shedder.engine.names import STARTED, registry_key
from shedder.lanes import PRIORITIES, lane_of
from shedder.store.codec import count_of, in_rows, text_of
from shedder.store.keys import Keys
from shedder.store.store import Command, Pipeline, Store

LEASE_MS = 30_000
"""After this time without a sign of life of a claim its job goes back to the front of its lane."""

POLLER_LEASE_MS = 1500
"""A poller that has not polled for this long counts as dead."""

_MEANWHILE = {"lookout": "poll", "rest": "rest", "wait": "wait"}
"""What an idle worker does, by the word of the script."""

CRASHES_FIELD = "shedder_crashes"
"""Field of a job's hash: how many processes died with the job in hand before it started."""

JOBS_PER_CLAIM = 200
"""Jobs that one claim may look at before it lets others in: well below 5 ms of the server."""

LANES_PER_CLAIM = 400
"""Lanes that one claim may look at: a quarter of a millisecond of the server while they are empty."""

ORDERS_PER_CLAIM = 50
"""Lanes with a drain, a limit or a backlog on its way back that one claim may look into: about 1 ms."""

JOBS_PER_LANE = 1000
"""Executions of a lane that are looked at, at most."""

CLAIMS_PER_STEP = 1000
"""Claims that one step lists: about 1 ms of the server."""

_FIELDS = ("status", "worker_name", "started_at", "created_at", NOTE_FIELD)

_Found = tuple[str, str, Mapping[str, str]]

_remembered = lru_cache(maxsize=64)
"""A worker asks the same for ever, and what it asks stands between a job and its start."""


@dataclass(frozen=True, slots=True)
class HeldClaim:
    """A claim, as far as a process must know it to pass the gate with its job.

    Attributes:
        token: The claim, which fences: a process with another one has lost the job.
        job_id: The job's id.
        lane: Name of the lane it came from.
        crashes: How many processes died with this job in hand before it started.
        running: Key of the set of what runs under a limit; empty when there is none.
        drain: The drain that released it, for `count_end_of_drained`; empty when none did.
    """

    token: bytes
    job_id: str
    lane: str
    crashes: int = 0
    running: str = ""
    drain: str = ""


@dataclass(frozen=True, slots=True)
class Claimed(HeldClaim):
    """A claim as it was made: its job is in this worker's hands and has not started.

    Attributes:
        is_undecided: A divert of this lane depends on what only the job's data tells.
        fields: The job's hash.
    """

    is_undecided: bool = False
    fields: Mapping[bytes, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NothingClaimed:
    """No job may run now.

    Attributes:
        wait_ms: After how long a drain has its next token; 0 when none waits for one.
        is_again: The server ended the search early: ask again at once.
        is_suspended: RQ's own suspend is on.
        is_outdated: Another policy is in force than the one that the order of the lanes is from.
        is_upkeep_due: Nobody has done the upkeep lately.
        next_lane: The server ended the search before this lane, counted from 0: go on there at once;
            0 when it did not.
        meanwhile: `poll`: look often, for those that rest; `rest`: another worker of the same
            lanes does; `wait`: look yourself, since nobody shares the work.
    """

    wait_ms: int = 0
    is_again: bool = False
    is_suspended: bool = False
    is_outdated: bool = False
    is_upkeep_due: bool = False
    next_lane: int = 0
    meanwhile: str = "wait"

    @property
    def is_final(self) -> bool:
        """The search has come to its end."""
        return not (self.is_again or self.is_outdated or self.is_suspended)

    def followed_by(self, answer: Claimed | NothingClaimed) -> Claimed | NothingClaimed:
        """What this one, of the first lanes, and `answer`, of those that follow, say together."""
        if isinstance(answer, Claimed):
            return answer
        waits = [each.wait_ms for each in (self, answer) if each.wait_ms]
        return replace(answer, wait_ms=min(waits, default=0))


@dataclass(frozen=True, slots=True)
class Gate:
    """What the gate decided.

    Attributes:
        verdict: `started`, `kept`, `lost`, `paused`, `diverted` or `dropped`.
        detail: The order that took it, or the status for which it was dropped.
    """

    verdict: str
    detail: str = ""

    @property
    def is_open(self) -> bool:
        """The job runs now (or may still be started, when only diverts were asked)."""
        return self.verdict in ("started", "kept")


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


@dataclass(frozen=True, slots=True)
class RunningJob:
    """A job that runs now.

    Attributes:
        job_id: Its id.
        lane: The lane it came from.
        worker: Name of the worker that runs it; empty when RQ does not say.
        since: When it started (worker's clock, UTC); None when RQ does not say.
        function: What it runs; empty when its data cannot be read.
        is_certain: False when its process has passed the gate and has not been heard of since: it
            may have been frozen before the first line of the function.
    """

    job_id: str
    lane: str
    worker: str = ""
    since: datetime | None = None
    function: str = ""
    is_certain: bool = True


def claim_job(
    keys: Keys,
    lanes: Sequence[str],
    *,
    worker: str,
    is_staying: bool = False,
    policy: int | None = None,
    first: int = 0,
) -> Command[Claimed | NothingClaimed]:
    """Take the first job that may run from `lanes`, most important first, beginning with the lane `first`.

    A worker that `is_staying` when there is none may become the poller of these lanes.
    `policy` is the number of the one that says which lane is more important; None for any.
    An answer with a `next_lane` is of the lanes before it only: see `claim_from`.
    """
    lookout = POLLER_LEASE_MS if is_staying else 0
    if first + LANES_PER_CLAIM < len(lanes):
        lookout = -1
    options = (LEASE_MS, JOBS_PER_CLAIM, ORDERS_PER_CLAIM, lookout)
    return _claim_job(keys, tuple(lanes), first, (worker, *options, "" if policy is None else policy))


def claim_from(ask: Callable[[int], Claimed | NothingClaimed]) -> Claimed | NothingClaimed:
    """What `ask`, which claims beginning with the lane of a number, says of all lanes."""
    answer = ask(0)
    while isinstance(answer, NothingClaimed) and answer.next_lane:
        answer = answer.followed_by(ask(answer.next_lane))
    return answer


def start_job(
    keys: Keys,
    held: HeldClaim,
    *,
    timestamp: str,
    function: str,
    meta: dict[str, str],
    registry: str = "",
    execution: str = "",
    to_fail: bool = False,
    work: tuple[str, int] = ("", 0),
) -> Command[Gate]:
    """Let a claimed job through the gate, or learn why not.

    `registry` is the key of RQ's registry of started jobs, `execution` the id that this start has
    in it. With `to_fail` the job will not run, and no control is asked. `work` is what the policy
    calls the job and how long such a job may wait, in milliseconds.
    """
    mode = "fail" if to_fail else "start"
    question = (mode, timestamp, function, json.dumps(meta), execution)
    return _gate(keys, held, question, registry, work)


def check_diverts(keys: Keys, held: HeldClaim, *, function: str, meta: dict[str, str]) -> Command[Gate]:
    """Let a divert take a claimed job, now that its data was read; start nothing."""
    return _gate(keys, held, ("check", "", function, json.dumps(meta), ""))


def release_claim(keys: Keys, token: bytes, *, is_crash: bool = False) -> Command[bool]:
    """Give the job of `token` back to the front of its lane."""
    return Command(
        "release_claim", (keys.claims, keys.pauses, keys.diverts), (token, int(is_crash), keys.engine.jobs), bool
    )


def renew_claim(keys: Keys, token: bytes) -> Command[bool]:
    """Say that the holder of `token` is alive."""
    return Command("renew_claim", (keys.claims,), (token,), bool)


def hand_over_polling(keys: Keys, lanes: tuple[str, ...], *, worker: str) -> Command[bool]:
    """Call another worker of `lanes` to poll, unless the poller is another one than `worker`."""
    return Command("leave_lookout", poller_keys(keys, lanes), (worker,), bool)


@_remembered
def poller_keys(keys: Keys, lanes: tuple[str, ...]) -> tuple[str, str]:
    """The keys of the poller for the workers of exactly these lanes, and of what calls the next."""
    names = "\0".join(sorted(lanes)).encode("utf-8", "surrogateescape")
    group = hashlib.sha256(names).hexdigest()[:16]
    return keys.poller(group), keys.poller_handoff(group)


@_remembered
def bells(keys: Keys, lanes: tuple[str, ...]) -> tuple[str, ...]:
    """What an idle worker of `lanes` waits for."""
    return tuple(dict.fromkeys(keys.bell(lane_of(lane).queue) for lane in lanes))


def list_claims(
    keys: Keys, *, first: int = 0, limit: int = CLAIMS_PER_STEP, starting: int = CLAIMS_PER_STEP
) -> Command[tuple[ClaimSeen, ...]]:
    """At most `limit` claims from rank `first` on, and at most `starting` that passed the gate."""
    return Command("list_claims", (keys.claims, keys.starting), (first, limit, starting), _claims_from)


def running_jobs(store: Store, lanes: Sequence[str]) -> tuple[RunningJob, ...]:
    """The jobs of `lanes` that run now: by lane, then those first that started first.

    A job that is claimed and has not passed the gate does not run, though RQ counts it. Looks at
    no more than `JOBS_PER_LANE` executions of each lane.
    """
    if not lanes:
        return ()
    executions, claims = store.read_and_run(lambda ask: ask_executions(ask, lanes), list_claims(store.keys, limit=0))
    return running_from(store, lanes, executions, claims)


def running_from(
    store: Store, lanes: Sequence[str], executions: Sequence[Any], claims: Sequence[ClaimSeen]
) -> tuple[RunningJob, ...]:
    """Those of the jobs that the replies to `ask_executions` and `list_claims` name that run."""
    starting = {(claim.lane, claim.job_id): claim.worker for claim in claims if claim.lane in lanes}
    found = {(lane, job_of(each)) for lane, those in zip(lanes, executions, strict=True) for each in those}
    # a frozen process may be past the gate after RQ has given up its execution
    jobs = _started_jobs(store, [*(found | starting.keys())], starting)
    ranks = {lane: rank for rank, lane in enumerate(lanes)}
    return tuple(sorted(jobs, key=lambda job: (ranks[job.lane], _since(job), job.job_id)))


def ask_executions(ask: Pipeline, lanes: Sequence[str]) -> None:
    """Ask for what RQ has as started in each of `lanes`: one reply each."""
    for lane in lanes:
        ask.zrange(registry_key(STARTED, lane), 0, JOBS_PER_LANE - 1)


@_remembered
def _claim_job(
    keys: Keys, names: tuple[str, ...], first: int, options: tuple[str | int, ...]
) -> Command[Claimed | NothingClaimed]:
    lanes = names[first : first + LANES_PER_CLAIM]
    rung, still, numbers = _bells_of(keys, lanes, is_all=len(lanes) == len(names))
    return Command(
        "claim_job",
        (keys.claims, keys.pauses, keys.diverts, keys.meters, keys.events, keys.engine.suspended,
         keys.sampled, keys.policy, *poller_keys(keys, names), *rung),
        (*options, *keys.engine.script_prefixes, keys.root, still, numbers, *lanes),
        lambda reply: _claimed(reply, names, first, len(lanes)),
    )  # fmt: skip


def _bells_of(keys: Keys, lanes: tuple[str, ...], *, is_all: bool) -> tuple[tuple[str, ...], int, str]:
    """The bells of `lanes`, how many of the first may be stilled, and for each lane the number of its bell.

    One that other lanes share, for which nobody has looked, goes on to ring.
    """
    queues = [lane_of(lane).queue for lane in lanes]
    count = Counter(queues)
    whole = {queue for queue in count if is_all and count[queue] >= len(PRIORITIES)}
    ordered = sorted(count, key=lambda queue: queue not in whole)
    numbers = {queue: f"{number:04}" for number, queue in enumerate(ordered, start=1)}
    return tuple(keys.bell(queue) for queue in ordered), len(whole), "".join(numbers[queue] for queue in queues)


def _gate(
    keys: Keys, held: HeldClaim, question: tuple[str, ...], registry: str = "", work: tuple[str, int] = ("", 0)
) -> Command[Gate]:
    return Command(
        "start_job",
        (keys.claims, keys.pauses, keys.diverts, keys.starting, keys.meters,
         keys.engine.jobs + held.job_id, keys.outcomes, *([registry] if registry else [])),
        (held.token, *question, *keys.engine.script_prefixes, *work),
        lambda reply: Gate(*(text_of(part) for part in reply)),
    )  # fmt: skip


def _claimed(reply: list[Any], lanes: tuple[str, ...], first: int, looked_at: int) -> Claimed | NothingClaimed:
    state = text_of(reply[0])
    if state == "claimed":
        _, number, token, job_id, undecided, flat, running, drain = reply
        fields = dict(zip(flat[::2], flat[1::2], strict=True))
        crashes = count_of(fields.get(CRASHES_FIELD.encode()))
        texts = text_of(running), text_of(drain)
        return Claimed(token, text_of(job_id), lanes[first + number - 1], crashes, *texts, bool(undecided), fields)
    if state == "empty":
        following = first + looked_at
        return NothingClaimed(
            wait_ms=int(reply[1]),
            is_upkeep_due=bool(reply[2]),
            next_lane=following if following < len(lanes) else 0,
            meanwhile=_MEANWHILE[text_of(reply[3])],
        )
    if state == "again" and reply[1] > 1:
        return NothingClaimed(wait_ms=int(reply[2]), next_lane=first + reply[1] - 1)
    return NothingClaimed(is_again=state == "again", is_suspended=state == "suspended", is_outdated=state == "outdated")


def _claims_from(reply: list[Any]) -> tuple[ClaimSeen, ...]:
    return tuple(
        ClaimSeen(text_of(which) == "starting", text_of(worker), text_of(lane), text_of(job),
                  int(claimed_at), text_of(order), int(alive_at), token)
        for which, worker, lane, job, claimed_at, order, alive_at, token in in_rows(reply, 8)
    )  # fmt: skip


def _started_jobs(
    store: Store, candidates: Sequence[tuple[str, str]], starting: Mapping[tuple[str, str], str]
) -> list[RunningJob]:
    started = _read_started(store, candidates)
    # the note of an older job with the same id is no answer
    noted = {job: function_from_field(fields.get(NOTE_FIELD), fields.get("created_at")) for _, job, fields in started}
    names = functions_of(store, noted)
    return [
        RunningJob(
            job, lane, fields.get("worker_name", ""), time_of(fields.get("started_at")), names[job],
            is_certain=starting.get((lane, job)) != fields.get("worker_name", ""),
        )
        for lane, job, fields in started
    ]  # fmt: skip


def _read_started(store: Store, jobs: Sequence[tuple[str, str]]) -> list[_Found]:
    replies = store.read(lambda ask: [ask.hmget(store.keys.engine.jobs + job, _FIELDS) for _, job in jobs])
    found = [(lane, job, _texts(values)) for (lane, job), values in zip(jobs, replies, strict=True)]
    return [each for each in found if each[2].get("status") == JobState.STARTED]


def _texts(values: Sequence[Any]) -> dict[str, str]:
    pairs = zip(_FIELDS, values, strict=True)
    return {name: text_of(value) for name, value in pairs if value is not None}


def _since(job: RunningJob) -> float:
    return job.since.timestamp() if job.since else 0.0
