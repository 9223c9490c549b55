"""The check-up of an installation: its server, workers, producers, records and jobs.

It reads only, in bounded steps, as the audit does, which is a part of it. `health/repair.py` does
something about what is found.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from shedder.engine.jobs import NOTE_FIELD, JobState, time_of
from shedder.engine.names import WORKER, WORKERS
from shedder.engine.workers import TOLERATED_SECONDS, WorkerSeen, all_workers
from shedder.errors import FLOORS, SERVER_FLOOR, RedisUnreachable, ShedderError
from shedder.health import leftovers
from shedder.health.audit import AuditReport, audit, read_each
from shedder.lanes import why_refused
from shedder.queues.controls import all_lanes
from shedder.queues.sweep import remains
from shedder.status.findings import (
    FAILS,
    FINE,
    HALTED,
    NO_WORKER,
    OVERDUE,
    PROBLEM,
    WARNING,
    Finding,
    check_status,
    eviction,
    lanes_findings,
    memory,
    overdue_findings,
    refused_names,
    suspension,
    unreadable_record,
    work_findings,
)
from shedder.status.readings import Status
from shedder.status.status import memory_share, read_status
from shedder.store.codec import server_time, text_of
from shedder.store.store import Progress, Store
from shedder.wording import counted

NEWEST_JOBS = 10
"""Jobs at the end of each lane that tell which producers are at work."""

LANES_SAMPLED = 200
"""Lanes whose newest jobs are looked at, so that one round trip stays short."""


def check_up(store: Store, *, on_progress: Progress | None = None) -> Checkup:
    """Look at server, workers, producers, records, and at every job."""
    server = read_server(store)
    findings = [*installation_findings(server, prefix=store.keys.engine.prefix)]
    if not is_usable(server):  # no script of ours would run there
        return Checkup(server_time(store), tuple(findings))
    spoilt = list(_type_findings(store))
    if spoilt:  # much of what follows could not be read
        return Checkup(server_time(store), (*findings, *spoilt))
    lanes = all_lanes(store)
    findings += refused_names([name for name in lanes if why_refused(name)])
    findings += fleet_findings(store, lanes)
    status = read_status(store)
    findings += _ends_findings(status)
    findings += _scheduler_findings(status)
    findings += _record_findings(store)
    findings += _order_findings(store, lanes)
    findings += _claim_findings(store)
    findings += _left_by_queues(store)
    report = _audit(store, on_progress)
    findings += _job_findings(store, report)
    return Checkup(server_time(store), tuple(findings), report)


@dataclass(frozen=True, slots=True)
class Checkup:
    """All that was looked at.

    Attributes:
        at: When it ended (server's clock, UTC).
        findings: One or more for each check, in the order in which they were made.
        audit: Where every job is; null when it could not be told.
    """

    at: datetime
    findings: tuple[Finding, ...]
    audit: AuditReport | None = None

    @property
    def is_healthy(self) -> bool:
        """Whether no problem was found; a warning is none."""
        return all(finding.level != PROBLEM for finding in self.findings)

    @property
    def repairable(self) -> tuple[Finding, ...]:
        """What a repair would do something about."""
        return tuple(finding for finding in self.findings if finding.fix)


@dataclass(frozen=True, slots=True)
class ServerReport:
    """What the server says of itself.

    Attributes:
        info: Its report, all sections in one mapping.
        settings: Those of its settings that matter here; empty when it does not tell them.
        is_suspended: RQ's own suspend is on.
    """

    info: Mapping[str, Any]
    settings: Mapping[str, str]
    is_suspended: bool


def _type_findings(store: Store) -> Iterator[Finding]:
    for key, found, wanted in leftovers.keys_of_another_type(store):
        says = (
            f"{key} is of type {found}, and shedder keeps a {wanted} there: somebody changed it by hand. "
            "Rename it away, and shedder goes on without what it held; nothing else was looked at."
        )
        yield Finding("keys", PROBLEM, says, subjects=(key,))


def _scheduler_findings(status: Status) -> Iterator[Finding]:
    """The jobs that are due and that no scheduler puts into their queue."""
    found = [*overdue_findings(status)]
    yield from found
    if not found:
        yield Finding(OVERDUE, FINE, "No job that is to start later is overdue.")


def _ends_findings(status: Status) -> Iterator[Finding]:
    """Jobs that nobody starts, and how jobs end, by the rules of `status` and `check`; what of it is not known."""
    # as a warning, like that no worker is registered: an installation may rest
    yield from (replace(each, level=WARNING) for each in lanes_findings(status) if each.check == NO_WORKER)
    told = [each for each in (*lanes_findings(status), *work_findings(status)) if each.check in (FAILS, HALTED)]
    yield from told
    found = check_status(status)
    for each in found.unknown:
        yield Finding("ends", WARNING, f"It is not known {each}.")
    if not told:
        ended = f"{found.failed:,} of the {counted(found.ended, 'job')} that ended in five minutes failed."
        yield Finding("ends", FINE, ended if found.ended else "No job ended in five minutes.")


def _record_findings(store: Store) -> Iterator[Finding]:
    unreadable = leftovers.unreadable_records(store)
    for lane, said in unreadable:
        yield unreadable_record(lane, said)
    if not unreadable:
        yield Finding("records", FINE, "All pauses and diverts can be read.")


def _order_findings(store: Store, lanes: Sequence[str]) -> Iterator[Finding]:
    found = [*_unfinished(store), *_left_over_lists(store, lanes), *_orphans(store)]
    yield from found
    if not found:
        yield Finding("orders", FINE, "No divert, restore or pause was left half-way.")


def _unfinished(store: Store) -> Iterator[Finding]:
    if orders := leftovers.orders_left(store):
        what = _are(len(orders), "divert or restore", "diverts or restores")
        says = f"{what} half-way, and nobody is at work there: a worker of shedder would finish it."
        subjects = tuple(f"{each.lane} {each.order}" for each in orders)
        yield Finding("unfinished orders", PROBLEM, says, fix="finish them", subjects=subjects)


def _left_over_lists(store: Store, lanes: Sequence[str]) -> Iterator[Finding]:
    if folded := leftovers.lanes_to_fold(store, lanes):
        says = (
            f"Jobs of {counted(len(folded), 'lane')} stand where stock workers and `rq info` do not see them, "
            "though no order wants it so."
        )
        fix = "put them back in front of their lanes"
        yield Finding("left-over lists", PROBLEM, says, fix=fix, subjects=tuple(folded))


def _orphans(store: Store) -> Iterator[Finding]:
    if orphans := leftovers.orphaned_backlogs(store):
        lists = _are(len(orphans), "list")
        says = f"{lists} part of a backlog that no record knows, so nobody will run its jobs."
        fix = "put their jobs back in front of their lanes"
        yield Finding("orphaned backlogs", PROBLEM, says, fix=fix, subjects=tuple(orphans))


def _left_by_queues(store: Store) -> Iterator[Finding]:
    found = remains(store)
    if not found.queues:
        yield Finding("deleted queues", FINE, "Nothing is left of queues that RQ does not know any more.")
        return
    kept = f"{counted(found.keys, 'key')} and {counted(found.fields, 'counter')}"
    queues = counted(len(found.queues), "queue")
    says = (
        f"{kept} are left of {queues} that RQ does not know any more: a worker of shedder removes them within the hour."
    )
    numbers = {"queues": len(found.queues), "keys": found.keys, "counters": found.fields}
    yield Finding("deleted queues", FINE, says, numbers=numbers)


def _claim_findings(store: Store) -> Iterator[Finding]:
    stale, unreadable = leftovers.stale_claims(store)
    if unreadable:
        claims = counted(unreadable, "claim")
        yield Finding("claims", WARNING, f"{claims} cannot be read; jobs that they held are named as in no place.")
    if stale:
        says = (
            f"{_are(len(stale), 'job')} in the hands of a worker that has died, and no worker of shedder is there "
            "to take them back."
        )
        fix, subjects = "put them back in front of their lanes", tuple(claim.job_id for claim in stale)
        yield Finding("claims", PROBLEM, says, fix=fix, subjects=subjects)
    if not stale and not unreadable:
        yield Finding("claims", FINE, "No claim is older than its lease.")


def _audit(store: Store, on_progress: Progress | None) -> AuditReport | None:
    report = audit(store, on_progress=on_progress)
    return None if report.unreadable else report


def _job_findings(store: Store, report: AuditReport | None) -> Iterator[Finding]:
    if report is None:
        yield Finding("jobs", WARNING, "Jobs were not looked for: an unreadable divert hides its backlog.")
        return
    yield from _nowhere(store, report.nowhere)
    yield from _twice(report)
    yield from _dangling(report.dangling)
    if report.is_clean:
        yield Finding("jobs", FINE, f"{_are(report.jobs, 'job')} in exactly one place each.")


def _nowhere(store: Store, jobs: Sequence[str]) -> Iterator[Finding]:
    if not jobs:
        return
    count = len(leftovers.lost_jobs(store, jobs))
    others, them = len(jobs) - count, "it" if len(jobs) == 1 else "them"
    rest = f" {counted(others, 'job')} of them cannot be put back: not `{JobState.QUEUED}`." if others else ""
    says = (
        f"{_are(len(jobs), 'job')} in no list and no registry, so nobody will run {them}: "
        f"a stock worker or a fail-over has lost {them}.{rest}"
    )
    fix = f"put {count} back at the end of their lanes" if count else ""
    yield Finding("jobs in no place", PROBLEM, says, fix=fix, subjects=tuple(jobs))


def _twice(report: AuditReport) -> Iterator[Finding]:
    if report.twice:
        jobs = _are(len(report.twice), "job")
        says = f"{jobs} in two places: workers of shedder run each once, stock workers twice."
        fix = "remove the entry that would be read later"
        subjects = tuple(f"{job} ({', '.join(places)})" for job, places in report.twice)
        yield Finding("jobs in two places", PROBLEM, says, fix=fix, subjects=subjects)


def _dangling(jobs: Sequence[str]) -> Iterator[Finding]:
    if jobs:
        says = f"{counted(len(jobs), 'id')} of expired or deleted jobs wait; they are skipped when it is their turn."
        yield Finding("ids without a job", FINE, says, subjects=tuple(jobs))


def _are(count: int, one: str, many: str = "") -> str:
    return f"{counted(count, one, many)} {'is' if count == 1 else 'are'}"


_SETTINGS = ("appendfsync", "save", "min-replicas-to-write")


def read_server(store: Store) -> ServerReport:
    """Ask the server, and be content with less where it does not tell its settings."""
    info, suspended = store.read(lambda ask: (ask.info(), ask.exists(store.keys.engine.suspended)))
    return ServerReport(info, _read_settings(store), bool(suspended))


def is_usable(report: ServerReport) -> bool:
    """Whether scripts of ours run on this server."""
    product, version = _product_and_version(report.info)
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    return numbers >= FLOORS[product]


def installation_findings(report: ServerReport, *, prefix: str) -> Iterator[Finding]:
    """One finding for each thing that a server can have wrong."""
    yield _version(report)
    yield _persistence(report)
    yield from _replication(report)
    share = memory_share(report.info)
    yield memory(share)
    yield eviction(str(report.info.get("maxmemory_policy", "noeviction")), share=share)
    yield from _cluster(report.info, prefix)
    yield from suspension(is_suspended=report.is_suspended)


def _read_settings(store: Store) -> dict[str, str]:
    try:
        found = store.read(lambda ask: [ask.config_get(name) for name in _SETTINGS])
    except RedisUnreachable:
        raise
    except ShedderError:  # a hosted server often forbids it
        return {}
    return {str(name): str(value) for each in found for name, value in each.items()}


def _product_and_version(info: Mapping[str, Any]) -> tuple[str, str]:
    product = "valkey" if info.get("valkey_version") else "redis"
    return product, str(info.get(f"{product}_version", "0"))


def _version(report: ServerReport) -> Finding:
    product, version = _product_and_version(report.info)
    says = f"The server is {product.title()} {version}"
    if not is_usable(report):
        return Finding("server", PROBLEM, f"{says}; shedder needs {SERVER_FLOOR} or newer.")
    return Finding("server", FINE, f"{says}.")


def _persistence(report: ServerReport) -> Finding:
    info, name = report.info, "persistence"
    if info.get("aof_enabled"):
        if info.get("aof_last_write_status", "ok") != "ok":
            return Finding(name, PROBLEM, "The append-only file cannot be written: is the disk full?")
        return _append_only(report.settings.get("appendfsync", ""))
    if info.get("rdb_last_bgsave_status", "ok") != "ok":
        return Finding(name, PROBLEM, "The last snapshot failed: is the disk full?")
    if report.settings.get("save") == "":
        lost = "Nothing is kept on disk: a restart of the server loses all jobs, backlogs and pauses."
        return Finding(name, PROBLEM, f"{lost} Set `appendonly yes`.")
    changes = int(info.get("rdb_changes_since_last_save", 0))
    lost = f"a crash now would lose the last {changes:,} changes, orders and jobs alike."
    return Finding(name, WARNING, f"Only snapshots are kept on disk: {lost} Set `appendonly yes`.")


def _append_only(appendfsync: str) -> Finding:
    meaning = {
        "always": "nothing that was acknowledged is lost",
        "everysec": "a crash of the machine loses about a second, one of the server nothing",
        "no": "a crash of the machine loses what the system had not written, one of the server nothing",
    }
    says = meaning.get(appendfsync, "how much a crash loses the server does not tell")
    level = WARNING if appendfsync == "no" else FINE
    return Finding("persistence", level, f"The append-only file is on: {says}.")


def _replication(report: ServerReport) -> Iterator[Finding]:
    name = "replication"
    if report.info.get("role") != "master":
        yield Finding(name, PROBLEM, "This server is a replica and takes no orders: name its master with -u.")
        return
    replicas = int(report.info.get("connected_slaves", 0))
    wanted = report.settings.get("min-replicas-to-write")
    if replicas and wanted == "0":
        says = (
            "A fail-over can undo the last orders and lose the last jobs, each whole: "
            "set `min-replicas-to-write 1`, and look again after each."
        )
        yield Finding(name, WARNING, says)
    elif replicas:
        waits = (
            "whether writes wait for them, the server does not tell" if wanted is None else "and writes wait for them"
        )
        yield Finding(name, FINE, f"Replicas that follow: {replicas}; {waits}.")


def _cluster(info: Mapping[str, Any], prefix: str) -> Iterator[Finding]:
    if int(info.get("cluster_enabled", 0)) and not ("{" in prefix and "}" in prefix):
        says = (
            "The server is a node of a cluster, and the keys have no hash tag: "
            "set RQ_KEY_PREFIX='{rq}' for producers, workers and here."
        )
        yield Finding("cluster", PROBLEM, says)


def fleet_findings(store: Store, lanes: Sequence[str]) -> Iterator[Finding]:
    """What there is to say of workers, producers and clocks."""
    yield _workers(all_workers(store))
    yield _producers(store, lanes)
    yield from _unseen(store, lanes)
    yield from _clocks(store)


def _workers(workers: Sequence[WorkerSeen]) -> Finding:
    stock = tuple(worker.name for worker in workers if worker.is_stock)
    if not workers:
        return Finding("workers", WARNING, "No worker is registered, so no job starts.")
    if not stock:
        return Finding("workers", FINE, f"Workers, all of shedder: {len(workers):,}.")
    says = (
        f"Stock RQ workers: {len(stock):,} of {len(workers):,}. They obey no pause and no divert, and lose the job "
        "in hand when they are killed: start them with `--worker-class shedder.rq.Worker`."
    )
    return Finding("workers", WARNING, says, subjects=stock)


def _producers(store: Store, lanes: Sequence[str]) -> Finding:
    sampled = _newest_jobs(store, lanes[:LANES_SAMPLED])
    stock = tuple(sorted(_without_note(store, sampled)))
    if not sampled:
        return Finding("producers", FINE, "No job waits that would tell which producers there are.")
    if not stock:
        return Finding("producers", FINE, "The newest waiting jobs come from queues of shedder.")
    says = (
        f"Lanes with jobs of stock RQ queues: {len(stock):,}. A divert by function must read each of them, and an idle "
        "worker finds them within a second instead of at once: use `shedder.rq.Queue` there."
    )
    return Finding("producers", WARNING, says, subjects=stock)


def _unseen(store: Store, lanes: Sequence[str]) -> Iterator[Finding]:
    lengths = read_each(store, lanes, lambda ask, lane: ask.llen(store.keys.unseen(lane)))
    found = {lane: count for lane, count in lengths if count}
    if found:
        says = (
            f"{counted(sum(found.values()), 'id')} had no job when their turn came, and stand in "
            f"{store.keys.unseen('<lane>')}. Jobs with a ttl expire so. If none has one, producers may use a job class "
            "with `redis_job_namespace_prefix`, whose jobs no worker of shedder sees."
        )
        yield Finding("unseen jobs", WARNING, says, subjects=tuple(found))


def _newest_jobs(store: Store, lanes: Sequence[str]) -> list[tuple[str, bytes]]:
    lists = store.keys.engine.lists
    ids = read_each(store, lanes, lambda ask, lane: ask.lrange(lists + lane, -NEWEST_JOBS, -1))
    return [(lane, job) for lane, some in ids for job in some]


def _without_note(store: Store, jobs: Sequence[tuple[str, bytes]]) -> set[str]:
    """The lanes of those of `jobs` that no queue of ours has enqueued."""
    prefix = store.keys.engine.jobs.encode()
    sizes = read_each(
        store,
        jobs,
        lambda ask, each: ask.hstrlen(prefix + each[1], "data"),
        lambda ask, each: ask.hstrlen(prefix + each[1], NOTE_FIELD),
    )
    return {lane for (lane, _), data, note in sizes if data and not note}


def _clocks(store: Store) -> Iterator[Finding]:
    beats = _heartbeats(store)
    now = server_time(store).timestamp()
    behind = now - time.time()
    if abs(behind) > TOLERATED_SECONDS:
        side = "behind" if behind > 0 else "ahead of"
        says = (
            f"This machine's clock is {abs(behind):.0f} s {side} the server's. Controls and paces follow the server's; "
            "the ages of jobs that are enqueued here do not."
        )
        yield Finding("clocks", WARNING, says)
    # a heartbeat tells nothing of a clock that is behind: it may simply be old
    ahead = tuple(sorted(name for name, beat in beats.items() if beat - now > TOLERATED_SECONDS))
    if ahead:
        workers = f"Workers whose clock is ahead of the server's: {len(ahead):,}."
        says = f"{workers} Stock workers among them fail healthy jobs of others."
        yield Finding("clocks", WARNING, says, subjects=ahead)
    if not ahead and abs(behind) <= TOLERATED_SECONDS:
        yield Finding("clocks", FINE, "No clock is ahead of the server's, and this machine's is right.")


def _heartbeats(store: Store) -> dict[str, float]:
    """By name of worker, its last sign of life by its own clock, in seconds since 1970."""
    keys = sorted(map(text_of, store.read(lambda ask: ask.smembers(WORKERS))[0]))
    return {
        key.removeprefix(WORKER): said.timestamp()
        for key, beat in read_each(store, keys, lambda ask, key: ask.hget(key, "last_heartbeat"))
        if (said := time_of(beat))
    }
