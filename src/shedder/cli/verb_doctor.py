"""`shedder doctor`: is this installation well, and what can be mended?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from shedder.cli.asking import confirm, is_asking_possible, reason_of
from shedder.cli.failures import Refused
from shedder.cli.options import Asked, cause_options, verb
from shedder.cli.text import command

if TYPE_CHECKING:
    from shedder.checkup import Checkup, Repair
    from shedder.cli.run import Run


_EXAMPLES = (
    "shedder doctor",
    'shedder doctor --fix -r "after the fail-over"',
    'shedder doctor --fix --yes -r "nightly" --json',
)


@verb("doctor", examples=_EXAMPLES)
@click.option("--fix", "is_to_fix", is_flag=True, help="Mend what is safe, after showing it.")
@click.option("-y", "--yes", "is_sure", is_flag=True, help="With --fix: do not ask.")
@cause_options
def doctor(run: Run, *, asked: Asked, is_to_fix: bool, is_sure: bool) -> int:
    """Check server, workers, producers, records and every job; a line for each finding.

    Exits with 3 when there is a problem. With --fix it shows what can be mended while everybody
    works on, asks, mends it, and looks again.
    """
    if is_to_fix:
        _check_answers(asked, is_sure=is_sure)
    checkup = _look(run)
    if not is_to_fix or not checkup.repairable:
        return _finish(run, checkup, ())
    _show_plan(run, checkup)
    reason = reason_of(asked, "repair")
    confirm("Repair this?", is_sure=is_sure)
    check = command("doctor", server=run.server_option)
    run.state = f"what is left to mend, says: {check}"
    repairs = run.shedder.repair(checkup, reason=reason, by=asked.by)
    return _finish(run, _look(run), repairs)


def _check_answers(asked: Asked, *, is_sure: bool) -> None:
    if is_asking_possible():
        return
    if not is_sure:
        raise Refused("--fix asks before it changes anything: say --yes where nobody can answer")
    if asked.reason is None:
        raise Refused('say why: -r "after the fail-over"; the journal keeps it')


def _look(run: Run) -> Checkup:
    from shedder.cli.progress import scan_bar

    connected = run.shedder
    with scan_bar(run.screen, "looking at every job") as on_progress:
        return connected.check_up(on_progress=on_progress)


def _show_plan(run: Run, checkup: Checkup) -> None:
    from shedder.cli.checkup_view import checkup_view, plan

    if run.is_json:
        for line in plan(checkup):
            run.screen.remark(line)
    else:
        run.screen.show(*checkup_view(checkup))
        for line in plan(checkup):
            run.screen.remark(line)


def _finish(run: Run, checkup: Checkup, repairs: tuple[Repair, ...]) -> int:
    if run.is_json:
        run.emit("doctor/1", checkup, repairs=repairs)
    else:
        from shedder.cli.checkup_view import checkup_view, repairs_view

        run.screen.show(*repairs_view(repairs))
        run.screen.show(*checkup_view(checkup, server=run.server_option))
    return 0 if checkup.is_healthy else 3
