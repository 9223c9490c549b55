"""Which jobs of a list a selection takes: windows of it, and what no script can judge.

A script knows the functions of jobs of our producers. Their meta, and the functions of others, are
serialized, and are read here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple

from shedder.engine.jobs import MAX_META_BYTES, function_name, meta_fields
from shedder.selection import Selection
from shedder.store.ahead import Ahead
from shedder.store.codec import in_rows, text_of, time_from_ms
from shedder.store.keys import Keys
from shedder.store.store import Command, Store

JOBS_PER_LOOK = 125
"""Jobs that one window of a dry run looks at: it moves none, and holds the server as long."""

LATELY = timedelta(minutes=1)
"""A job that was enqueued within it came lately."""

LONG = b"?"
"""Stands for a meta that is long; no meta that can be read."""

AS_IS = "surrogateescape"
"""An id that comes back as something else would be asked about for ever."""


class Undecided(NamedTuple):
    """A job that a script cannot judge.

    Attributes:
        job_id: Its id; bytes that are no text stand in it as half characters.
        noted: Its function, where its producer noted that in plain text, else empty.
        data: The first bytes of its serialized data; empty where they are not asked for.
        meta: Its serialized meta, `?` when that is long; empty where it is not asked for.
        age_ms: How long ago it was enqueued, in ms by the server's clock; 0 where that is not asked for.
        enqueued_at: When it was enqueued, as RQ writes it; empty when not asked for.
    """

    job_id: str
    noted: str
    data: bytes
    meta: bytes
    age_ms: int
    enqueued_at: str = ""

    @property
    def function(self) -> str | None:
        """Its function; None when it cannot be known."""
        return self.noted or function_name(self.data)


@dataclass(slots=True)
class TakenJobs:
    """Jobs that a selection takes.

    Attributes:
        jobs: How many.
        lately: How many of them were enqueued in the last minute.
        oldest: When the oldest was enqueued.
    """

    jobs: int = 0
    lately: int = 0
    oldest: datetime | None = None

    def add(self, jobs: int, lately: int, oldest: datetime | None) -> None:
        """Count some more."""
        self.jobs += jobs
        self.lately += lately
        if oldest is not None:
            self.oldest = min(self.oldest or oldest, oldest)


@dataclass(frozen=True, slots=True)
class PreviewWindow:
    """What was seen in some jobs of a list.

    Attributes:
        looked_at: How many jobs; less than asked for means that the list has ended, or that the parts
            are not done.
        parts: The parts that were looked at to their end.
        functions: Jobs that are taken, by function; empty is that of a job that is gone.
        undecided: Jobs that the caller must judge, or whose function it must read.
    """

    looked_at: int
    parts: int
    functions: Mapping[str, TakenJobs]
    undecided: tuple[Undecided, ...]


def judge(job: Undecided, selection: Selection) -> bool | None:
    """Whether `selection` takes a job that a script could not judge.

    None when nobody can tell here, because its data or meta need the application's code. Such a job
    stays in its lane: the worker, which can read it, decides before it starts.
    """
    function = job.function if selection.functions or selection.any_of else None
    fields = selection.fields
    meta = meta_fields(job.meta, fields) if fields else {}
    return selection.decide(function=function, meta=meta, age=timedelta(milliseconds=job.age_ms))


def with_long_meta(store: Store, jobs: Sequence[Undecided]) -> list[Undecided]:
    """`jobs`, with the metas that a script does not hand over because they are long; one at a time."""
    return [job._replace(meta=long_meta(store, job.job_id)) if job.meta == LONG else job for job in jobs]


def long_meta(store: Store, job_id: str) -> bytes:
    """The meta of a job that a script does not hand over; `?` where nobody reads one that long."""
    key = store.keys.engine.jobs.encode() + job_id.encode("utf-8", AS_IS)
    size = store.read(lambda ask: ask.hstrlen(key, "meta"))[0]
    found: bytes | None = store.read(lambda ask: ask.hget(key, "meta"))[0] if size <= MAX_META_BYTES else None
    return found or LONG


def preview_lane(
    keys: Keys, source: str, selection: Selection, *parts: tuple[int, int], with_meta: bool = False
) -> Command[PreviewWindow]:
    """What `selection` would take of the jobs of one list: in each part some jobs from an index on.

    With `with_meta` each job that is taken is returned.
    """
    wanted = (selection_json(selection), keys.engine.jobs, int(with_meta), LATELY // timedelta(milliseconds=1))
    flat = (number for part in parts for number in part)
    return Command("preview_lane", (source,), (*wanted, *flat), _preview_window)


def windows_of(store: Store, source: str, selection: Selection, *, with_meta: bool = False) -> Iterator[PreviewWindow]:
    """What `selection` would take of all jobs of one list, window by window.

    The server looks at the next window while the caller is at one.
    """

    def look(first: int) -> Command[PreviewWindow]:
        return preview_lane(store.keys, source, selection, (first, JOBS_PER_LOOK), with_meta=with_meta)

    with Ahead(store) as ahead:
        first = 0
        ahead.send(look(first))
        while True:
            window: PreviewWindow = ahead.receive()[0]
            first += window.looked_at
            is_more = window.looked_at == JOBS_PER_LOOK or not window.parts
            if is_more:
                ahead.send(look(first))
            yield window
            if not is_more:
                return


@lru_cache(maxsize=64)
def selection_json(selection: Selection) -> str:
    """What the scripts take of a selection."""
    return json.dumps(selection.to_record(), sort_keys=True)


def undecided_from(row: Sequence[bytes]) -> Undecided:
    """What a script returns of a job that it cannot judge."""
    job, noted, data, meta, age, *enqueued_at = row
    texts = (text_of(each) for each in enqueued_at)
    return Undecided(bytes(job).decode("utf-8", AS_IS), text_of(noted), bytes(data), bytes(meta), int(age), *texts)


def _preview_window(reply: list[Any]) -> PreviewWindow:
    looked_at, parts, functions, rest = reply
    taken = {
        text_of(name): TakenJobs(int(jobs), int(lately), time_from_ms(int(oldest)) if int(oldest) else None)
        for name, jobs, oldest, lately in in_rows(functions, 4)
    }
    return PreviewWindow(int(looked_at), int(parts), taken, tuple(map(undecided_from, in_rows(rest, 6))))
