"""Is this installation well, and what can be mended without harm?

Reads only, in bounded steps, as the audit does, which is a part of it. What a repair does is in
`mending`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from shedder.checks import unreadable_record
from shedder.checkup import FINE, PROBLEM, WARNING, Checkup, Finding
from shedder.counts import counted
from shedder.errors import RecordUnreadable
from shedder.keys import Keys, kind_of
from shedder.records import AuditReport
from shedder.rq.audit import audit
from shedder.rq.doctor_fleet import fleet_findings
from shedder.rq.doctor_server import is_usable, read_server, server_findings
from shedder.rq.leftovers import (
    keys_of_another_type,
    lanes_to_fold,
    lost_jobs,
    orders_left,
    orphaned_backlogs,
    stale_claims,
    unreadable_records,
)
from shedder.rq.payload import JobState
from shedder.rq.places import all_lanes
from shedder.rq.progress import Progress
from shedder.store import Store
from shedder.stored import server_time


def check_up(store: Store, keys: Keys, *, on_progress: Progress | None = None) -> Checkup:
    """Look at server, workers, producers, records, and at every job."""
    server = read_server(store, keys)
    findings = [*server_findings(server, prefix=keys.engine.prefix)]
    if not is_usable(server):  # no script of ours would run there
        return Checkup(server_time(store), tuple(findings))
    spoilt = list(_type_findings(store, keys))
    if spoilt:  # much of what follows could not be read
        return Checkup(server_time(store), (*findings, *spoilt))
    lanes = all_lanes(store, keys)
    findings += fleet_findings(store, keys, lanes)
    findings += _record_findings(store, keys)
    findings += _order_findings(store, keys, lanes)
    findings += _claim_findings(store, keys)
    report = _audit(store, keys, on_progress)
    findings += _job_findings(store, keys, report)
    return Checkup(server_time(store), tuple(findings), report)


def _type_findings(store: Store, keys: Keys) -> Iterator[Finding]:
    for key, found in keys_of_another_type(store, keys):
        yield Finding(
            "keys",
            PROBLEM,
            f"{key} is of type {found}, and shedder keeps a {kind_of(key)} there: somebody changed "
            "it by hand. Rename it away, and shedder goes on without what it held; nothing else "
            "was looked at.",
            subjects=(key,),
        )


def _record_findings(store: Store, keys: Keys) -> Iterator[Finding]:
    unreadable = unreadable_records(store, keys)
    for lane, said in unreadable:
        yield unreadable_record(lane, said)
    if not unreadable:
        yield Finding("records", FINE, "All pauses and diverts can be read.")


def _order_findings(store: Store, keys: Keys, lanes: Sequence[str]) -> Iterator[Finding]:
    found = [
        *_unfinished(store, keys),
        *_left_over_lists(store, keys, lanes),
        *_orphans(store, keys),
    ]
    yield from found
    if not found:
        yield Finding("orders", FINE, "No divert, restore or pause was left half-way.")


def _unfinished(store: Store, keys: Keys) -> Iterator[Finding]:
    orders = orders_left(store, keys)
    if orders:
        yield Finding(
            "unfinished orders",
            PROBLEM,
            f"{_are(len(orders), 'divert or restore', 'diverts or restores')} half-way, and nobody "
            "is at work there: a worker of shedder would finish it.",
            fix="finish them",
            subjects=tuple(f"{each.lane} {each.order}" for each in orders),
        )


def _left_over_lists(store: Store, keys: Keys, lanes: Sequence[str]) -> Iterator[Finding]:
    folded = lanes_to_fold(store, keys, lanes)
    if folded:
        yield Finding(
            "left-over lists",
            PROBLEM,
            f"Jobs of {counted(len(folded), 'lane')} stand where stock workers and `rq info` do "
            "not see them, though no order wants it so.",
            fix="put them back in front of their lanes",
            subjects=tuple(folded),
        )


def _orphans(store: Store, keys: Keys) -> Iterator[Finding]:
    orphans = orphaned_backlogs(store, keys)
    if orphans:
        yield Finding(
            "orphaned backlogs",
            PROBLEM,
            f"{_are(len(orphans), 'list')} part of a backlog that no record knows, so nobody will "
            "run its jobs.",
            fix="put their jobs back in front of their lanes",
            subjects=tuple(orphans),
        )


def _claim_findings(store: Store, keys: Keys) -> Iterator[Finding]:
    stale, unreadable = stale_claims(store, keys)
    if unreadable:
        yield Finding(
            "claims",
            WARNING,
            f"{counted(unreadable, 'claim')} cannot be read; jobs that they held are named as in "
            "no place.",
        )
    if stale:
        yield Finding(
            "claims",
            PROBLEM,
            f"{_are(len(stale), 'job')} in the hands of a worker that has died, and no worker of "
            "shedder is there to take them back.",
            fix="put them back in front of their lanes",
            subjects=tuple(claim.job_id for claim in stale),
        )
    if not stale and not unreadable:
        yield Finding("claims", FINE, "No claim is older than its lease.")


def _audit(store: Store, keys: Keys, on_progress: Progress | None) -> AuditReport | None:
    try:
        return audit(store, keys, on_progress=on_progress)
    except RecordUnreadable:
        return None


def _job_findings(store: Store, keys: Keys, report: AuditReport | None) -> Iterator[Finding]:
    if report is None:
        yield Finding(
            "jobs", WARNING, "Jobs were not looked for: an unreadable divert hides its backlog."
        )
        return
    yield from _nowhere(store, keys, report.nowhere)
    yield from _twice(report)
    yield from _dangling(report.dangling)
    if report.is_clean:
        yield Finding("jobs", FINE, f"{_are(report.jobs, 'job')} in exactly one place each.")


def _nowhere(store: Store, keys: Keys, jobs: Sequence[str]) -> Iterator[Finding]:
    if not jobs:
        return
    count = len(lost_jobs(store, keys, jobs))
    others = len(jobs) - count
    rest = (
        f" {counted(others, 'job')} of them cannot be put back: not `{JobState.QUEUED}`."
        if others
        else ""
    )
    yield Finding(
        "jobs in no place",
        PROBLEM,
        f"{_are(len(jobs), 'job')} in no list and no registry, so nobody will run "
        f"{'it' if len(jobs) == 1 else 'them'}: a stock worker or a fail-over has lost "
        f"{'it' if len(jobs) == 1 else 'them'}.{rest}",
        fix=f"put {count} back at the end of their lanes" if count else "",
        subjects=tuple(jobs),
    )


def _twice(report: AuditReport) -> Iterator[Finding]:
    if report.twice:
        yield Finding(
            "jobs in two places",
            PROBLEM,
            f"{_are(len(report.twice), 'job')} in two places: workers of shedder run each once, "
            "stock workers twice.",
            fix="remove the entry that would be read later",
            subjects=tuple(f"{job} ({', '.join(places)})" for job, places in report.twice),
        )


def _dangling(jobs: Sequence[str]) -> Iterator[Finding]:
    if jobs:
        yield Finding(
            "ids without a job",
            FINE,
            f"{counted(len(jobs), 'id')} of expired or deleted jobs wait; they are skipped when it "
            "is their turn.",
            subjects=tuple(jobs),
        )


def _are(count: int, one: str, many: str = "") -> str:
    return f"{counted(count, one, many)} {'is' if count == 1 else 'are'}"
