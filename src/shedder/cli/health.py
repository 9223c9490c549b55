"""`shedder doctor | audit | uninstall`: the verbs and their views."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

from shedder.cli import asking, output
from shedder.cli.options import Request, cause_options, verb
from shedder.cli.progress import scan_bar
from shedder.cli.run import Refused, Run
from shedder.lanes import names_of, serving_order
from shedder.status.findings import FINE, PROBLEM, WARNING
from shedder.wording import counted, jobs_do

if TYPE_CHECKING:
    from shedder import AuditReport, Checkup, Event, Finding, Repair, UninstallReceipt


_DOCTOR_EXAMPLES = (
    "shedder doctor",
    'shedder doctor --fix -r "after the fail-over"',
    'shedder doctor --fix --yes -r "nightly" --json',
)


@verb("doctor", examples=_DOCTOR_EXAMPLES)
@click.option("--fix", "is_to_fix", is_flag=True, help="Repair what is safe, after showing it.")
@click.option("-y", "--yes", "is_sure", is_flag=True, help="With --fix: do not ask.")
@cause_options
def doctor(run: Run, *, request: Request, is_to_fix: bool, is_sure: bool) -> int:
    """Check server, workers, producers, records and every job, one line per finding.

    Exits with 3 when there is a problem. With --fix it shows what can be repaired while
    workers run, asks, repairs it, and checks again.
    """
    if is_to_fix:
        _check_answers(request, is_sure=is_sure)
    checkup = _look(run)
    if not is_to_fix or not checkup.repairable:
        return _finish(run, checkup, ())
    _show_plan(run, checkup)
    request = asking.settle_reason(request, "repair")
    asking.confirm("Repair this?", is_sure=is_sure)
    run.unsure("what is left to repair", "doctor")
    repairs = run.shedder.repair(checkup, **request.cause)
    return _finish(run, _look(run), repairs)


def _check_answers(request: Request, *, is_sure: bool) -> None:
    if asking.is_asking_possible():
        return
    if not is_sure:
        raise Refused("--fix asks before it changes anything: say --yes where nobody can answer")
    if request.reason is None:
        raise Refused('say why: -r "after the fail-over"; the journal keeps it')


def _look(run: Run) -> Checkup:
    connected = run.shedder
    with scan_bar(run.screen, "looking at every job") as on_progress:
        return connected.check_up(on_progress=on_progress)


def _show_plan(run: Run, checkup: Checkup) -> None:
    if not run.is_json:
        run.screen.show(*checkup_view(checkup))
    for finding in checkup.repairable:
        run.screen.remark(f"will repair {finding.check}: {finding.fix}")


def _finish(run: Run, checkup: Checkup, repairs: tuple[Repair, ...]) -> int:
    view = [*repairs_view(repairs), *checkup_view(checkup, server=run.server_option)]
    run.tell("doctor/1", checkup, view, repairs=repairs)
    return 0 if checkup.is_healthy else 3


SUBJECTS_SHOWN = 5

_STYLES = {FINE: "green", WARNING: "yellow", PROBLEM: "bold red"}


def checkup_view(checkup: Checkup, *, server: str = "") -> output.Parts:
    """The verdict, and a line for each finding, the worst first."""
    ranked = sorted(checkup.findings, key=lambda finding: [*_STYLES].index(finding.level))
    lines = [line for finding in reversed(ranked) for line in _lines(finding)]
    parts: output.Parts = [_verdict(checkup), output.blank(), *lines]
    if checkup.repairable:
        fix = output.command("doctor", options=("--fix", "-r", "why"), server=server)
        parts += output.commands_part(("repair", fix))
    return parts


def repairs_view(repairs: Sequence[Repair]) -> output.Parts:
    """What was mended, and a heading for what is so now."""
    if not repairs:
        return []
    lines = [output.plain(f"  {each.check}: {each.count:,} {each.did}") for each in repairs]
    return [output.headline("Repaired:"), *lines, output.blank()]


def _verdict(checkup: Checkup) -> output.Text:
    problems = sum(finding.level == PROBLEM for finding in checkup.findings)
    warnings = sum(finding.level == WARNING for finding in checkup.findings)
    remark = f", {counted(warnings, 'warning')}" if warnings else ""
    if problems:
        return output.headline(f"{counted(problems, 'problem')}{remark}.", style="bold red")
    return output.headline(f"No problem{remark}.", style="bold yellow" if warnings else "bold green")


def _lines(finding: Finding) -> Iterator[output.Text]:
    line = output.Text(f"{finding.level:<8}", style=_STYLES[finding.level])
    line.append(f" {finding.check}: ", style="not bold default")
    line.append(output.one_line(finding.says), style="not bold default")
    yield line
    if finding.subjects:
        named = output.listed(finding.subjects, most=SUBJECTS_SHOWN)
        yield output.plain(f"{'':<9}{output.escaped(named)}")


_AUDIT_EXAMPLES = ("shedder audit", "shedder audit --json")


@verb("audit", examples=_AUDIT_EXAMPLES)
def audit(run: Run) -> int:
    """Check that every job is in exactly one place; changes nothing.

    Exits with 3 when a job is in no place or in two, or when the record of a divert cannot be read.
    While jobs move, repeat a failed check.
    """
    connected = run.shedder
    with scan_bar(run.screen, "auditing") as on_progress:
        report = connected.audit(on_progress=on_progress)
    run.tell("audit/1", report, audit_view)
    return 0 if report.is_clean else 3


IDS_SHOWN = 10


def audit_view(report: AuditReport, **_: str) -> output.Parts:
    """Whether every job is in exactly one place, and where they are."""
    made = output.table("place", ">jobs")
    for place, count in report.places.items():
        if count:
            output.row(made, place, output.number(count))
    places: output.Parts = [output.blank(), made] if any(report.places.values()) else []
    return [
        _audit_verdict(report),
        *(
            output.headline(f"{output.escaped(said)}; no job of its backlog starts.", style="bold red")
            for said in report.unreadable
        ),
        *places,
        *_ids("in no place", report.nowhere),
        *_ids("in two places", [f"{job} ({', '.join(places)})" for job, places in report.twice]),
        *_ids("gone (expired or deleted) where their id still waits", report.dangling),
    ]


def _audit_verdict(report: AuditReport) -> output.Text:
    if not report.nowhere and not report.twice:
        if report.jobs == 1:
            return output.headline("The only job is in exactly one place.", style="bold green")
        return output.headline(f"All {counted(report.jobs, 'job')} are in exactly one place each.", style="bold green")
    lost, doubled = counted(len(report.nowhere), "is", "are"), output.number(len(report.twice))
    said = f"Of {counted(report.jobs, 'job')}, {lost} in no place and {doubled} in two."
    return output.headline(said, style="bold red")


def _ids(what: str, ids: Sequence[str]) -> output.Parts:
    if not ids:
        return []
    lines = [output.plain(f"  {output.escaped(each)}") for each in ids[:IDS_SHOWN]]
    more = len(ids) - IDS_SHOWN
    rest = [output.plain(f"  and {output.number(more)} more; --json lists them all")] if more > 0 else []
    return [output.blank(), output.plain(f"{counted(len(ids), 'job')} {what}:"), *lines, *rest]


_UNINSTALL_EXAMPLES = (
    "shedder uninstall --dry-run",
    'shedder uninstall --journal journal.jsonl -r "back to plain RQ"',
    'shedder uninstall --yes --force -r "its workers are dead"',
)

_QUESTION = "End all controls, put every job back into the lists of RQ, and remove all keys of shedder{}?"


@verb("uninstall", examples=_UNINSTALL_EXAMPLES)
@cause_options
@click.option("-n", "--dry-run", is_flag=True, help="Show what it would do; change nothing.")
@click.option("--journal", "path", metavar="FILE", type=click.Path(dir_okay=False),
              help="Write the journal to this file, one JSON object a line.")  # fmt: skip
@click.option("--force", is_flag=True, help="Uninstall even if shedder workers are registered or a record is damaged.")
@click.option("-y", "--yes", "is_sure", is_flag=True, help="Do not ask.")
def uninstall(run: Run, *, request: Request, dry_run: bool, path: str | None, force: bool, is_sure: bool) -> int:
    """Put every job back into the lists of RQ, end all controls, remove all keys of shedder.

    Stop the shedder workers first, and start stock ones after. Jobs keep their order, and each
    lane stays a queue of RQ. If it is interrupted, run it again; it continues.
    """
    connected = run.shedder
    if dry_run:
        preview = connected.preview_uninstall()
        run.tell("uninstall/1", preview, uninstall_receipt)
        return 0 if preview.keys else 3
    request = asking.settle_reason(request, "uninstall shedder")
    _make_sure(path, is_sure=is_sure)
    run.state = f"not all is done; run it again, as {output.command('uninstall', server=run.server_option)}"
    receipt = _uninstall(run, request, path=path, force=force)
    run.state = "it is done"
    run.tell("uninstall/1", receipt, uninstall_receipt)
    return 3 if receipt.left else 0


def _make_sure(path: str | None, *, is_sure: bool) -> None:
    if path is not None and Path(path).exists():
        raise Refused(f"{path} exists; name another file for --journal")
    if not is_sure and not asking.is_asking_possible():
        raise Refused("nobody can be asked here; say --yes, or look first with --dry-run")
    asking.confirm(_QUESTION.format("" if path else ", its journal too"), is_sure=is_sure)


def _uninstall(run: Run, request: Request, *, path: str | None, force: bool) -> UninstallReceipt:
    with ExitStack() as opened:
        on_event = opened.enter_context(_journal(path)) if path else None
        on_progress = opened.enter_context(scan_bar(run.screen, "putting jobs back"))
        return run.shedder.uninstall(**request.cause, force=force, on_event=on_event, on_progress=on_progress)


@contextmanager
def _journal(path: str) -> Iterator[Callable[[Event], None]]:
    """A file that gets the journal, made with its first line: who is refused leaves none.

    Each line is with the system before the next, because the journal in Redis goes right after.
    """
    with ExitStack() as opened:

        @cache
        def file() -> TextIO:
            return opened.enter_context(Path(path).open("x", buffering=1, encoding="utf-8"))

        def write(event: Event) -> None:
            file().write(output.json_text(output.document("event/1", event), is_line=True) + "\n")

        yield write


KEYS_SHOWN = 5


def uninstall_receipt(receipt: UninstallReceipt, *, server: str = "") -> output.Parts:
    """What was brought back and removed, and which stock workers the jobs need now."""
    fact = output.headline(_fact(receipt))
    return [fact, *_ended(receipt), *_workers(receipt), *_left(receipt), *_next(receipt, server)]


def _fact(receipt: UninstallReceipt) -> str:
    if not receipt.keys:
        return "There is nothing of shedder on this server."
    if receipt.is_preview:
        return f"Every job would go back to the lists of RQ, and {counted(receipt.keys, 'key')} would be removed."
    keys_are = counted(receipt.keys, "key of shedder is", "keys of shedder are")
    return f"Every job is back in the lists of RQ, and {keys_are} removed."


def _ended(receipt: UninstallReceipt) -> output.Parts:
    backlogs = sum(lane.restored for lane in receipt.restored)
    diverted = sorted({lane.lane for lane in receipt.restored})
    rows = (
        ("pauses", names_of(receipt.resumed), ""),
        ("diverts and limits on starts", names_of(diverted), counted(backlogs, "job")),
        ("claims that had not started", (), output.number(receipt.claims) if receipt.claims else ""),
        ("lists without an order", (), counted(receipt.found, "job") if receipt.found else ""),
        ("degraded flags", receipt.flags, ""),
        ("limits in code", receipt.limits, ""),
        ("lines of the journal", (), output.number(receipt.events) if receipt.events else ""),
    )
    made = output.table("ends" if receipt.is_preview else "ended", "where", ">how much")
    filled = [each for each in rows if each[1] or (each[2] and each[2] != counted(0, "job"))]
    for name, where, much in filled:
        output.row(made, name, output.listed(where, most=6), much)
    return [output.blank(), made] if filled else []


def _workers(receipt: UninstallReceipt) -> output.Parts:
    if not receipt.workers:
        return []
    names = output.listed([worker.name for worker in receipt.workers])
    is_one = len(receipt.workers) == 1
    said = (
        f"{counted(len(receipt.workers), 'worker')} of shedder {'is' if is_one else 'are'} on "
        f"record: {names}. Stop {'it' if is_one else 'them'} first; a living one writes new keys."
    )
    return [output.blank(), output.Text(said, style="yellow")]


def _left(receipt: UninstallReceipt) -> output.Parts:
    if not receipt.left:
        return []
    said = (
        f"{counted(len(receipt.left), 'key')} of shedder came back: "
        f"{output.listed(receipt.left, most=KEYS_SHOWN)}. A producer, a worker or an application with "
        "flags still writes them: change it back and run this again."
    )
    return [output.blank(), output.Text(said, style="yellow")]


def _next(receipt: UninstallReceipt, server: str) -> output.Parts:
    if receipt.is_preview:
        if not receipt.keys:
            return []
        again = output.command("uninstall", options=["--journal", "journal.jsonl"], server=server)
        return output.commands_part(("do it", again))
    if not receipt.queues:
        return [output.blank(), output.plain("No job waits.")]
    wait = jobs_do(sum(queue.jobs for queue in receipt.queues), "wait", "waits")
    found = [queue.lane for queue in receipt.queues]
    worker = shlex.join(["rq", "worker", *(lane for lane in serving_order(found) if lane in found)])
    return [output.blank(), output.plain(f"{wait} for stock workers:"), *output.commands_part(("serve them", worker))]
