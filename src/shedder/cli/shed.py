"""`shedder shed`: diverts what the policy says may be shed, in its order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from shedder.cli.asking import confirm, is_asking_possible, settle_reason
from shedder.cli.options import Request, cause_options, verb
from shedder.cli.output import Parts, Text, command, commands_part, escaped, headline, listed, plain
from shedder.cli.run import Refused, Run
from shedder.wording import counted, jobs_do

if TYPE_CHECKING:
    from shedder import ShedStep


_EXAMPLES = ("shedder shed --dry-run", 'shedder shed -r "database at 99 %"')


@verb("shed", examples=_EXAMPLES)
@click.option("-n", "--dry-run", is_flag=True, help="Show what it would do; change nothing.")
@click.option("-y", "--yes", "is_sure", is_flag=True, help="Do not ask.")
@cause_options
def shed(run: Run, *, request: Request, dry_run: bool, is_sure: bool) -> int:
    """Divert the jobs that the policy in force allows to be shed, in its declared order.

    What the rules match becomes one divert on each queue, and one undo takes all of it back. On a
    terminal, the command lists the rules and how many jobs each would divert, then asks.
    """
    policies = run.shedder.policies
    if not policies.applied().policy.in_shed_order():
        raise Refused(
            "no policy in force says what may be shed: write one (`shedder policy init`) and apply "
            "it, or name the queues to divert (`shedder divert`)"
        )
    if dry_run:
        return _tell(run, policies.preview_shed(), "shed-preview/1")
    request = settle_reason(request, "shed by policy")
    if is_asking_possible() and not is_sure:
        for line in shed_parts(policies.preview_shed()):
            run.screen.remark(line.plain)
        confirm("Divert these jobs?", is_sure=is_sure)
    run.unsure("what is diverted", "status")
    steps = policies.shed(**request.cause)
    run.state = "it is done"
    return _tell(run, steps, "shed/1")


def _tell(run: Run, steps: Sequence[ShedStep], schema: str) -> int:
    view = [*shed_parts(steps), *_undo_part(steps, run.server_option)]
    run.tell(schema, {"steps": steps}, view)
    return 0 if any(_jobs(step) or step.receipt for step in steps) else 3


def shed_parts(steps: Sequence[ShedStep]) -> list[Text]:
    """How many jobs each rule sheds."""
    total = sum(map(_jobs, steps))
    is_done = any(step.receipt for step in steps)
    went = jobs_do(total, "went", "went") if is_done else jobs_do(total, "would go", "would go")
    rules = counted(len({number for step in steps for number in step.rules}), "rule")
    return [headline(f"{went} to the backlog, by {rules} of the policy."), *map(_line, steps)]


def _undo_part(steps: Sequence[ShedStep], server: str) -> Parts:
    events = [step.receipt.event for step in steps if step.receipt]
    return commands_part(*[("undo", command("undo", event, server=server)) for event in events[-1:]])


def _line(step: ShedStep) -> Text:
    more = len(step.rules) - 1
    label = escaped(step.noun or step.matches) + (f" and {counted(more, 'rule')} more" if more and step.noun else "")
    return plain(f"{step.shed}. {label}: {counted(_jobs(step), 'job')} of {listed(step.queues)}")


def _jobs(step: ShedStep) -> int:
    if step.receipt is not None:
        return step.receipt.moved
    return step.preview.taken if step.preview is not None else 0
