"""`shedder check`: one line for a monitor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shedder.cli.options import duration_option, targets_argument, verb
from shedder.cli.text import one_line
from shedder.counts import counted

if TYPE_CHECKING:
    from datetime import timedelta

    from shedder.checks import CheckResult
    from shedder.cli.run import Run

_EXAMPLES = (
    "shedder check",
    "shedder check mail reports",
    "shedder check --older-than 4h --json",
)


@verb("check", examples=_EXAMPLES)
@targets_argument
@duration_option("--older-than", help="A control is forgotten when it is older; 24h if absent.")
def check(run: Run, *, names: tuple[str, ...], older_than: timedelta | None) -> int:
    """Say in one line, as monitors want it, whether anything is wrong.

    That is work outside the tolerance of the policy, a control that may have been forgotten,
    jobs that no worker serves, a record that cannot be read, and a server that is nearly full or
    throws jobs away. It exits with 0 when nothing is wrong, with 3 when something is.
    """
    from shedder.checks import OLD, check_status

    found = check_status(run.shedder.status(*names), older_than=older_than or OLD)
    if run.is_json:
        run.emit("check/1", found)
    else:
        from rich.text import Text

        from shedder.cli.screen import Verbatim

        style = "" if found.is_good else "bold red"
        run.screen.show(Verbatim(Text(line_of(found)).plain, style=style))
    return 0 if found.is_good else 3


def line_of(found: CheckResult) -> str:
    """The line, with numbers behind a bar for who draws them."""
    texts = [problem.text.rstrip(".") for problem in found.problems]
    said = "; ".join(texts) or f"{counted(found.lanes, 'lane')}, nothing is late or forgotten"
    late = sum(problem.kind == "late" for problem in found.problems)
    numbers = f"waiting={found.waiting} backlog={found.backlog} late={late}"
    # a bar begins the numbers, so none may stand in a name
    words = said.replace("|", "/")
    return one_line(f"SHEDDER {'OK' if found.is_good else 'CRITICAL'} - {words} | {numbers}")
