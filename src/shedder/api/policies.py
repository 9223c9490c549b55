"""`Shedder.policies`: applies a policy and warns, sheds, explains, and sketches a first one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from shedder.engine.jobs import NOTE_FIELD, function_from_field, function_name, functions_of, meta_texts
from shedder.engine.names import FAILED, FINISHED, registry_key
from shedder.engine.workers import all_workers, queues_of
from shedder.errors import NothingMatched
from shedder.events import Cause
from shedder.lanes import DEFAULT_PRIORITY, PRIORITIES, Lane, lane_of, lanes_of_targets, queues_in
from shedder.later import later
from shedder.policy.applied import AppliedPolicy, PolicyReceipt, applied_policy, apply_policy, forget_policy
from shedder.policy.model import Policy
from shedder.selection import MAX_TEXT
from shedder.store.arguments import checks_arguments
from shedder.store.codec import text_of
from shedder.store.store import Store
from shedder.wording import named

if TYPE_CHECKING:
    import shedder
    from shedder.policy import explain, file
    from shedder.queues import samples, shed
    from shedder.status.status import read_status
else:
    globals().update(later((
        ("shedder.policy", "explain file"),
        ("shedder.queues", "samples shed"),
        ("shedder.status.status", "read_status"),
    )))  # fmt: skip


@checks_arguments
class Policies:
    """The policy in force, and what follows from it; `Shedder.policies`.

    Every method may raise `RedisUnreachable`, `ServerTooOld` and `RecordUnreadable`.
    """

    def __init__(self, store: Store, cause: Callable[[str, str | None], Cause]) -> None:
        self._store = store
        self._cause = cause

    def read(self, path: str | Path) -> Policy:
        """The policy in a file, checked as a whole; changes nothing.

        Raises:
            PolicyInvalid: it has problems; the error lists all of them.
            PolicyTooNew: it is of a newer version.
            InvalidInput: the file cannot be read.
        """
        return file.read_policy(Path(path))

    def applied(self) -> AppliedPolicy:
        """The policy in force; number 0 and empty while none was applied."""
        return applied_policy(self._store)

    def apply(
        self, policy: Policy, *, reason: str, by: str | None = None, based_on: int | None = None
    ) -> PolicyReceipt:
        """Put a policy into force, in every producer and worker of ours within a second.

        `based_on` is the number of the policy that was in force when this one was written; without
        it whatever is in force is replaced.

        Raises:
            PolicyChanged: another one than `based_on` is in force; nothing was changed.
        """
        warnings = out_of_reach(self._store, policy)
        receipt = apply_policy(self._store, policy, self._cause(reason, by), based_on=based_on)
        forget_policy(self._store.connection)
        return replace(receipt, warnings=warnings)

    def sketch(self) -> str:
        """A first policy file, from the queues, functions and rates that can be seen now."""
        return file.sketched_policy(seen_queues(self._store))

    def shed(
        self, *, reason: str, by: str | None = None, on_step: Callable[[shedder.ShedStep], None] | None = None
    ) -> tuple[shedder.ShedStep, ...]:
        """Divert all that the policy in force says may be shed, in its order.

        All rules for a queue are one divert on its lanes, which is drained like any other; the undo of
        its event ends the diverts of all queues.
        """
        steps = shed.shed(self._store, self.applied().policy, self._cause(reason, by), on_step=on_step)
        if lanes := lanes_of_targets({queue: None for step in steps for queue in step.queues}):
            samples.sample_after(self._store, [lane.name for lane in lanes])
        return steps

    def preview_shed(self) -> tuple[shedder.ShedStep, ...]:
        """What `shed` would do; changes nothing."""
        return shed.preview_shed(self._store, self.applied().policy)

    def explain(self, job_id: str) -> shedder.ExplainedJob:
        """What the policy in force says of a job, and which rule decided it.

        Raises:
            NothingMatched: there is no such job.
        """
        key = self._store.keys.engine.jobs + job_id
        noted, created, origin, data, meta = self._store.read(
            lambda ask: ask.hmget(key, NOTE_FIELD, "created_at", "origin", "data", "meta")
        )[0]
        if created is None:
            raise NothingMatched(f"job {job_id}")
        applied = self.applied()
        return explain.explained(
            applied.policy, applied.number, job=job_id, lane=text_of(origin or b""),
            function=function_from_field(noted, created) or function_name(data or b""),
            meta=meta_texts(meta) or {},
        )  # fmt: skip


WORKERS_NAMED = 3


def out_of_reach(store: Store, policy: Policy) -> tuple[str, ...]:
    """A sentence for each queue that has stock workers only and gets priorities from `policy`.

    It looks at the queues and the workers that are there now; without workers there is nothing to
    warn of.
    """
    if not any(rule.priority for rule in policy.rules):
        return ()
    workers = all_workers(store)
    served = {lane for worker in workers for lane in worker.lanes}
    told = (_warning(policy, queue, workers) for queue in queues_in({*served, *queues_of(store)}))
    return tuple(sentence for sentence in told if sentence)


def _warning(policy: Policy, queue: str, workers: Sequence[shedder.WorkerSeen]) -> str:
    lanes = _lanes_given(policy, queue)
    serving = [each for each in workers if any(lane_of(lane).queue == queue for lane in each.lanes)]
    if not lanes or not serving or not all(worker.is_stock for worker in serving):
        return ""
    names = [worker.name for worker in serving[:WORKERS_NAMED]]
    if len(serving) > WORKERS_NAMED:
        names.append(f"{len(serving) - WORKERS_NAMED} more")
    served = {lane for worker in serving for lane in worker.lanes}
    waiting = [lane.name for lane in lanes if lane.name not in served]
    said = f"Only stock workers serve {queue} ({named(names)}), and they keep no priority of a policy"
    if waiting:
        said += f": jobs that go into {named(waiting)} wait until a worker of shedder serves {queue}"
    return f"{said}."


def _lanes_given(policy: Policy, queue: str) -> tuple[Lane, ...]:
    """The lanes of `queue` in which its rules want jobs to be, each once."""
    found = [
        # a queue that is declared as a whole stays where it is
        Lane(queue, DEFAULT_PRIORITY if rule.selection.is_whole else rule.priority)
        for rule in policy.rules
        if rule.priority and rule.is_for_queue(queue)
    ]
    return tuple(dict.fromkeys(found))


JOBS_LOOKED_AT = 100
"""Of each list of a lane, evenly spread, and of its last jobs that ended: enough to see what a queue is for."""

LONGEST_DATA = 2_000
"""Bytes of a job's data that are worth fetching for the name of its function."""


