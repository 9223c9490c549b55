"""`shedder limit`: change rates while everything runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from shedder.cli.asking import reason_of
from shedder.cli.completion import complete_limits
from shedder.cli.defaults import expiry
from shedder.cli.groups import verb_group
from shedder.cli.options import Asked, cause_options, expiry_option, force_option, verb
from shedder.cli.text import command, escaped
from shedder.cli.toes import look_around
from shedder.cli.verb_starts import LIFT_EXAMPLES, STARTS_EXAMPLES, lift, limit_starts
from shedder.rates import Rate

if TYPE_CHECKING:
    from datetime import timedelta

    from shedder.cli.run import Run
    from shedder.setting_records import LimitReceipt

_SET = (
    'shedder limit set reports 100/minute -r "database at 99 %"',
    'shedder limit set reports 10/minute --key tenant=acme --for 1h -r "acme floods us"',
    'shedder limit set reports 100/minute --shadow -r "what would it refuse?"',
)

_CLEAR = (
    'shedder limit clear reports -r "database is fine"',
    'shedder limit clear reports --key tenant=acme -r "they stopped"',
)

_LIST = ("shedder limit list", "shedder limit list --json")

_TEST = ("shedder limit test reports", "shedder limit test reports --key tenant=acme")


def _rate(_context: click.Context, _parameter: click.Parameter, value: str) -> Rate:
    return Rate.parse(value)


def _key_option(decorated: Any) -> Any:
    return click.option(
        "-k", "--key", default="", metavar="KEY", help="Only this key, as the code has it."
    )(decorated)


@verb("set", examples=_SET, short="Set a rate.")
@click.argument("name", metavar="LIMIT", shell_complete=complete_limits)
@click.argument("rate", metavar="RATE", callback=_rate)
@_key_option
@expiry_option
@click.option("--shadow", is_flag=True, help="Count what it would refuse, refuse nothing.")
@force_option("Also a limit that no process has declared.")
@cause_options
def set_limit(
    run: Run, *, asked: Asked, name: str, rate: Rate, key: str, expires_in: timedelta | None,
    shadow: bool,
) -> int:  # fmt: skip
    """Set a limit in every process within a second; it beats what the code says.

    A rate such as 100/minute counts what was let through in the minute before, too.
    """
    connected = run.shedder
    reason = reason_of(asked, f"set {_named(name, key)} to {rate}")
    look_around(run, asked, names=(f"{name} {key}".strip(),))
    expires_in = expiry(run, expires_in, of="limit")
    run.state = _uncertain(run, name, key)
    receipt = connected.set_limit(
        name, rate, key=key, expires_in=expires_in, shadow=shadow, reason=reason, by=asked.by,
        force=asked.is_forced,
    )  # fmt: skip
    return _finish(run, receipt)


@verb("clear", examples=_CLEAR, short="End what an operator set.")
@click.argument("name", metavar="LIMIT", shell_complete=complete_limits)
@_key_option
@force_option()
@cause_options
def clear(run: Run, *, asked: Asked, name: str, key: str) -> int:
    """End an operator's setting of a limit: what the code says holds again."""
    connected = run.shedder
    reason = reason_of(asked, f"clear {_named(name, key)}")
    look_around(run, asked, names=(f"{name} {key}".strip(),))
    run.state = _uncertain(run, name, key)
    return _finish(run, connected.clear_limit(name, key=key, reason=reason, by=asked.by))


@verb("list", examples=_LIST, short="All limits, those that were set first.")
def list_limits(run: Run) -> int:
    """Show all limits that are declared or set: the rate, who set it, hits and refusals."""
    connected = run.shedder
    found = connected.limit_states()
    if run.is_json:
        run.emit("limit-list/1", {"limits": found})
        return 0
    from shedder.cli.settings_view import limit_table

    run.screen.show(*limit_table(found))
    return 0


@verb("test", examples=_TEST, short="What would a hit be told now?")
@click.argument("name", metavar="LIMIT", shell_complete=complete_limits)
@_key_option
def test_limit(run: Run, *, name: str, key: str) -> int:
    """Say whether a hit would be let through now; nothing is counted. Exit code 3 if not."""
    connected = run.shedder
    answer = connected.test_limit(name, key=key)
    if run.is_json:
        run.emit("limit-test/1", answer)
    else:
        from shedder.cli.settings_view import limit_answer

        run.screen.show(*limit_answer(answer))
    return 0 if answer.is_within else 3


limit = verb_group(
    "limit", set_limit, clear, list_limits, test_limit, limit_starts, lift,
    text="Change the rates of limits, which code has declared, or of the starts of a queue's jobs.",
    examples=(_SET[0], _CLEAR[0], STARTS_EXAMPLES[0], LIFT_EXAMPLES[0]),
)  # fmt: skip


def _named(name: str, key: str) -> str:
    return escaped(f"{name} for {key}" if key else name)


def _uncertain(run: Run, name: str, key: str) -> str:
    check = command("limit", "list", server=run.server_option)
    return f"whether {_named(name, key)} is changed, says: {check}"


def _finish(run: Run, receipt: LimitReceipt) -> int:
    run.state = "it is done"
    if run.is_json:
        run.emit("limit/1", receipt)
    else:
        from shedder.cli.receipts_settings import limit_receipt

        run.screen.show(*limit_receipt(receipt, server=run.server_option))
    return 0
