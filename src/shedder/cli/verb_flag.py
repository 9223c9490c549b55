"""`shedder flag`: degrade features and restore them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from shedder.cli.asking import reason_of
from shedder.cli.completion import complete_flags, complete_groups
from shedder.cli.defaults import expiry
from shedder.cli.failures import Refused
from shedder.cli.groups import verb_group
from shedder.cli.options import Asked, cause_options, expiry_option, force_option, verb
from shedder.cli.text import command, is_are, listed
from shedder.cli.toes import look_around

if TYPE_CHECKING:
    from datetime import timedelta

    from shedder.cli.run import Run
    from shedder.setting_records import FlagReceipt

_DEGRADE = (
    'shedder flag degrade search.hints -r "database at 99 %"',
    'shedder flag degrade search.hints --percent 50 --for 1h -r "half of it"',
    'shedder flag degrade --group non-critical -r "stop the bleeding"',
)

_RESTORE = (
    'shedder flag restore search.hints -r "database is fine"',
    'shedder flag restore --group non-critical -r "incident is over"',
)

_LIST = ("shedder flag list", "shedder flag list --json")

_group_option = click.option(
    "-g", "--group", metavar="GROUP", default="", help="All of a group.",
    shell_complete=complete_groups,
)  # fmt: skip


@verb("degrade", examples=_DEGRADE, short="Turn features off, wholly or in part.")
@click.argument("flags", metavar="[FLAG]...", nargs=-1, shell_complete=complete_flags)
@_group_option
@click.option("--percent", type=float, default=100.0, show_default=True, metavar="PERCENT",
              help="How much of it.")  # fmt: skip
@expiry_option
@force_option("Also a flag that no process has declared.")
@cause_options
def degrade(
    run: Run, *, asked: Asked, flags: tuple[str, ...], group: str, percent: float,
    expires_in: timedelta | None,
) -> int:  # fmt: skip
    """Degrade features in every process within a second; nobody needs to deploy.

    In part it takes the same users each time, and a higher percentage only takes more of them.
    """
    what = _chosen(flags, group, "degrade")
    shedder = run.shedder
    reason = reason_of(asked, f"degrade {listed(what)}")
    look_around(run, asked, names=_names(run, flags, group))
    expires_in = expiry(run, expires_in, of="flag")
    run.state = _uncertain(run, what)
    receipt = shedder.degrade_flag(
        *flags, group=group, percent=percent, expires_in=expires_in, reason=reason, by=asked.by,
        force=asked.is_forced,
    )  # fmt: skip
    return _finish(run, receipt)


@verb("restore", examples=_RESTORE, short="Turn features on again.")
@click.argument("flags", metavar="[FLAG]...", nargs=-1, shell_complete=complete_flags)
@_group_option
@force_option()
@cause_options
def restore(run: Run, *, asked: Asked, flags: tuple[str, ...], group: str) -> int:
    """End the degradation of features; jobs that waited for them are put back, at once.

    To let these jobs start at a pace, give their queue a `shedder drain` first.
    """
    what = _chosen(flags, group, "restore")
    shedder = run.shedder
    reason = reason_of(asked, f"restore {listed(what)}")
    look_around(run, asked, names=_names(run, flags, group))
    run.state = _uncertain(run, what)
    return _finish(run, shedder.restore_flag(*flags, group=group, reason=reason, by=asked.by))


@verb("list", examples=_LIST, short="All flags, the degraded ones first.")
def list_flags(run: Run) -> int:
    """Show all flags that are declared or set: how they are, who did it, and what they are for."""
    shedder = run.shedder
    found = shedder.flag_states()
    if run.is_json:
        run.emit("flag-list/1", {"flags": found})
        return 0
    from shedder.cli.settings_view import flag_table

    run.screen.show(*flag_table(found))
    return 0


flag = verb_group(
    "flag", degrade, restore, list_flags,
    text="Degrade features, which code has declared, and restore them.",
    examples=(_DEGRADE[0], _RESTORE[0], _LIST[0]),
)  # fmt: skip


def _chosen(flags: tuple[str, ...], group: str, deed: str) -> list[str]:
    if not flags and not group:
        raise Refused(f"say what to {deed}: a flag, or --group; `shedder flag list` shows them")
    return [*flags, *([f"the group {group}"] if group else [])]


def _names(run: Run, flags: tuple[str, ...], group: str) -> tuple[str, ...]:
    if not group:
        return flags
    return (*flags, *(each.name for each in run.shedder.flag_states() if each.group == group))


def _uncertain(run: Run, what: list[str]) -> str:
    check = command("flag", "list", server=run.server_option)
    return f"whether {is_are(what)} changed, says: {check}"


def _finish(run: Run, receipt: FlagReceipt) -> int:
    run.state = "it is done"
    if run.is_json:
        run.emit("flag/1", receipt)
    else:
        from shedder.cli.receipts_settings import flag_receipt

        run.screen.show(*flag_receipt(receipt, server=run.server_option))
    return 0
