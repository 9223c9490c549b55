"""`shedder triage`: the checklist, with the next command for each question."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shedder.cli.options import verb
from shedder.cli.policy_chosen import near_policy_option, policy_for

if TYPE_CHECKING:
    from shedder.cli.run import Run

_EXAMPLES = ("shedder triage", "shedder triage --json")


@verb("triage", examples=_EXAMPLES)
@near_policy_option
def triage(run: Run, *, policy_file: str | None) -> int:
    """Show the checklist: a bad release, too much traffic, a clogged queue.

    Each question with what was done, its effect, and the next command for the queues as they are
    now.
    """
    found = run.shedder.triage(policy_for(run, policy_file, or_near=True))
    if run.is_json:
        run.emit("triage/1", found)
        return 0
    from shedder.cli.triage_view import triage_parts

    run.screen.show(*triage_parts(found, server=run.server_option))
    return 0
