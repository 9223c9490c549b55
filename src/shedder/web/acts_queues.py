"""Acts on queues and lanes: pauses, diverts, drains, failed jobs, limits on starts, work that is too old."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from shedder.errors import ConditionNotMet, InvalidInput
from shedder.lanes import PRIORITIES, names_of, targets_with_priorities
from shedder.queues.failed import FailedSelection
from shedder.queues.outcomes import is_failing
from shedder.response.plan import Option
from shedder.selection import Selection
from shedder.units import Rate, format_share, parse_share
from shedder.web.acts import (
    FOR,
    SELECTION,
    TARGETS,
    Act,
    Asked,
    Entry,
    Field,
    Planned,
    Result,
    Targets,
    if_and_if_not,
    selection_of,
    some_of,
    standing_of,
    utc_text,
)
from shedder.wording import counted, jobs_do

if TYPE_CHECKING:
    from shedder import DivertPreview, DivertReceipt, DrainReceipt, RestoreReceipt, RetryPreview
    from shedder.status.readings import LaneStatus


FUNCTIONS_SHOWN = 5


def _pause(asked: Asked) -> Planned:
    to = Targets(asked)
    expires_in = asked.expiry("pause")

    def look() -> Sequence[str]:
        waiting, running = _sum(to.found, "waiting"), _sum(to.found, "running")
        return [
            (
                f"No job of {some_of(to.names)} starts any more{_until(asked, expires_in)}. "
                f"{jobs_do(waiting, 'wait', 'waits')} and stay; {jobs_do(running, 'run', 'runs')} and end as usual."
            ),
            *_standing_pauses(to.found, "This takes the place of the pause"),
            *to.stock(),
            *to.unknown("it is paused all the same"),
        ]

    def carry_out(why: str) -> Result:
        receipt = asked.shedder.pause(*to.names, reason=why, by=asked.by, expires_in=expires_in)
        waiting, running = sum(lane.waiting for lane in receipt.lanes), len(receipt.running)
        said = f"{_are(to.names)} paused: {jobs_do(waiting, 'wait', 'waits')}, {counted(running, 'job')} still running."
        return Result((said, *_end(receipt.until)), receipt, receipt.event)

    return Planned(
        "pause", (Entry("pause", to.lanes),), {**to.state, "until": str(expires_in)}, look, carry_out,
        words=to.words, options=(*to.options, *asked.options(**{"for": "--for"})), lanes=to.lanes,
        outlook=lambda: if_and_if_not(asked, Option("this", closed=frozenset(to.lanes))),
    )  # fmt: skip


def _resume(asked: Asked) -> Planned:
    to = Targets(asked)
    paused = [lane for lane in to.found if lane.pause]

    def look() -> Sequence[str]:
        if not paused:
            return [f"{_are(to.names)} not paused: there is nothing to resume."]
        names = names_of(lane.lane for lane in paused)
        waiting = jobs_do(_sum(paused, "waiting"), "wait", "waits")
        return [
            f"Jobs of {some_of(names)} start again, in their order: {waiting}.",
            *_standing_pauses(paused, "This ends the pause"),
        ]

    def carry_out(why: str) -> Result:
        receipt = asked.shedder.resume(*to.names, reason=why, by=asked.by)
        ended = names_of(lane.lane for lane in receipt.lanes if lane.ended)
        if not ended:
            return Result((f"{_are(to.names)} not paused: nothing was changed.",), receipt, is_done=False)
        waiting = sum(lane.waiting for lane in receipt.lanes)
        return Result((f"{_are(ended)} resumed: {jobs_do(waiting, 'wait', 'waits')}.",), receipt, receipt.event)

    return Planned(
        "resume", (Entry("resume", to.lanes),) if paused else (), to.state, look, carry_out,
        words=to.words, options=to.options, lanes=to.lanes,
    )  # fmt: skip


def _divert(asked: Asked) -> Planned:
    to, selection, priorities = Targets(asked), selection_of(asked), asked.several("priority")
    targets = targets_with_priorities(to.names, priorities)
    lanes = tuple(lane.name for lane in asked.shedder.lanes(targets))
    # before 0.2 `divert --all` did what `shed` does, so that the command line asks for more there
    forced = to.is_all and not priorities and selection.is_whole and bool(asked.policy.in_shed_order())
    previews: list[DivertPreview] = []

    def looked() -> DivertPreview:
        previews[:] = previews or [asked.shedder.preview_divert(*targets, selection=selection)]
        return previews[0]

    def carry_out(why: str) -> Result:
        receipt = asked.shedder.divert(*targets, selection=selection, reason=why, by=asked.by)
        return _diverted(receipt, targets)

    def outlook() -> Sequence[str]:
        if selection.is_whole:
            return if_and_if_not(asked, Option("this", closed=frozenset(lanes)))
        taken = {lane.lane: lane.taken / lane.waiting for lane in looked().lanes if lane.waiting}
        return if_and_if_not(asked, Option("this", taken=taken))

    return Planned(
        "divert", (Entry("divert", lanes),), to.state,
        lambda: [*_would_divert(looked(), targets), *to.stock(), *to.unknown("it is diverted all the same")], carry_out,
        words=to.words,
        options=(
            *to.options, *asked.options(priority="--priority", function="--function", meta="--meta",
            older_than="--older-than"), *(["--force"] if forced else []),
        ),
        lanes=lanes, outlook=outlook,
    )  # fmt: skip


def _would_divert(preview: DivertPreview, targets: Sequence[str]) -> list[str]:
    waiting = sum(lane.waiting for lane in preview.lanes)
    said = [
        (
            f"{jobs_do(preview.taken, 'go', 'goes')} to the backlog, of {waiting:,} that wait in {some_of(targets)}, "
            f"and so does what still arrives: {preview.selection.describe()}. None is deleted."
        )
    ]
    said += [f"{jobs:,} of {name}" for name, jobs in preview.functions[:FUNCTIONS_SHOWN]]
    if preview.undecided:
        said.append(
            f"Of {counted(preview.undecided, 'job')} it cannot be told here; workers decide when they meet them."
        )
    if not preview.taken and preview.others:
        others = [f"{jobs:,} of {name}" for name, jobs in preview.others[:FUNCTIONS_SHOWN]]
        said.append(f"What waits there instead: {some_of(others)}.")
    return said


def _diverted(receipt: DivertReceipt, targets: Sequence[str]) -> Result:
    said = f"{_are(targets)} diverted: {jobs_do(receipt.moved, 'went', 'went')} to the backlog."
    return Result((said, f"It takes {receipt.selection.describe()}."), receipt, receipt.event)


def _shed(asked: Asked) -> Planned:
    policy = asked.policy
    if not policy.in_shed_order():
        raise ConditionNotMet("no policy in force says what may be shed", try_instead="divert the queues that you name")
    steps = asked.shedder.policies.preview_shed()
    queues = tuple(dict.fromkeys(queue for step in steps for queue in step.queues))
    lanes = tuple(lane.name for lane in asked.shedder.lanes(queues)) if queues else ()
    wanted = frozenset(lanes)
    found = [lane for lane in asked.status.lanes if lane.lane in wanted]

    def look() -> Sequence[str]:
        lines = [f"{step.noun or step.matches}: {counted(step.preview.taken if step.preview else 0, 'job')} "
                 f"of {some_of(step.queues)}" for step in steps]  # fmt: skip
        total = sum(step.preview.taken for step in steps if step.preview)
        return [f"{jobs_do(total, 'go', 'goes')} to the backlog, by the rules of the policy in force.", *lines]

    def carry_out(why: str) -> Result:
        done = asked.shedder.policies.shed(reason=why, by=asked.by)
        receipts = [step.receipt for step in done if step.receipt]
        moved = sum(each.moved for each in receipts)
        event = receipts[-1].event if receipts else ""
        return Result((f"{jobs_do(moved, 'went', 'went')} to the backlog.",), done, event, is_done=bool(receipts))

    state = {"lanes": standing_of(found), "names": lanes, "policy": asked.shedder.policies.applied().number}
    return Planned("shed", (Entry("divert", lanes),), state, look, carry_out, lanes=lanes)


def _drain(asked: Asked) -> Planned:
    to = Targets(asked)
    said, halt_at = asked.text("rate"), asked.text("halt_at")
    rate = Rate.parse(said, name="rate") if said else asked.defaults.drain_rate
    share = parse_share(halt_at, name="halt at") if halt_at else None
    if rate is None:
        raise InvalidInput(name="rate", value="", accepted="", says="say at which rate, such as 200/second")
    failing = _failing(asked, to)

    def carry_out(why: str) -> Result:
        receipt = asked.shedder.drain(
            *to.names, rate=rate, stays=asked.is_on("stay"), halt_at=share, reason=why, by=asked.by
        )
        return _draining(receipt, to.names)

    return Planned(
        "drain", (Entry("drain", to.lanes),) if _with_backlog(to) else (), {**to.state, "rate": str(rate)},
        lambda: [*_would_drain(to, rate), *failing], carry_out,
        words=to.words,
        options=(
            *to.options, *asked.options(rate="--rate", halt_at="--halt-at"), *asked.switches(stay="--stay"),
            *(["--force"] if failing else []),
        ),
        lanes=to.lanes, outlook=lambda: _drain_outlook(asked, to, rate),
    )  # fmt: skip


def _would_drain(to: Targets, rate: Rate) -> list[str]:
    backlog = _sum(to.found, "backlog")
    lanes = _with_backlog(to)
    if not lanes:
        return [f"No divert is in force on {some_of(to.names)}: there is nothing to drain."]
    said = [(f"{jobs_do(backlog, 'leave', 'leaves')} the backlog of {some_of(names_of(lanes))}, "
            f"oldest first, each lane at {rate} at most.")]  # fmt: skip
    running = [each.drain for lane in to.found for each in lane.diverts if each.drain and not each.is_limit]
    said += dict.fromkeys(f"It drains at {each.rate} now, by {each.by}: {each.why}." for each in running)
    return [*said, *to.stock()]


def _drain_outlook(asked: Asked, to: Targets, rate: Rate) -> tuple[str, ...]:
    longest = max((lane.backlog for lane in to.found), default=0)
    if not longest:
        return ()
    end = asked.status.at + timedelta(seconds=longest / rate.per_second)
    drains = any(each.drain for lane in to.found for each in lane.diverts)
    nothing = "it goes on as it drains now" if drains else "the backlog stays"
    return f"If you do this: the backlog is empty at {utc_text(end)} at the earliest.", f"If you do nothing: {nothing}."


def _failing(asked: Asked, to: Targets) -> list[str]:
    """A sentence for each lane of which too many jobs fail now."""
    share = asked.defaults.share_that_fails
    return [_fails(lane) for lane in to.found if is_failing(lane.outcomes, share) and lane.diverts]


def _fails(lane: LaneStatus) -> str:
    it = lane.outcomes
    why = f" ({it.exception})" if it.exception else ""
    ended = counted(it.ended_lately, "job")
    return f"{it.failed_lately:,} of {ended} of {lane.lane} that ended in the last 5 minutes failed{why}."


def _draining(receipt: DrainReceipt, names: Sequence[str]) -> Result:
    if not receipt.lanes:
        return Result((f"No divert is in force on {some_of(names)}: nothing was changed.",), receipt, is_done=False)
    lanes = names_of(lane.lane for lane in receipt.lanes)
    jobs = jobs_do(receipt.backlog, "are", "is")
    if receipt.rate is None:
        return Result((f"The drain of {some_of(lanes)} has stopped: {jobs} in the backlog.",), receipt, receipt.event)
    halts = f"It halts when {format_share(receipt.halt_at)} of its last 50 jobs failed." if receipt.halt_at else ""
    said = f"{some_of(lanes)} drains at {receipt.rate}: {jobs} in the backlog."
    return Result((said, *([halts] if halts else [])), receipt, receipt.event)


def _with_backlog(to: Targets) -> tuple[str, ...]:
    """The lanes on which a divert stands that a drain empties."""
    return tuple(lane.lane for lane in to.found if any(not each.is_limit for each in lane.diverts))


def _drain_stop(asked: Asked) -> Planned:
    to = Targets(asked)
    lanes = tuple(lane.lane for lane in to.found if any(each.drain and not each.is_limit for each in lane.diverts))

    def look() -> Sequence[str]:
        if not lanes:
            return [f"Nothing drains on {some_of(to.names)}: there is nothing to stop."]
        left = jobs_do(_sum(to.found, "backlog"), "stay", "stays")
        return [f"The drain of {some_of(names_of(lanes))} stops: {left} in the backlog, in order."]

    def carry_out(why: str) -> Result:
        return _draining(asked.shedder.stop_drain(*to.names, reason=why, by=asked.by), to.names)

    return Planned(
        "drain", (Entry("drain stopped", to.lanes),) if lanes else (), to.state, look, carry_out,
        words=to.words, options=(*to.options, "--stop"), lanes=to.lanes,
    )  # fmt: skip


def _drain_at_once(asked: Asked) -> Planned:
    to = Targets(asked)
    lanes = tuple(lane.lane for lane in to.found if lane.diverts)
    failing = _failing(asked, to)

    def look() -> Sequence[str]:
        if not lanes:
            return [f"No divert is in force on {some_of(to.names)}: there is nothing to put back."]
        back = jobs_do(_sum(to.found, "backlog"), "go", "goes")
        return [f"{back} back into {some_of(names_of(lanes))} at once, at no pace; the divert ends.", *failing]

    def carry_out(why: str) -> Result:
        return _restored(asked.shedder.drain_at_once(*to.names, reason=why, by=asked.by), to.names)

    return Planned(
        "drain", (Entry("restore", lanes),) if lanes else (), to.state, look, carry_out,
        words=to.words, options=(*to.options, "--at-once", *(["--force"] if failing else [])), lanes=to.lanes,
    )  # fmt: skip


def _restored(receipt: RestoreReceipt, names: Sequence[str]) -> Result:
    if not receipt.lanes:
        return Result((f"No such control stands on {some_of(names)}: nothing was changed.",), receipt, is_done=False)
    lanes = names_of(lane.lane for lane in receipt.lanes)
    said = f"{jobs_do(receipt.restored, 'are', 'is')} back in {some_of(lanes)}."
    return Result((said,), receipt, receipt.events[-1] if receipt.events else "")


def _retry(asked: Asked) -> Planned:
    to = Targets(asked)
    said, halt_at, first = asked.text("rate"), asked.text("halt_at"), asked.number("first")
    rate = Rate.parse(said, name="rate") if said else asked.defaults.drain_rate
    share = parse_share(halt_at, name="halt at") if halt_at else None
    if rate is None:
        raise InvalidInput(name="rate", value="", accepted="", says="say at which rate, such as 50/second")
    selection, forced = _failed_selection(asked), asked.is_on("force")
    preview = asked.shedder.preview_retry(*to.names, selection=selection, first=first, force=forced)
    lanes = tuple(lane.lane for lane in preview.lanes if lane.jobs)

    def carry_out(why: str) -> Result:
        receipt = asked.shedder.retry(
            *to.names, selection=selection, rate=rate, halt_at=share, first=first, force=forced, reason=why, by=asked.by
        )
        jobs = sum(lane.jobs for lane in receipt.lanes)
        if receipt.drain is None:
            return Result(("No failed job came back: nothing was changed.",), receipt, is_done=False)
        return Result((f"{jobs_do(jobs, 'come', 'comes')} back, at {rate} a lane.",), receipt, receipt.event)

    return Planned(
        "retry", (Entry("retry", lanes),) if lanes else (),
        {**to.state, "rate": str(rate)}, lambda: _would_retry(preview, rate), carry_out,
        words=to.words,
        options=(
            *to.options, *asked.options(
                function="--function", exception="--exception", error="--error", since="--since", until="--until",
                meta="--meta", attempts_below="--attempts-below", older_than="--older-than", rate="--rate",
                halt_at="--halt-at", first="--first"),
            *asked.switches(force="--force"), *(["--detach"] if first is not None else []),
        ),
        lanes=to.lanes,
    )  # fmt: skip


def _failed_selection(asked: Asked) -> FailedSelection:
    when = asked.past("since", "until")
    return FailedSelection(
        selection_of(asked), asked.several("exception"), asked.several("error"), when.get("since"), when.get("until"),
        asked.number("attempts_below"),
    )  # fmt: skip


def _would_retry(preview: RetryPreview, rate: Rate) -> list[str]:
    said = [(f"{jobs_do(preview.jobs, 'come', 'comes')} back, of {preview.failed:,} failed jobs that were looked at: "
            f"{preview.selection}. They go to the backlog of their lane and start at {rate} at most.")]  # fmt: skip
    said += [f"{each.jobs:,} of {each.function}: {each.exception}" for each in preview.groups[:FUNCTIONS_SHOWN]]
    said += [f"{counted(jobs, 'job')} cannot come back: {cause}." for cause, jobs in preview.skipped.items()]
    if preview.came_back:
        said.append(f"{counted(preview.came_back, 'job')} of them came back before, and failed again.")
    return [*said, *(f"{jobs:,} with {name}" for name, jobs in preview.errors)]


def _retry_stop(asked: Asked) -> Planned:
    to = Targets(asked)
    lanes = tuple(lane.lane for lane in to.found if any(each.is_retry for each in lane.diverts))

    def look() -> Sequence[str]:
        return [f"The retry of {some_of(names_of(lanes))} stops; what has not started stays in the backlog."
                if lanes else f"No retry is under way on {some_of(to.names)}: there is nothing to stop."]  # fmt: skip

    def carry_out(why: str) -> Result:
        return _draining(asked.shedder.stop_retry(*to.names, reason=why, by=asked.by), to.names)

    return Planned(
        "retry", (Entry("drain stopped", lanes),) if lanes else (), to.state, look, carry_out,
        words=to.words, options=(*to.options, "--stop"), lanes=to.lanes,
    )  # fmt: skip


def _limit_starts(asked: Asked) -> Planned:
    to, selection = Targets(asked), Selection.parse(functions=asked.several("function"))
    rate = Rate.parse(asked.text("rate"), name="rate") if asked.text("rate") else None
    most, expires_in = asked.number("most"), asked.expiry("limit")
    if rate is None and (most is None or most < 1):
        raise InvalidInput(name="limit", value=most, accepted="a rate such as 20/second, or how many run at once")
    terms = " and ".join([*([str(rate)] if rate else []), *([f"{most:,} at once"] if most else [])])

    def look() -> Sequence[str]:
        return [
            (f"Jobs of {some_of(to.names)} start at {terms} at most{_until(asked, expires_in)}: "
            f"{selection.describe()}. {jobs_do(_sum(to.found, 'waiting'), 'wait', 'waits')} now."),
            *to.stock(), *to.unknown("it is limited all the same"),
        ]  # fmt: skip

    def carry_out(why: str) -> Result:
        receipt = asked.shedder.limit_starts(
            *to.names, rate=rate, most=most, selection=selection, expires_in=expires_in, reason=why, by=asked.by
        )
        return Result((f"{_are(to.names)} limited to {terms}.",), receipt, receipt.event)

    limits = dict.fromkeys(to.lanes, rate.per_second) if rate else {}
    return Planned(
        "limit starts", (Entry("limit start", to.lanes),), {**to.state, "until": str(expires_in)}, look, carry_out,
        words=to.words,
        options=(*to.options, *asked.options(rate="--rate", most="--at-once", function="--function"),
                 *asked.options(**{"for": "--for"})),
        lanes=to.lanes, outlook=lambda: if_and_if_not(asked, Option("this", limits=limits)) if limits else (),
    )  # fmt: skip


def _limit_lift(asked: Asked) -> Planned:
    to = Targets(asked)
    lanes = tuple(lane.lane for lane in to.found if any(each.is_limit for each in lane.diverts))

    def look() -> Sequence[str]:
        return [f"The limit on starts of {some_of(names_of(lanes))} ends; what waits under it may start."
                if lanes else f"No limit on starts stands on {some_of(to.names)}."]  # fmt: skip

    def carry_out(why: str) -> Result:
        return _restored(asked.shedder.lift_limit(*to.names, reason=why, by=asked.by), to.names)

    return Planned(
        "limit lift", (Entry("restore", lanes),) if lanes else (), to.state, look, carry_out,
        words=to.words, options=to.options, lanes=to.lanes,
    )  # fmt: skip


def _stale_replay(asked: Asked) -> Planned:
    to = Targets(asked)
    stale = asked.shedder.stale(*to.names)

    def look() -> Sequence[str]:
        jobs = jobs_do(sum(each.jobs for each in stale), "go", "goes")
        return [f"{jobs} back into {some_of(names_of(each.lane for each in stale))}, behind what waits."
                if stale else f"No job of {some_of(to.names)} was set aside."]  # fmt: skip

    def carry_out(why: str) -> Result:
        receipt = asked.shedder.replay_stale(*to.names, reason=why, by=asked.by)
        said = f"{jobs_do(receipt.replayed, 'are', 'is')} back, behind what waits."
        return Result((said,), receipt, is_done=bool(receipt.lanes))

    return Planned(
        "stale replay", (Entry("replay", tuple(each.lane for each in stale)),) if stale else (), to.state, look,
        carry_out, words=to.words, options=to.options, lanes=to.lanes,
    )  # fmt: skip


def _sum(lanes: Iterable[LaneStatus], name: str) -> int:
    return sum(getattr(lane, name) for lane in lanes)


def _are(names: Sequence[str]) -> str:
    return f"{some_of(names)} {'is' if len(names) == 1 else 'are'}"


def _until(asked: Asked, expires_in: timedelta | None) -> str:
    if expires_in is None:
        return ", until somebody ends that"
    return f", until {utc_text(asked.status.at + expires_in)}"


def _end(until: Any) -> tuple[str, ...]:
    return () if until is None else (f"It ends by itself at {utc_text(until)}.",)


def _standing_pauses(lanes: Iterable[LaneStatus], what: str) -> list[str]:
    pauses = [lane.pause for lane in lanes if lane.pause]
    return [*dict.fromkeys(f"{what} by {each.by}: {each.why}." for each in pauses)]


_RATE = Field("rate", "Rate", hint="such as 50/second; empty for the policy's")
_HALT = Field("halt_at", "Halt when this share fails", hint="such as 20%, or never; empty for the policy's")
_PRIORITY = Field(
    "priority", "Only these priorities", "choices", choices=tuple((each, each) for each in PRIORITIES)
)  # fmt: skip

QUEUE_ACTS = (
    Act("pause", "Pause", "No job starts until it is resumed; jobs stay in place.", _pause, (*TARGETS, FOR)),
    Act("resume", "Resume", "Jobs start again, in their order.", _resume, TARGETS),
    Act("divert", "Divert", "Jobs go to the backlog, those that wait and those that still arrive; none is deleted.",
        _divert, (*TARGETS, _PRIORITY, *SELECTION)),
    Act("shed", "Shed by policy", "Divert what the policy in force allows to be shed.", _shed),
    Act("drain", "Drain", "The backlog starts again, oldest first, at a rate; said again, it changes the rate.",
        _drain, (*TARGETS, _RATE, _HALT, Field("stay", "Keep the divert when the backlog is empty", "check"))),
    Act("stop-drain", "Stop the drain", "The backlog stays, in order.", _drain_stop, TARGETS),
    Act("drain-at-once", "Drain at once", "The whole backlog goes back now, at no pace.", _drain_at_once, TARGETS),
    Act("retry", "Retry failed jobs", "Failed jobs come back, counted first, at a rate.", _retry, (
        *TARGETS, *SELECTION,
        Field("exception", "Only exceptions", "lines", "globs, one a line, such as *Timeout*"),
        Field("error", "Only last lines", "lines", "globs, one a line, such as OperationalError*"),
        Field("since", "Failed since", hint="such as 02:00 (UTC) or 38m"),
        Field("until", "Failed before", hint="such as 02:30 (UTC)"),
        Field("attempts_below", "Tried fewer times than", hint="a number"),
        _RATE, _HALT,
        Field("first", "Only the first", hint="a number of jobs, to try it"),
        Field("force", "Also what the policy does not let come back", "check"),
    )),
    Act("stop-retry", "Stop the retry", "What has not started stays in the backlog.", _retry_stop, TARGETS),
    Act("limit-starts", "Limit starts", "Jobs start at a rate, or so many at once.", _limit_starts, (
        *TARGETS, Field("rate", "Rate", hint="such as 20/second"), Field("most", "At once", hint="a number of jobs"),
        SELECTION[0], FOR,
    )),
    Act("lift-limit", "Lift the limit on starts", "What waits under it may start.", _limit_lift, TARGETS),
    Act("stale-replay", "Replay stale work", "What was set aside goes into its lanes, behind what waits.",
        _stale_replay, TARGETS),
)  # fmt: skip
