"""Is every job accounted for: run, running, waiting or in the backlog, and in one of them only?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from shedder.demo.places import Places


@dataclass(frozen=True, slots=True)
class Accounts:
    """Where the jobs are, as numbers, and those for which the numbers do not come out.

    Attributes:
        sent: jobs that were enqueued.
        run: jobs that have run, by what they wrote themselves.
        running: jobs that run now.
        claimed: jobs in a worker's hands that have not started.
        waiting: jobs that wait in a lane.
        backlog: jobs in a backlog.
        failed: jobs that have failed; none of the demo's does by itself.
        missing: ids that are in none of these places.
        twice: ids that are in two of them, or in one of them twice.
        run_again: ids of jobs that began more than once.
        strangers: ids that were found and never sent.
    """

    sent: int
    run: int
    running: int
    claimed: int
    waiting: int
    backlog: int
    failed: int
    missing: tuple[str, ...] = ()
    twice: tuple[str, ...] = ()
    run_again: tuple[str, ...] = ()
    strangers: tuple[str, ...] = ()

    @property
    def is_complete(self) -> bool:
        """Whether every id that was sent, and no other, is in exactly one place."""
        wrong = (self.missing, self.twice, self.run_again, self.strangers)
        return not any(wrong) and not self.failed


def balance(
    sent: Iterable[str], *, started: Mapping[str, int], again: Iterable[str], places: Places
) -> Accounts:
    """Hold the ids that were sent against those that are found.

    Args:
        sent: all ids that were enqueued.
        started: the ids that began, with their times, by what the jobs wrote.
        again: the ids that began once more.
        places: where ids are in Redis.
    """
    # Until it has started, and again when it was given back, a job is in RQ's registry of running
    # jobs and in the place that counts.
    elsewhere = {*places.waiting, *places.backlog, *places.claimed, *places.failed}
    running = set(places.running) - elsewhere
    run = set(started) - running
    standing = [*places.waiting, *places.backlog, *places.claimed, *places.failed, *running, *run]
    known, counts = set(sent), Counter(standing)
    return Accounts(
        sent=len(known),
        run=len(run),
        running=len(running),
        claimed=len(places.claimed),
        waiting=len(places.waiting),
        backlog=len(places.backlog),
        failed=len(places.failed),
        missing=tuple(sorted(known - counts.keys())),
        twice=tuple(sorted(job for job, count in counts.items() if count > 1)),
        run_again=tuple(sorted(again)),
        strangers=tuple(sorted(counts.keys() - known)),
    )
