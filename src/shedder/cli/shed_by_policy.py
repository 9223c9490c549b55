"""`shedder divert --all`: what may be shed by policy, in its order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shedder.cli.asking import confirm, reason_of
from shedder.cli.failures import Refused
from shedder.cli.text import command, escaped, jobs_do, listed
from shedder.counts import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shedder.cli.options import Asked
    from shedder.cli.parts import Parts
    from shedder.cli.run import Run
    from shedder.rq.shedding import ShedStep


def shed_by_policy(run: Run, asked: Asked, *, dry_run: bool, is_sure: bool) -> int:
    """Divert what the policy says may be shed, or show it.

    Raises:
        Refused: no policy says what may be shed.
    """
    policies = run.shedder.policies
    if not policies.applied().policy.in_shed_order():
        raise Refused(
            "--all sheds what the policy says may be shed, and no policy in force says so: "
            "write one (`shedder policy init`), or name the queues to divert"
        )
    if dry_run:
        return _tell(run, policies.preview_shed(), "shed-preview/1")
    reason = reason_of(asked, "shed by policy")
    confirm("Divert all that the policy says may be shed?", is_sure=is_sure)
    run.state = f"what is diverted, says: {command('status', server=run.server_option)}"
    steps = policies.shed(reason=reason, by=asked.by)
    run.state = "it is done"
    return _tell(run, steps, "shed/1")


def _tell(run: Run, steps: Sequence[ShedStep], schema: str) -> int:
    if run.is_json:
        run.emit(schema, {"steps": steps})
    else:
        run.screen.show(*_view(steps, server=run.server_option))
    return 0 if any(_jobs(step) or step.receipt for step in steps) else 3


def _view(steps: Sequence[ShedStep], *, server: str) -> Parts:
    from shedder.cli.parts import commands_part, headline, plain

    total = sum(map(_jobs, steps))
    is_done = any(step.receipt for step in steps)
    went = jobs_do(total, "went", "went") if is_done else jobs_do(total, "would go", "would go")
    parts: Parts = [
        headline(f"{went} to the backlog, by {counted(len(steps), 'rule')} of the policy.")
    ]
    parts += [plain(_line(step)) for step in steps]
    undo = [
        (f"undo {step.shed}", command("undo", step.receipt.event, server=server))
        for step in steps
        if step.receipt
    ]
    return [*parts, *(commands_part(*undo) if undo else [])]


def _line(step: ShedStep) -> str:
    name = escaped(step.noun or step.matches)
    return f"{step.shed}. {name}: {counted(_jobs(step), 'job')} of {listed(step.queues)}"


def _jobs(step: ShedStep) -> int:
    if step.receipt is not None:
        return step.receipt.moved
    return step.preview.taken if step.preview is not None else 0
