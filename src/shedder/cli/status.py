"""`shedder status | check`: the verbs and their views."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from shedder.cli import asking, output
from shedder.cli.completion import complete_by
from shedder.cli.options import Wait, duration_option, maybe_duration_option, targets_argument, verb
from shedder.cli.run import Refused, Run, trouble
from shedder.errors import RedisUnreachable
from shedder.lanes import DEFAULT_PRIORITY, names_of
from shedder.later import later
from shedder.queues.outcomes import LATELY, in_all, is_failing
from shedder.status.findings import FULL, OLD, check_status, kept_failed, most_often
from shedder.status.verdict import ended_sentence, good_sentence, level_of
from shedder.units import format_duration
from shedder.wording import counted, pace

if TYPE_CHECKING:
    from rich.console import Group, RenderableType
    from rich.live import Live

    from shedder import Divert, LaneStatus, Outcomes, Pause, Status
    from shedder.cli import breakdown
    from shedder.cli.settings import settings_part
    from shedder.status.findings import CheckResult
else:
    globals().update(later((
        ("rich.console", "Group"),
        ("rich.live", "Live"),
        ("shedder.cli", "breakdown"),
        ("shedder.cli.settings", "settings_part"),
    )))  # fmt: skip


WATCH_SECONDS = 2.0

MOST_ROWS = 9
"""With more lanes to show, quiet queues become a line each, and then a count: all must fit 80x24."""

MOST_LINES = 3
"""Beside so many rows, the most lines of controls, of failures and of warnings."""
SHORTEST_SECONDS = 0.1


_EXAMPLES = (
    "shedder status",
    "shedder status --all-lanes --watch 5s",
    "shedder status mail --by function",
    "shedder status mail --by function --by meta.tenant --sample 5000",
)


@verb("status", examples=_EXAMPLES)
@targets_argument
@maybe_duration_option("--watch", help="Refresh every 2s, or every DURATION.")
@click.option("--all-lanes", is_flag=True, help="Show each lane, also the quiet ones of many queues.")
@click.option("--by", multiple=True, metavar="WHAT", shell_complete=complete_by,
              help="What is in it: by function, priority or meta.FIELD; two make a cross table.")  # fmt: skip
@click.option("--sample", type=click.IntRange(min=1), metavar="JOBS",
              help="With --by: look at this many jobs, evenly spread, and estimate.")  # fmt: skip
def status(
    run: Run, *, names: tuple[str, ...], watch: Wait | None, all_lanes: bool, by: tuple[str, ...], sample: int | None
) -> int:
    """Show how many jobs wait, run and fail, what is paused or diverted, by whom and why.

    Queues in trouble come first. With many queues, a quiet one is a line, and idle ones are a count.
    Rates in/s and out/s are of the last minute, fail/s of the last ten seconds. A job that ended
    well counts as out; one that failed does not, and is told in a line with its exception.

    With --by it looks at each job that waits or is in a backlog, in small steps that block nobody;
    in/s is then of the jobs that came in the last minute and have not started. It exits with 3 when
    the record of a divert cannot be read.
    """
    if sample is not None and not by:
        raise Refused("--sample is for --by: say by what, such as --by function")
    if by and watch is not None:
        raise Refused("--by and --watch exclude each other: to look at each job again and again would take long")
    if names:
        asking.warn_of_unknown(run, names)
    if by:
        return breakdown.tell_breakdown(run, names, by, sample)
    if watch is None:
        found = run.shedder.status(*names)
        run.tell("status/1", found, status_view(found, address=run.address, named=names, all_lanes=all_lanes))
        return 0
    _ = run.shedder  # a server that is away from the beginning is not waited for
    run.state = "nothing was changed by looking"
    seconds = watch.limit.total_seconds() if watch.limit else WATCH_SECONDS
    _watch(run, names, max(seconds, SHORTEST_SECONDS), all_lanes=all_lanes)
    return 0


def _watch(run: Run, names: tuple[str, ...], seconds: float, *, all_lanes: bool) -> None:
    if run.is_json or not run.screen.out.is_terminal:
        is_served = True
        while True:
            is_served = _print_again(run, names, was_served=is_served, all_lanes=all_lanes)
            time.sleep(seconds)
    with Live(console=run.screen.out, screen=True, auto_refresh=False) as live:
        while True:
            live.update(status_or_trouble(run, names, all_lanes=all_lanes), refresh=True)
            time.sleep(seconds)


def _print_again(run: Run, names: tuple[str, ...], *, was_served: bool, all_lanes: bool) -> bool:
    """Print the status; whether Redis told it. That it did not is said once for each outage."""
    try:
        found = run.shedder.status(*names)
    except RedisUnreachable as error:
        if was_served:
            run.screen.warn(f"{trouble(error, run)}, trying again")
        return False
    if run.is_json:
        run.emit("status/1", found, is_line=True)
    else:
        run.screen.show(*status_view(found, address=run.address, named=names, all_lanes=all_lanes), output.Text())
    return True


def status_view(status: Status, *, address: str, named: Sequence[str] = (), all_lanes: bool = False) -> output.Parts:
    """The table of lanes, each control with who and why, what failed, and what to beware of.

    A lane without jobs is left out when its controls are those of its whole queue, unless it is
    among the targets `named`. Where many are left, quiet queues are folded, unless `all_lanes`.
    """
    mains = {lane.queue: _standing(lane) for lane in status.lanes if _is_main(lane)}
    shown = [
        lane
        for lane in status.lanes
        if all_lanes or lane.lane in named or _has_jobs(lane) or _standing(lane) != mains.get(lane.queue, [])
    ]
    is_folded = len(shown) > MOST_ROWS and not named and not all_lanes
    lanes = _queues(status, shown) if is_folded else _lanes(status, shown) if shown else [_nothing(status, named)]
    most = MOST_LINES if is_folded else None
    has_settings = status.flags or status.limits
    settings = output.spaced(settings_part(status.flags, status.limits, status.at)) if has_settings else []
    rest = (_controls(status, most), settings, _failed(status, most), _warnings(status, most))
    return [_place(status, address), *lanes, *(part for parts in rest for part in parts)]


def _queues(status: Status, shown: Sequence[LaneStatus]) -> output.Parts:
    """The lanes of queues in trouble, a line for each quiet queue with work, and how many more there are."""
    queues: dict[str, list[LaneStatus]] = {}
    for lane in shown:
        queues.setdefault(lane.queue, []).append(lane)
    rows = [row for lanes in queues.values() for row in (lanes if _is_in_trouble(lanes) else [_as_one(lanes)])]
    busy = [row for row in rows if _is_in_trouble([row]) or _has_work(row)]
    told, hidden = busy[:MOST_ROWS], busy[MOST_ROWS:]
    idle = len(queues.keys() - {row.queue for row in busy})
    more = []
    if hidden:
        jobs = sum(row.waiting + row.backlog for row in hidden)
        more.append(f"{counted(len({row.queue for row in hidden}), 'more queue')} with {counted(jobs, 'job')}")
    if idle:
        more.append(counted(idle, "idle queue"))
    rest = [output.Text(f"and {' and '.join(more)} (--all-lanes shows them)", style="dim")] if more else []
    return [_table(status, told), *rest]


def _is_in_trouble(lanes: Sequence[LaneStatus]) -> bool:
    return any(lane.warnings or lane.pause or lane.diverts or lane.late for lane in lanes)


def _has_work(lane: LaneStatus) -> bool:
    return any((lane.waiting, lane.backlog, lane.running, lane.claimed, lane.outcomes.failed_lately))


def _as_one(lanes: Sequence[LaneStatus]) -> LaneStatus:
    """The lanes of a quiet queue as one."""
    sums: dict[str, Any] = {name: sum(getattr(lane, name) for lane in lanes) for name in _SUMMED}
    for name in ("arrivals", "completions"):
        known = [pace for lane in lanes if (pace := getattr(lane, name)) is not None]
        sums[name] = sum(known) if known else None
    oldest = min((lane.oldest for lane in lanes if lane.oldest), default=None)
    outcomes = in_all([lane.outcomes for lane in lanes])
    return replace(lanes[0], lane=lanes[0].queue, oldest=oldest, outcomes=outcomes, **sums)


_SUMMED = ("waiting", "backlog", "running", "claimed")


def _lanes(status: Status, shown: Sequence[LaneStatus]) -> output.Parts:
    hidden = len(status.lanes) - len(shown)
    rest = [output.Text(f"and {counted(hidden, 'empty lane')}", style="dim")] if hidden else []
    return [_table(status, shown), *rest]


def _table(status: Status, shown: Sequence[LaneStatus]) -> output.Table:
    # eighty columns must be enough for all of it: nine columns stand closer together
    has_failed = any(lane.outcomes.failed_lately for lane in shown)
    failing, gap = ([">fail/s"], 1) if has_failed else ([], 2)
    headings = ("lane", ">waiting", ">backlog", ">running", ">oldest", ">in/s", ">out/s", *failing, "control")
    made = output.table(*headings, gap=gap)
    for lane in shown:
        paces = [lane.arrivals, lane.completions, *([lane.outcomes.failing] if has_failed else [])]
        output.row(made, *_numbers(lane, status.at), *map(output.per_second, paces), _control(lane))
    return made


def _place(status: Status, address: str) -> output.Text:
    line = output.Text(f"Redis at {output.escaped(address)}, {status.at.strftime('%H:%M:%S')} UTC", style="dim")
    if status.memory_used is not None:
        is_critical = status.memory_used > FULL
        line.append(f", memory {status.memory_used:.0%}", style="bold red" if is_critical else "")
    return line


def _nothing(status: Status, named: Sequence[str]) -> output.Text:
    where = f" in {output.listed(named)}" if named else ""
    idle = f" ({counted(len(status.lanes), 'empty lane')})" if status.lanes else ""
    return output.headline(f"No job waits or runs{where}, and nothing is paused or diverted{idle}.")


def _is_main(lane: LaneStatus) -> bool:
    return lane.priority == DEFAULT_PRIORITY


def _has_jobs(lane: LaneStatus) -> bool:
    numbers = (lane.waiting, lane.backlog, lane.running, lane.claimed, lane.outcomes.failed_lately)
    return any(numbers) or _is_main(lane)


def _standing(lane: LaneStatus) -> list[object]:
    """Which controls stand on a lane, so that two lanes can be compared."""
    paused = [(lane.pause.by, lane.pause.why, lane.pause.since)] if lane.pause else []
    return [*paused, *(divert.order for divert in lane.diverts)]


def _numbers(lane: LaneStatus, now: datetime) -> list[str]:
    oldest = min(filter(None, [lane.oldest, lane.oldest_in_backlog]), default=None)
    numbers = map(output.number, (lane.waiting, lane.backlog, lane.running))
    return [lane.lane, *numbers, output.age(oldest, now)]


def _control(lane: LaneStatus) -> output.Text:
    words = ["paused"] if lane.pause else []
    words += [_limited(divert) for divert in lane.diverts if divert.is_limit]
    diverts = [divert for divert in lane.diverts if not divert.is_limit]
    words += ["retry" if divert.is_retry else "diverted" for divert in diverts]
    words += [f"draining {pace(divert.drain.rate.per_second)}" for divert in diverts if divert.drain]
    words += ["drain halted" for divert in diverts if divert.halted]
    return output.Text(", ".join(dict.fromkeys(words)), style="bold yellow" if words else "")


def _controls(status: Status, most: int | None) -> output.Parts:
    lines = [*_pause_lines(status), *_divert_lines(status)]
    return output.spaced([output.plain(line) for line in _at_most(lines, most)])


def _at_most(lines: Sequence[str], most: int | None) -> list[str]:
    """The first lines, and how many more there are; all without `most`."""
    if most is None or len(lines) <= most:
        return list(lines)
    return [*lines[: most - 1], f"and {len(lines) - most + 1} more (--all-lanes shows them)"]


def _pause_lines(status: Status) -> list[str]:
    together: dict[tuple[object, ...], list[Pause]] = {}
    for pause in (lane.pause for lane in status.lanes if lane.pause):
        key = (pause.by, pause.why, pause.since, pause.until)
        together.setdefault(key, []).append(pause)
    return [_pause_line(pauses, status.at) for pauses in together.values()]


def _pause_line(pauses: Sequence[Pause], now: datetime) -> str:
    names = output.listed(names_of(pause.lane for pause in pauses), most=8)
    first = pauses[0]
    until = output.until(first, now, lead=", ")
    return f"{names} paused {output.since_by(first, now)}{until}: {output.escaped(first.why)}"


def _divert_lines(status: Status) -> list[str]:
    together: dict[str, list[Divert]] = {}
    for divert in (divert for lane in status.lanes for divert in lane.diverts):
        together.setdefault(divert.order, []).append(divert)
    return [line for diverts in together.values() for line in _lines_of(diverts, status.at)]


def _lines_of(diverts: Sequence[Divert], now: datetime) -> Iterable[str]:
    names = output.listed(names_of(divert.lane for divert in diverts), most=8)
    first = diverts[0]
    backlog = counted(sum(divert.backlog for divert in diverts), "job")
    if first.is_limit:
        until = f", until {output.clock(first.until, now)}" if first.until else ""
        yield (
            f"{names} {_limited(first)} {output.since_by(first, now)}{until}: {output.escaped(first.why)} "
            f"[{output.escaped(first.selection.describe())}; {backlog} under the limit]"
        )
        return
    said = "" if first.is_retry else f"{output.escaped(first.selection.describe())}; "
    yield (
        f"{f'failed jobs of {names} come back' if first.is_retry else f'{names} diverted'} "
        f"{output.why_and_who(first, now)} [{said}{backlog} in the backlog{_under_way(diverts)}]"
    )
    draining = [divert.drain for divert in diverts if divert.drain]
    if draining:
        skipped = sum(sum(drain.skipped.values()) for drain in draining)
        yield (
            f"  drains at {draining[0].rate} {output.why_and_who(draining[0], now)} "
            f"[{output.number(sum(drain.released for drain in draining))} released"
            f"{f', {output.number(skipped)} skipped' if skipped else ''}]"
        )


def _limited(divert: Divert) -> str:
    terms = [str(divert.drain.rate)] if divert.drain else []
    terms += [f"{divert.most} at once"] if divert.most else []
    return f"limited to {', '.join(terms)}"


def _under_way(diverts: Sequence[Divert]) -> str:
    if any(divert.is_restoring for divert in diverts):
        return ", on the way back"
    scanning = ", first pass not finished" if any(divert.is_scanning for divert in diverts) else ""
    return scanning + (", its drain has halted" if any(divert.halted for divert in diverts) else "")


def _failed(status: Status, most: int | None) -> output.Parts:
    """A line for each lane and label with failures that are no finding; those have a warning."""
    known = [(lane.lane, lane.outcomes) for lane in status.lanes]
    known += [(each.label, each.outcomes) for each in status.labels]
    quiet = [each for each in known if not is_failing(each[1], status.fails_at)]
    lines = [_failed_line(*each) for each in quiet if each[1].failed_in_hour or each[1].failed_kept]
    return output.spaced([output.plain(output.escaped(line)) for line in _at_most(lines, most)])


def _failed_line(name: str, outcomes: Outcomes) -> str:
    source = "" if outcomes.is_counted else " by RQ's registries (stock workers count no end)"
    lately = f"{outcomes.failed_lately:,} of {counted(outcomes.ended_lately, 'job')} in {format_duration(LATELY)}"
    failed = f"{lately} and {outcomes.failed_in_hour:,} in an hour failed{source}"
    return f"{name}: {failed}{most_often(outcomes)}{kept_failed(outcomes)}"


def _warnings(status: Status, most: int | None) -> output.Parts:
    found = [*status.warnings, *(text for lane in status.lanes for text in lane.warnings)]
    lines = _at_most(list(dict.fromkeys(found)), most)
    return output.spaced([output.Text(f"! {output.escaped(text)}", style="yellow") for text in lines])


def status_or_trouble(run: Run, names: tuple[str, ...], *, all_lanes: bool = False) -> RenderableType:
    """The status now, or one line that says that Redis is asked again."""
    try:
        found = run.shedder.status(*names)
    except RedisUnreachable as error:
        said = f"{output.escaped(trouble(error, run))}, trying again (Ctrl-C ends)"
        return output.as_rich(output.Text(said, style="bold red"))
    parts = status_view(found, address=run.address, named=names, all_lanes=all_lanes)
    return Group(*(output.as_rich(part, run.screen.out.width) for part in parts))


_CHECK_EXAMPLES = ("shedder check", "shedder check mail reports", "shedder check --older-than 4h --json")


@verb("check", examples=_CHECK_EXAMPLES)
@targets_argument
@duration_option("--older-than", help="Report controls that are older than this; 24h if absent.")
def check(run: Run, *, names: tuple[str, ...], older_than: timedelta | None) -> int:
    """Report in one line, for monitoring, whether anything is wrong.

    It reports work that is later than the policy tolerates, work of which more fails than the
    policy's fails_at, a drain that halted, jobs that are due while no scheduler runs, a control
    that may have been forgotten, jobs that no worker serves, a record or a policy that cannot be
    read, and a server that is nearly full or evicts jobs. Where kinds of work share a lane, work
    that it has not seen may be late: that is a WARNING. It also says what is not known: UNKNOWN,
    when jobs run and none has ended lately.
    Exits with 0 when nothing is known to be wrong, else with 3.
    """
    found = check_status(run.shedder.status(*names), older_than=older_than or OLD)
    style = "" if found.is_good else "bold red"
    run.tell("check/1", found, [output.Text(line_of(found), style=style)])
    return 0 if found.is_good else 3


def line_of(found: CheckResult) -> str:
    """The line, with numbers behind a bar for who draws them."""
    texts = [problem.text.rstrip(".") for problem in found.problems]
    said = "; ".join(texts) or f"{counted(found.lanes, 'lane')}, {good_sentence(found)}, {ended_sentence(found)}"
    unknown = "".join(f"; not known: {each}" for each in found.unknown)
    late = sum(problem.kind == "late" for problem in found.problems)
    numbers = f"waiting={found.waiting} backlog={found.backlog} late={late} failed={found.failed}"
    # a bar begins the numbers, so none may stand in a name
    words = f"{said}{unknown}".replace("|", "/")
    return output.one_line(f"SHEDDER {level_of(found)} - {words} | {numbers}")