def seen_queues(store: Store) -> tuple[file.SeenQueue, ...]:
    """All queues with what was seen of them; reads only, in bounded steps."""
    status = read_status(store)
    return tuple(_seen(store, name, status) for name in sorted({lane.queue for lane in status.lanes}))


def _seen(store: Store, queue: str, status: shedder.Status) -> file.SeenQueue:
    lanes = [lane for lane in status.lanes if lane.queue == queue]
    functions = _functions(store, list(dict.fromkeys([*_waiting_jobs(store, queue), *_ended_jobs(store, queue)])))
    times = [each for lane in lanes for each in (lane.oldest, lane.oldest_in_backlog) if each]
    return file.SeenQueue(
        name=queue,
        waiting=sum(lane.waiting + lane.backlog for lane in lanes),
        arrivals=_sum(lanes, "arrivals"),
        completions=_sum(lanes, "completions"),
        failed=sum(lane.outcomes.failed_kept for lane in lanes),
        oldest_seconds=(status.at - min(times)).total_seconds() if times else None,
        functions={name: count for name, count in functions.items() if name},
        looked_at=sum(functions.values()),
    )


def _waiting_jobs(store: Store, queue: str) -> list[str]:
    """Some of the jobs that wait, from all over its lists: of a flood not its first jobs alone."""
    lists = [key for priority in PRIORITIES for key in store.keys.lane(Lane(queue, priority).name)[:3]]
    lengths = store.read(lambda ask: [ask.llen(key) for key in lists])
    places = [(key, place) for key, length in zip(lists, lengths, strict=True) for place in _evenly(length)]
    found = store.read(lambda ask: [ask.lindex(key, place) for key, place in places])
    return [text_of(job) for job in found if job is not None]


def _evenly(length: int) -> list[int]:
    looked_at = min(length, JOBS_LOOKED_AT)
    return [number * length // looked_at for number in range(looked_at)]


def _ended_jobs(store: Store, queue: str) -> list[str]:
    """The last jobs that RQ keeps as finished or failed: on a quiet day nothing else is there."""
    lanes = [Lane(queue, priority).name for priority in PRIORITIES]
    kept = [registry_key(kind, lane) for kind in (FINISHED, FAILED) for lane in lanes]
    replies = store.read(lambda ask: [ask.zrevrange(key, 0, JOBS_LOOKED_AT - 1) for key in kept])
    return [text_of(job) for ids in replies for job in ids]


def _functions(store: Store, jobs: Sequence[str]) -> Counter[str]:
    prefix = store.keys.engine.jobs
    notes = store.read(lambda ask: [ask.hmget(prefix + job, NOTE_FIELD, "created_at") for job in jobs])
    noted = {job: function_from_field(*fields) for job, fields in zip(jobs, notes, strict=True)}
    named = functions_of(store, noted, longest=LONGEST_DATA).values()
    return Counter(name if _is_glob_free(name) else "" for name in named)


def _is_glob_free(name: str) -> bool:
    is_long = len(name.encode("utf-8", "replace")) > MAX_TEXT
    return name.isprintable() and not is_long and not any(each in name for each in "*?[]")


def _sum(lanes: Iterable[shedder.LaneStatus], name: str) -> float | None:
    known = [each for lane in lanes if (each := getattr(lane, name)) is not None]
    return sum(known) if known else None
