"""Which priorities of a policy would nobody keep, because only stock workers serve the lanes?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shedder.keys import Keys
from shedder.lanes import DEFAULT_PRIORITY, Lane, lane_of
from shedder.rq.fleet import all_workers, queues_of
from shedder.sentences import named
from shedder.store import Store

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shedder.policy import Policy
    from shedder.records import WorkerSeen

WORKERS_NAMED = 3


def out_of_reach(store: Store, keys: Keys, policy: Policy) -> tuple[str, ...]:
    """A sentence for each queue that has stock workers only and gets priorities from `policy`.

    It looks at the queues and the workers that are there now; without workers there is nobody to
    warn of.
    """
    if not any(rule.priority for rule in policy.rules):
        return ()
    workers = all_workers(store)
    served = {lane_of(lane).queue for worker in workers for lane in worker.lanes}
    queues = served | {lane_of(name).queue for name in queues_of(store, keys)}
    told = (_warning(policy, queue, workers) for queue in sorted(queues))
    return tuple(sentence for sentence in told if sentence)


def _warning(policy: Policy, queue: str, workers: Sequence[WorkerSeen]) -> str:
    lanes = _lanes_given(policy, queue)
    serving = [each for each in workers if any(lane_of(lane).queue == queue for lane in each.lanes)]
    if not lanes or not serving or not all(worker.is_stock for worker in serving):
        return ""
    names = [worker.name for worker in serving[:WORKERS_NAMED]]
    if len(serving) > WORKERS_NAMED:
        names.append(f"{len(serving) - WORKERS_NAMED} more")
    served = {lane for worker in serving for lane in worker.lanes}
    waiting = [lane.name for lane in lanes if lane.name not in served]
    said = (
        f"Only stock workers serve {queue} ({named(names)}), and they keep no priority of a policy"
    )
    if not waiting:
        return f"{said}."
    return (
        f"{said}: jobs that go into {named(waiting)} wait until a worker of shedder serves {queue}."
    )


def _lanes_given(policy: Policy, queue: str) -> tuple[Lane, ...]:
    """The lanes of `queue` in which its rules want jobs to be, each once."""
    found = [
        # a queue that is declared as a whole stays where it is
        Lane(queue, DEFAULT_PRIORITY if rule.selection.is_whole else rule.priority)
        for rule in policy.rules
        if rule.priority and rule.is_for_queue(queue)
    ]
    return tuple(dict.fromkeys(found))
