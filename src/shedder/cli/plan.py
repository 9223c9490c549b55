"""`shedder plan`: forecasts how long it takes, for each thing that could be done."""

from __future__ import annotations

from collections.abc import Sequence

import click

from shedder.cli import options, output
from shedder.cli.policy import near_policy_option, policy_for
from shedder.cli.run import Run
from shedder.errors import NothingMatched
from shedder.lanes import lanes_of_target
from shedder.policy.lateness import lateness_sentence
from shedder.policy.model import Policy
from shedder.queues import preview
from shedder.response import plan as planning
from shedder.units import format_duration
from shedder.wording import counted, jobs_do

_EXAMPLES = (
    "shedder plan",
    "shedder plan mail --pause mail.low --limit mail=50/second --more 4",
    "shedder plan --explain",
)

_NEVER = {
    planning.HELD: "stays so", planning.FAILS: "not while it fails", planning.SLOW: "never",
    planning.UNKNOWN: "not known",
}  # fmt: skip


@options.verb("plan", examples=_EXAMPLES)
@options.targets_argument
@click.option("--pause", "pauses", multiple=True, metavar="LANE", help="What if it were paused?")
@click.option("--divert", "diverts", multiple=True, metavar="LANE", help="What if its jobs were put aside?")
@click.option("--limit", "limits", multiple=True, metavar="LANE=RATE",
              help="What if its jobs started at this rate at most?")  # fmt: skip
@click.option("--more", type=click.IntRange(1, 10_000), metavar="WORKERS", default=planning.MORE_WORKERS,
              show_default=True, help="What if there were more workers?")  # fmt: skip
@click.option("--explain", is_flag=True, help="Show the arithmetic.")
@near_policy_option
def plan(
    run: Run, *, names: tuple[str, ...], pauses: tuple[str, ...], diverts: tuple[str, ...], limits: tuple[str, ...],
    more: int, explain: bool, policy_file: str | None,
) -> int:  # fmt: skip
    """Forecast, for each option, when urgent work is on time again and when what is open is done.

    Work that fails is not done, and what is paused or put aside stays so.

    The forecast is a model built on measurements; docs/explanation/the-plan.md explains it and how
    far off it can be.
    """
    asked = planning.options_asked(pauses, diverts, limits)
    run.shedder.lanes(
        (*names, *pauses, *diverts, *(each.rpartition("=")[0] for each in limits))
    )  # refuses what could be meant for another queue
    _check_known(names, run.shedder.queues())
    outlook = _outlook(run, policy_for(run, policy_file, or_near=True, is_view=True), names)
    _check_lanes(asked, outlook.lanes)
    usual = planning.options_for(outlook.lanes, more_workers=more)
    considered = [usual[0], *asked, usual[-1]] if asked else usual
    found = [
        planning.forecast(outlook.lanes, option, pace=outlook.pace, workers=outlook.workers) for option in considered
    ]
    parts = _parts(outlook, found, is_explained=explain, server=run.server_option)
    run.tell("plan/1", outlook, parts, forecasts=found)
    return 0


def _outlook(run: Run, policy: Policy, targets: Sequence[str]) -> planning.Outlook:
    status = run.shedder.status(*targets, policy=policy)
    lanes = [lane.lane for lane in status.lanes]
    samples = run.shedder.samples(*lanes, since=status.at - planning.PACE_LOOK_BACK) if lanes else {}
    looks = preview.look_at_functions(run.shedder.store, planning.lanes_to_look_at(status))
    return planning.read_outlook(status, samples, policy, looks)


def _check_known(names: Sequence[str], queues: Sequence[str]) -> None:
    for name in names:
        if lanes_of_target(name)[0].queue not in queues:
            raise NothingMatched(f"queue {name}", found=tuple(queues))


def _check_lanes(asked: Sequence[planning.Option], lanes: Sequence[planning.LaneLoad]) -> None:
    for each in asked:
        if not each.concerns(lanes):
            known = tuple(lane.lane for lane in lanes)
            raise NothingMatched(f"lane in the plan that `{each.name}` would change", found=known)


def _parts(
    outlook: planning.Outlook, found: list[planning.Forecast], *, is_explained: bool, server: str
) -> output.Parts:
    urgent = ", ".join(lane.lane for lane in outlook.lanes if lane.is_urgent) or "none"
    made = output.table("if we", ">urgent is well in", ">open is done in", ">left aside")
    for each in found:
        urgent_in, gone_in = _time(each.urgent_in, each.urgent_never), _time(each.gone_in, each.gone_never)
        output.row(made, each.option, urgent_in, gone_in, output.number(round(each.left)))
    parts: output.Parts = [output.headline(_head(outlook))]
    parts += [output.headline(f"! {output.escaped(each.sentence)}.", style="red") for each in outlook.failing]
    if outlook.failing and outlook.failing_pace:
        share = f"{100 * outlook.failing_pace / outlook.pace:.0f} %"
        parts.append(output.plain(f"{share} of that pace fails; work that ends well may take longer, or less long."))
    if outlook.unmeasured:
        lanes = output.listed(outlook.unmeasured)
        parts.append(
            output.plain(f"Stock workers serve {lanes}: how much arrives there is not known, and not counted.")
        )
    late = [output.plain(lateness_sentence(each, outlook.at)) for each in outlook.late]
    parts += [output.plain(f"Urgent: {urgent}."), *late, output.blank(), made]
    ways = [(each.option, output.command(each.command[0], options=[*each.command[1:], "--dry-run"], server=server))
            for each in found if each.command]  # fmt: skip
    parts += output.commands_part(*ways) if ways else []
    if is_explained:
        for each in found:
            parts += [output.blank(), output.headline(each.option), *map(_phase, each.phases)]
    return parts


def _head(outlook: planning.Outlook) -> str:
    depth = sum(lane.depth for lane in outlook.lanes if not lane.is_closed)
    waiting, workers = jobs_do(round(depth), "wait", "waits"), counted(outlook.workers, "worker")
    if not outlook.pace:
        return f"{waiting}; {workers}, how fast is not known: no job has ended in the last hour."
    when = "now" if outlook.is_pace_now else "at best in the last hour"
    return f"{waiting}; {workers}: {output.per_second(outlook.pace)} a second ({when})."


def _phase(phase: planning.Phase) -> output.Text:
    lanes = [
        f"{lane}: {output.number(round(phase.depths[lane]))} wait, {output.per_second(served)}/s start"
        for lane, served in phase.served.items()
        if phase.depths[lane] or served
    ]
    said = "; ".join(lanes) or "nothing waits"
    return output.plain(f"  from {_long(phase.since)} for {_long(phase.seconds)}: {said}")


def _time(seconds: float | None, why_never: str) -> str:
    return _NEVER[why_never or planning.SLOW] if seconds is None else _long(seconds)


def _long(seconds: float) -> str:
    if seconds >= planning.HORIZON_SECONDS:
        return "never"
    return format_duration(round(seconds)) if seconds >= 1 else "now"
