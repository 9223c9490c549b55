"""`shedder drain`: the verb, its progress and the receipts of a drain and of a restore."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

import click

from shedder.cli import asking, output
from shedder.cli.completion import complete_shares
from shedder.cli.options import (
    Request,
    Wait,
    change_options_with,
    defaults_in_force,
    force_option,
    maybe_duration_option,
    verb,
)
from shedder.cli.progress import DrainBar, scan_bar
from shedder.cli.run import FAILED, Refused, Run
from shedder.errors import ConditionNotMet, RedisUnreachable, ServerBusy
from shedder.lanes import names_of, queues_in, targets_of
from shedder.queues.outcomes import is_failing
from shedder.units import Rate, format_duration, format_share, parse_share
from shedder.wording import counted, jobs_do

if TYPE_CHECKING:
    from shedder import DrainProgress, DrainReceipt, LaneStatus, RestoreReceipt
    from shedder.queues.controls import Drain, HaltedDrain


_EXAMPLES = (
    'shedder drain mail --rate 200/second -r "database is fine"',
    'shedder drain mail --rate 20/second --halt-at 10% -r "a first try"',
    'shedder drain mail --stop -r "database is slow again"',
    'shedder drain mail.low --at-once -r "only ten jobs"',
)


class DrainWhileFailing(ConditionNotMet):
    """Jobs of the lane fail now, so that a drain would make more of them fail, and nobody can be asked."""

    def __init__(self, said: str) -> None:
        super().__init__(said, try_instead="drain when they succeed, or add --force")


@verb("drain", examples=_EXAMPLES)
@change_options_with(force_option("Drain even while jobs of the lane fail"))
@click.option("--rate", metavar="RATE", help="The highest rate, such as 200/second; the policy's if absent.")
@click.option(
    "--halt-at",
    metavar="SHARE",
    shell_complete=complete_shares,
    help="Halt when this share of its last 50 jobs failed: 20%, or never; the policy's if absent, else 50%.",
)
@click.option("--stay", "stays", is_flag=True, help="Keep the divert when its backlog is empty.")
@click.option("--stop", is_flag=True, help="Stop draining; the backlog stays.")
@click.option("--at-once", is_flag=True, help="Put everything back now, without a rate.")
@click.option("--detach", is_flag=True, help="Give the order and return.")
@maybe_duration_option("--wait", help="Return when the backlog is empty, or after DURATION.")
@click.option("-y", "--yes", "is_sure", is_flag=True, help="With --at-once: do not ask.")
def drain(
    run: Run, *, request: Request, rate: str | None, halt_at: str | None, stays: bool, stop: bool, at_once: bool,
    detach: bool, wait: Wait | None, is_sure: bool,
) -> int:  # fmt: skip
    """Release a backlog, oldest job first, at a rate that other systems can take.

    The order is kept in Redis and goes on when this command ends. On a terminal the command stays
    and shows the progress. A second call changes the rate.

    The drain halts by itself when too many of the released jobs fail: the rest stays in the backlog,
    in order, and the command exits with 1. While jobs of the lane fail, the command asks before it
    drains; without a terminal it needs --force.
    """
    pace = _pace(run, rate, is_needed=not stop and not at_once)
    _check(pace, stop=stop, at_once=at_once, stays=stays, halt_at=halt_at)
    share = None if halt_at is None else parse_share(halt_at, name="--halt-at")
    if detach and wait is not None:
        raise Refused("--detach and --wait exclude each other; leave one of them out")
    if at_once:
        return _restore(run, request, is_sure=is_sure)
    request = asking.settle_request(run, request, "drain")
    if pace is not None:
        _check_failing(run, request, _slower(pace, share))
    receipt = _order(run, request, pace, stays=stays, halt_at=share)
    is_shown = run.screen.is_watched and not detach and receipt.backlog > 0
    if pace is None or not receipt.lanes or not (is_shown or wait):
        run.tell("drain/1", receipt, partial(drain_receipt, asked=request.names), progress=None)
        return 0 if receipt.lanes else 3
    return _watch(run, request, receipt, wait or Wait())


def _pace(run: Run, rate: str | None, *, is_needed: bool) -> Rate | None:
    if rate is not None:
        return Rate.parse(rate, name="--rate")
    return defaults_in_force(run).drain_rate if is_needed else None


def _check(pace: Rate | None, *, stop: bool, at_once: bool, stays: bool, halt_at: str | None) -> None:
    if [pace is not None, stop, at_once].count(True) != 1:
        raise Refused(
            "say how: one of --rate 200/second, --at-once and --stop; "
            "a policy can have a drain_rate for when nothing is said"
        )
    if stays and pace is None:
        raise Refused("--stay goes with --rate only; leave it out")
    if halt_at is not None and pace is None:
        raise Refused("--halt-at goes with --rate only; leave it out")


def _slower(pace: Rate, halt_at: float | None) -> Callable[[Drain], bool]:
    """Whether a drain that is under way would only become slower: nobody is asked before that."""
    return lambda drain: pace.per_second < drain.rate.per_second and halt_at is None


def _check_failing(run: Run, request: Request, is_slower: Callable[[Drain], bool] = lambda _: False) -> None:
    """Ask before a drain of lanes whose jobs fail now.

    Raises:
        DrainWhileFailing: they do, nobody can be asked, and it is not forced.
        ShedderError: the person said no.
    """
    share = defaults_in_force(run).share_that_fails
    failing = [lane for lane in run.shedder.status(*request.names).lanes
               if is_failing(lane.outcomes, share) and _would_release_more(lane, is_slower)]  # fmt: skip
    if not failing:
        return
    said = "; ".join(map(_fails, failing))
    if request.is_forced:
        run.screen.warn(said)
    elif asking.is_asking_possible():
        asking.confirm(f"{said}. Drain all the same?", is_sure=False)
    else:
        raise DrainWhileFailing(said)


def _would_release_more(lane: LaneStatus, is_slower: Callable[[Drain], bool]) -> bool:
    orders = [divert for divert in lane.diverts if not divert.is_limit]
    return any(divert.drain is None or not is_slower(divert.drain) for divert in orders)


def _fails(lane: LaneStatus) -> str:
    found = lane.outcomes
    why = f" ({output.escaped(found.exception)})" if found.exception else ""
    ended = counted(found.ended_lately, "job")
    name = output.listed(names_of([lane.lane]))
    return f"{output.number(found.failed_lately)} of {ended} of {name} that ended in the last 5 minutes failed{why}"


def _order(run: Run, request: Request, pace: Rate | None, *, stays: bool, halt_at: float | None) -> DrainReceipt:
    run.unsure(f"whether {output.listed(request.names)} drains", "status", *request.names)
    if pace is None:
        receipt = run.shedder.stop_drain(*request.names, **request.cause)
        run.state = f"the drain of {output.listed(request.names)} has stopped"
        return receipt
    receipt = run.shedder.drain(*request.names, rate=pace, stays=stays, halt_at=halt_at, **request.cause)
    stop = output.command("drain", *request.names, options=["--stop"], server=run.server_option)
    run.state = f"the order stands: {output.listed(request.names)} drains at {pace}; to stop it: {stop}"
    return receipt


def _watch(run: Run, request: Request, receipt: DrainReceipt, wait: Wait) -> int:
    if not run.is_json:
        run.screen.show(*drain_receipt(receipt, asked=request.names, server=run.server_option))
    progress, took, is_done = watch_drain(run, receipt, limit=wait.limit)
    is_halted = any(each.halted for each in progress)
    if run.is_json:
        run.emit("drain/1", receipt, progress=progress)
    elif is_halted:
        run.screen.show(*drain_halted(progress, server=run.server_option))
    elif is_done:
        run.screen.show(*drain_end(progress, took=took))
    else:
        run.screen.warn(f"time is up; {run.state}")
    return FAILED if is_halted else 0 if is_done else 3


def _restore(run: Run, request: Request, *, is_sure: bool) -> int:
    request = asking.settle_request(run, request, "drain")
    _check_failing(run, request)
    question = f"Put the whole backlog of {output.listed(request.names)} back at once, without a rate?"
    asking.confirm(question, is_sure=is_sure)
    run.unsure(f"how much of {output.listed(request.names)} is back", "status", *request.names)
    with scan_bar(run.screen, f"bringing {output.listed(request.names)} back") as on_progress:
        receipt = run.shedder.drain_at_once(*request.names, **request.cause, on_progress=on_progress)
    run.state = f"{output.is_are(request.names)} back in place"
    run.tell("restore/1", receipt, restore_receipt)
    return 0 if receipt.lanes else 3


LONGEST_FORECAST = timedelta(days=365)
_STOCK_DRAIN = (
    "Where only stock workers serve, jobs leave the backlog while a worker of shedder runs "
    "somewhere on this Redis, or while `shedder drain` stays and shows its progress (--wait)."
)


def drain_receipt(receipt: DrainReceipt, *, asked: Sequence[str] = (), server: str = "") -> output.Parts:
    """The receipt of a drain order, of a new rate, or of the end of a drain.

    `asked` is what the person named: a queue that they named the next commands name too.
    """
    lanes = [lane.lane for lane in receipt.lanes]
    if not receipt.lanes:
        return [output.headline("No divert is in force there: nothing to drain.")]
    return [
        output.headline(_drains(receipt, names_of(lanes)), style="bold"),
        *_halts(receipt),
        *output.lane_table(["backlog"], [(lane.lane, lane.backlog) for lane in receipt.lanes]),
        *output.workers_part(receipt.workers, stock=_stock_part(receipt)),
        *_ways_on(receipt, _targets(lanes, asked), server),
    ]


def _halts(receipt: DrainReceipt) -> output.Parts:
    if receipt.rate is None:
        return []
    if not receipt.halt_at:
        return [output.plain("It does not halt by itself, even if every job fails.")]
    share = format_share(receipt.halt_at)
    return [output.plain(f"It halts by itself when {share} of its last 50 jobs failed, and at least 20 have ended.")]


def _stock_part(receipt: DrainReceipt) -> str:
    """What a drain means for stock workers, and what a halt cannot hold back from them."""
    if not receipt.starts_after_halt:
        return _STOCK_DRAIN
    return (
        f"{_STOCK_DRAIN} How their jobs end is read from RQ's registries. After a halt they still start "
        f"what is in their list: at most {counted(receipt.starts_after_halt, 'job')}."
    )


def _targets(lanes: Sequence[str], asked: Sequence[str]) -> tuple[str, ...]:
    both = zip(names_of(lanes), targets_of(lanes), strict=True)
    return tuple(dict.fromkeys(name if name in asked else target for name, target in both))


def _ways_on(receipt: DrainReceipt, targets: Sequence[str], server: str) -> output.Parts:
    if receipt.rate is not None:
        return output.commands_part(
            ("watch", output.command("status", *targets, options=["--watch"], server=server)),
            ("stop", output.command("drain", *targets, options=["--stop"], server=server)),
            ("undo", output.command("undo", receipt.event, server=server)),
        )
    # The end of a drain has no undo: the orders that were stopped are given again.
    stopped: dict[str, list[str]] = {}
    for lane in receipt.lanes:
        if lane.rate_before:
            stopped.setdefault(str(lane.rate_before), []).append(lane.lane)
    commands = [
        ("go on", output.command("drain", *targets_of(lanes), options=["--rate", rate], server=server))
        for rate, lanes in stopped.items()
    ]
    return output.commands_part(*commands)


def drain_end(progress: Sequence[DrainProgress], *, took: timedelta) -> output.Parts:
    """What a drain that was watched to its end did."""
    names = names_of(each.lane for each in progress)
    released = sum(each.released for each in progress)
    left = sum(each.backlog for each in progress)
    said = f"{counted(released, 'job')} released in {format_duration(took)}"
    failed = sum(each.failed for each in progress)
    if failed:
        said += f", {output.number(failed)} failed so far"
    if left:
        said += f", {jobs_do(left, 'stay', 'stays')} in the backlog: the drain was stopped"
    style = "bold yellow" if failed else "bold green"
    parts: output.Parts = [output.headline(f"The backlog of {output.listed(names)}: {said}.", style=style)]
    standing = names_of(each.lane for each in progress if not each.is_done)
    if standing:
        parts.append(output.plain(f"{output.is_are(standing)} still diverted: what arrives there is drained too."))
    return parts + _skipped(progress)


def drain_halted(progress: Sequence[DrainProgress], *, server: str = "") -> output.Parts:
    """What a drain did that was watched until it halted, and how it goes on."""
    parts: output.Parts = []
    by_halt: dict[str, list[DrainProgress]] = {}
    for each in progress:
        if each.halted:
            by_halt.setdefault(each.halted.event, []).append(each)
    for lanes in by_halt.values():
        if (halted := lanes[0].halted) is not None:
            parts += _halted(lanes, halted, server)
    return parts + _skipped(progress)


def _halted(lanes: Sequence[DrainProgress], halted: HaltedDrain, server: str) -> output.Parts:
    names = targets_of(each.lane for each in lanes)
    worst = max(lanes, key=lambda each: each.failed)
    why = f" ({output.escaped(worst.exception)})" if worst.exception else ""
    said = f"{halted.failed} of the last {counted(halted.ended, 'job')} failed{why}"
    left, released, failed = (sum(getattr(each, name) for each in lanes) for name in ("backlog", "released", "failed"))
    go_on = output.command("drain", *names, options=["--rate", str(halted.rate)], server=server)
    return [
        output.headline(
            f"The drain of {output.listed(names_of(each.lane for each in lanes))} has halted: {said}.",
            style="bold red",
        ),
        output.plain(
            f"{counted(released, 'job')} released, {output.number(failed)} failed so far; "
            f"{jobs_do(left, 'stay', 'stays')} in the backlog, in order."
        ),
        *output.commands_part(("go on, when jobs succeed", go_on)),
    ]


def restore_receipt(receipt: RestoreReceipt, **_: str) -> output.Parts:
    """The receipt of a backlog that is back in its lane at once."""
    names = names_of(lane.lane for lane in receipt.lanes)
    if not receipt.lanes:
        return [output.headline("No divert is in force there: nothing to bring back.")]
    are = "are" if receipt.restored != 1 else "is"
    said = f"{counted(receipt.restored, 'job')} of {output.listed(names)} {are} back in place"
    return [
        output.headline(f"{said}; the divert has ended.", style="bold green"),
        *output.lane_table(["back"], [(lane.lane, lane.restored) for lane in receipt.lanes]),
    ]


def _drains(receipt: DrainReceipt, names: Sequence[str]) -> str:
    jobs = jobs_do(receipt.backlog, "wait", "waits")
    if receipt.rate is None:
        return f"The drain of {output.listed(names)} has stopped: {jobs} in the backlog."
    filled = [lane.backlog for lane in receipt.lanes if lane.backlog]
    each = " each" if len(filled) > 1 else ""
    before = {str(lane.rate_before) for lane in receipt.lanes if lane.rate_before}
    was = f" (it was {output.listed(sorted(before))})" if before and before != {str(receipt.rate)} else ""
    forecast = _forecast(max(filled, default=0), receipt.rate)
    drain = f"The backlog of {output.listed(names)} drains at {receipt.rate}{each}{was}"
    return f"{drain}: {counted(receipt.backlog, 'job')}{forecast}."


def _forecast(backlog: int, rate: Rate) -> str:
    seconds = backlog / rate.per_second
    if seconds > LONGEST_FORECAST.total_seconds():
        return ", more than a year"
    return f", at least {format_duration(seconds)}" if seconds >= 1 else ""


def _skipped(progress: Sequence[DrainProgress]) -> output.Parts:
    causes: Counter[str] = Counter()
    for each in progress:
        causes.update(each.skipped)
    if not causes:
        return []
    said = output.listed([f"{output.number(count)} {cause}" for cause, count in causes.items()], most=8)
    names = [name for each in progress for name in each.skipped_names]
    return [output.plain(f"Skipped, because they could not run any more: {said}."),
            output.plain(f"  {output.listed(names, most=10)}")]  # fmt: skip


STEP_SECONDS = 0.2
STEPS_BETWEEN_LOOKS = 25
SETTLE_SECONDS = 1.0


def watch_drain(
    run: Run, receipt: DrainReceipt, *, limit: timedelta | None
) -> tuple[tuple[DrainProgress, ...], timedelta, bool]:
    """Show the drain until it is done or `limit` is over; a Redis that is away is waited for.

    Returns its backlogs one by one, how long it was watched, and whether it is done: all backlogs
    are empty, or their drains were stopped.

    It is done as well when the backlogs have been empty for a while and the order still stands:
    it was told to stay, or no worker serves the lane and so nobody ends it.
    """
    began = empty_at = time.monotonic()
    progress: tuple[DrainProgress, ...] = ()
    standstill = _Standstill(run, receipt)
    with DrainBar(run.screen, backlog=receipt.backlog, rate=_pace_of_all(receipt)) as bar:
        while True:
            progress = _step(run, receipt, bar, standstill) or progress
            now = time.monotonic()
            if not progress or any(each.backlog for each in progress):
                empty_at = now
            is_done = bool(progress) and all(each.is_done for each in progress)
            is_done = is_done or now - empty_at >= SETTLE_SECONDS
            if is_done or (limit is not None and now - began >= limit.total_seconds()):
                return progress, timedelta(seconds=now - began), is_done
            time.sleep(STEP_SECONDS)


def _pace_of_all(receipt: DrainReceipt) -> float:
    filled = sum(lane.backlog > 0 for lane in receipt.lanes)
    return receipt.rate.per_second * max(filled, 1) if receipt.rate else 0.0


class _Standstill:
    """Says of a drain that nobody serves that it stands: once on standard error, and in the bar.

    Whoever scales by the length of RQ's list, which is empty meanwhile, has no worker then.
    """

    def __init__(self, run: Run, receipt: DrainReceipt) -> None:
        self._run = run
        self._queues = queues_in(lane.lane for lane in receipt.lanes)
        self._released = -1
        self._looks = 0
        self._said = ""

    def look(self, progress: Sequence[DrainProgress]) -> str:
        """What there is to say; workers are asked for now and then, while nothing is released."""
        released = sum(each.released for each in progress)
        if released != self._released:
            self._released, self._looks, self._said = released, 0, ""
        if self._looks % STEPS_BETWEEN_LOOKS == 0:
            self._say(progress)
        self._looks += 1
        return self._said

    def _say(self, progress: Sequence[DrainProgress]) -> None:
        served = {lane for worker in self._run.shedder.workers(*self._queues) for lane in worker.lanes}
        left = names_of(each.lane for each in progress if each.backlog and each.lane not in served)
        said = f"no worker serves {output.listed(left)}, so its drain stands" if left else ""
        if said and not self._said and not self._run.screen.shows_progress:
            self._run.screen.warn(f"{said} until one is started")
        self._said = said


def _step(run: Run, receipt: DrainReceipt, bar: DrainBar, standstill: _Standstill) -> tuple[DrainProgress, ...]:
    try:
        if any(worker.is_stock for worker in receipt.workers):
            run.shedder.release_for_stock_workers(receipt)
        progress = run.shedder.drain_progress(receipt)
        note = standstill.look(progress)
    except RedisUnreachable as error:
        what = "busy" if isinstance(error, ServerBusy) else "away"
        bar.say(f"Redis is {what}, trying again; the order stands")
        return ()
    bar.show(progress, note=note)
    return progress
