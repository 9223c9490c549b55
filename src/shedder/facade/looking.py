"""What is seen of queues, lanes, jobs and workers?"""

from __future__ import annotations

from datetime import datetime

from shedder.facade.wiring import Wiring
from shedder.lanes import Lane, lane_of, lanes_of_targets
from shedder.records import AuditReport, RunningJob, Status, WorkerSeen
from shedder.rq import audit, fleet, running, status
from shedder.rq.progress import Progress
from shedder.samples import Sample, read_samples


class Looking(Wiring):
    """What only reads."""

    def lanes(self, targets: tuple[str, ...]) -> tuple[Lane, ...]:
        """The lanes that `targets` stand for."""
        return lanes_of_targets(targets)

    def queues(self) -> tuple[str, ...]:
        """The names of all queues that RQ knows, sorted."""
        known = fleet.queues_of(self.store, self.keys)
        return tuple(sorted({lane_of(name).queue for name in known}))

    def workers(self, *targets: str) -> tuple[WorkerSeen, ...]:
        """The workers that serve `targets`, stock ones among them."""
        return fleet.workers_of(self.store, self.keys, self._names(targets))

    def running(self, *targets: str) -> tuple[RunningJob, ...]:
        """The jobs of `targets` that run now."""
        return running.running_jobs(self.store, self.keys, self._names(targets))

    def status(self, *targets: str) -> Status:
        """How `targets` are, or all lanes; its cost does not depend on the length of queues."""
        lanes = self._lanes(targets) if targets else None
        return status.read_status(self.store, self.keys, lanes)

    def audit(self, on_progress: Progress | None = None) -> AuditReport:
        """Where every job is; reads only, in bounded steps."""
        return audit.audit(self.store, self.keys, on_progress=on_progress)

    def samples(
        self, *targets: str, since: datetime, until: datetime | None = None
    ) -> dict[str, tuple[Sample, ...]]:
        """How the lanes of `targets`, or all, were in a time, oldest first; at most 14 days back.

        A lane for which there is no sample is left out.
        """
        names = self._names(targets or self.queues())
        return read_samples(self.store, self.keys, names, since=since, until=until)
