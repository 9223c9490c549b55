"""Every job is in exactly one place and ran as it should, or the account says which did not.

Two witnesses: what stands in Redis at one instant, and the marks that jobs left in a file, which no
fault of Redis and no kill can take back.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.jobs import Mark, marks_in, whole_lines

if TYPE_CHECKING:
    from tests.faults.snapshot import Snapshot

ENDED = frozenset({"finished", "failed", "canceled", "stopped"})

RUNS_TWICE = "_retry"
"""In the id of a job that raises at its first run and is retried."""

CLAIM = "claim"

_HOMES = {
    "started": {"started"},
    "deferred": {"deferred", "ready"},
    "scheduled": {"scheduled"},
    "rate_limited": {"rate_limited"},
    "ready_to_enqueue": {"ready"},
}
_ANY = {"any"}


@dataclass(frozen=True, slots=True)
class Wrong:
    """Something that must not be.

    Attributes:
        kind: `lost`, `doubled`, `twice` (started), `paused` or `diverted` (started although),
            `order`, `leaked`, `stuck`, `failed` (without having run) or `other`.
        what: The job, and what is wrong with it.
    """

    kind: str
    what: str


@dataclass(slots=True)
class Book:
    """Every job ever enqueued, as its producer knows it.

    Attributes:
        sure: Lane of each job that a producer was told is in; in the order of their arrival.
        maybe: Jobs whose producer got an error or was killed.
        vanishing: Jobs whose hash may be gone: they expire, or were deleted.
    """

    sure: dict[str, str] = field(default_factory=dict)
    maybe: set[str] = field(default_factory=set)
    vanishing: set[str] = field(default_factory=set)

    def read(self, path: Path) -> None:
        """Take over what producers in other processes have written down."""
        for line in whole_lines(path):
            what, job, lane = line.split("\t")
            if what == "sure":
                self.maybe.discard(job)
                self.sure.setdefault(job, lane)
            elif job not in self.sure:
                self.maybe.add(job)


def append_line(path: str | Path, *words: object) -> None:
    """Write one line that no kill can tear: `words` with tabs between them."""
    line = "\t".join(map(str, words)) + "\n"
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)


def wrong_places(snapshot: Snapshot, book: Book, *, has_stock: bool = False) -> list[Wrong]:
    """The jobs that are at this instant in no place, or in two.

    A stock worker has a job in its hands that stands nowhere; with `has_stock` that is not told.
    """
    wrong = [
        Wrong("lost", f"{job} is {snapshot.status[job]}, and was set aside as if there were none")
        for job in sorted(snapshot.unseen & snapshot.status.keys())
    ]
    for job in (*book.sure, *(job for job in book.maybe if job in snapshot.status)):
        wrong += _wrong_place(snapshot, job, may_vanish=job in book.vanishing, has_stock=has_stock)
    return wrong


def _wrong_place(snapshot: Snapshot, job: str, *, may_vanish: bool, has_stock: bool) -> Iterable[Wrong]:
    where = snapshot.places.get(job, ())
    status = snapshot.status.get(job)
    homes = snapshot.registries.get(job, frozenset())
    if len(where) > 1:
        yield Wrong("doubled", f"{job} ({status}) is in {' and '.join(where)}")
    elif "failed" in homes and any(":shedder:backlog:" in each for each in where):
        yield Wrong("doubled", f"{job} ({status}) has failed, and is in {where[0]}")
    elif where and status == "started" and "started" in homes:
        yield Wrong("doubled", f"{job} runs, and is in {where[0]}")
    elif status is None and not where and not may_vanish:
        yield Wrong("lost", f"{job} is gone")
    elif not where and status == "queued" and not has_stock:
        yield Wrong("lost", f"{job} is queued and in no place")
    elif not where and _HOMES.get(status or "", _ANY).isdisjoint({*homes, *_ANY}):
        yield Wrong("lost", f"{job} is {status} and in no place")


def wrong_at_end(
    snapshot: Snapshot,
    book: Book,
    marks: Sequence[Mark],
    kills: Mapping[str, Sequence[float]],
    *,
    has_kills: bool = False,
) -> list[Wrong]:
    """What is wrong when all work is done: jobs that are not done, or are done without a run.

    A job that is in `kills` may have failed between its start and the first line of its function.
    With `has_kills` a process was killed, be it in no job.
    """
    wrong = wrong_places(snapshot, book)
    begun = {mark.key for mark in marks if mark.what == "start"}
    done = {mark.key for mark in marks if mark.what == "end"}
    for job in book.sure:
        status = snapshot.status.get(job)
        if status is None or job in book.vanishing:
            continue
        if has_kills and is_left_by_rq(snapshot, job):
            continue
        if status not in ENDED:
            wrong.append(Wrong("stuck", f"{job} is {status}, {snapshot.places.get(job, ())}"))
        elif status == "finished" and job not in done:
            wrong.append(Wrong("failed", f"{job} is finished and never ended"))
        elif status == "failed" and job not in begun and not kills.keys() & {job, "*"}:
            wrong.append(Wrong("failed", f"{job} failed without a start"))
    wrong += [Wrong("leaked", key) for key in snapshot.left_over()]
    claims = [job for job, where in snapshot.places.items() if CLAIM in where]
    return wrong + [Wrong("leaked", f"the claim of {job}") for job in claims]


def is_left_by_rq(snapshot: Snapshot, job: str) -> bool:
    """Whether `job` waits for one that has failed.

    RQ writes a failure down, and enqueues what waits for the job in a second step: who is killed
    between them leaves it deferred, and nobody comes back to it. Each waits for the one before it.
    """
    if snapshot.status.get(job) != "deferred":
        return False
    name, _, number = job.rpartition("-")
    for before in range(int(number) - 1, -1, -1):
        status = snapshot.status.get(f"{name}-{before:0{len(number)}d}")
        if status != "deferred":
            return status == "failed"
    return False


def started_twice(marks: Sequence[Mark], kills: Mapping[str, Sequence[float]]) -> tuple[int, list[Wrong]]:
    """How many jobs a kill past the start made run again, and those that nothing excuses.

    `kills` are the times of faults by job; those under `*` may excuse any.
    """
    starts = defaultdict(list)
    for mark in marks:
        if mark.what == "start":
            starts[mark.key].append(mark.at)
    excused, wrong = 0, []
    for job, times in starts.items():
        faults = (*kills.get(job, ()), *kills.get("*", ()))
        own = 1 if RUNS_TWICE in job else 0
        for first, second in zip(times[own:], times[own + 1 :], strict=False):
            if any(first - 0.2 <= at <= second for at in faults):
                excused += 1
            else:
                wrong.append(Wrong("twice", f"{job} started at {first:.3f} and {second:.3f}"))
    return excused, wrong


@dataclass(frozen=True, slots=True)
class Hold:
    """A time in which no job of some lanes may start.

    Attributes:
        kind: `paused` or `diverted`.
        lanes: The names of the lanes.
        begin: When the receipt was there, in seconds of the machine's monotonic clock.
        end: When its end was asked for.
        uncertain: Jobs that the receipt named as running.
    """

    kind: str
    lanes: frozenset[str]
    begin: float
    end: float
    uncertain: frozenset[str] = frozenset()


GRACE_SECONDS = {"paused": 0.0, "diverted": 0.3}
"""A divert does not wait for those that have just passed the gate; a pause does."""


def started_in(holds: Sequence[Hold], marks: Sequence[Mark], book: Book) -> list[Wrong]:
    """The jobs that started although they were held."""
    wrong = []
    for mark in marks:
        lane = book.sure.get(mark.key)
        for hold in holds if mark.what == "start" else ():
            late = mark.at - hold.begin - GRACE_SECONDS[hold.kind]
            is_held = lane in hold.lanes and mark.key not in hold.uncertain
            if is_held and late > 0 and mark.at < hold.end:
                wrong.append(Wrong(hold.kind, f"{mark.key} started {late:.4f} s too late"))
    return wrong


def out_of_order(ids: Sequence[str], *, in_hand: int = 0) -> list[Wrong]:
    """What stands in a list before something older, but for the first `in_hand`.

    So many jobs may have been in workers' hands at once and come back in any order.
    """
    rest = ids[in_hand:]
    last: Counter[str] = Counter()
    wrong = []
    for job in rest:
        name, _, number = job.rpartition("-")
        if int(number) < last[name]:
            wrong.append(Wrong("order", f"{job} stands behind {name}-{last[name]:06d}"))
        last[name] = max(last[name], int(number))
    return wrong


def marks_of(path: str | Path) -> list[Mark]:
    """The marks that jobs have left so far."""
    return marks_in(path)
