"""How do flags and limits look on a screen?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from shedder.cli.parts import Parts, headline, plain, row, table
from shedder.cli.text import age, clock, escaped, number

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from shedder.setting_records import FlagState, LimitAnswer, LimitState, Setting


def flag_table(flags: Sequence[FlagState]) -> Parts:
    """All flags, a row for each."""
    if not flags:
        return [headline("No flag is declared or set.")]
    made = table("flag", "state", "group", "owner", "set by", "what it is")
    for flag in flags:
        style = "bold yellow" if flag.percent else ""
        row(made, flag.name, Text(_state(flag), style=style), flag.group or "-", flag.owner or "-",
            _who(flag.setting), flag.description or _unseen(flag.is_declared))  # fmt: skip
    return [made]


def limit_table(limits: Sequence[LimitState]) -> Parts:
    """All limits, a row for each."""
    if not limits:
        return [headline("No limit is declared or set.")]
    made = table("limit", "key", "rate", "default", ">hits", ">refused", "set by", "what it is")
    for limit in limits:
        style = "bold yellow" if limit.setting else ""
        row(made, limit.name, limit.key or "-", Text(_rate(limit), style=style),
            str(limit.default or "-"), number(limit.hits), number(limit.refusals),
            _who(limit.setting), limit.description or _unseen(limit.is_declared))  # fmt: skip
    return [made]


def limit_answer(answer: LimitAnswer) -> Parts:
    """What a hit would be told."""
    what = escaped(f"{answer.name} for {answer.key}" if answer.key else answer.name)
    if answer.rate is None:
        return [headline(f"{what} is off: every hit is let through.")]
    used = f"{number(answer.used)} of {answer.rate} used"
    if answer.left:
        return [headline(f"{what} lets a hit through: {used}.", style="bold green")]
    again = f"the next in {answer.retry_after:.1f} s"
    if answer.is_shadow:
        return [headline(f"{what} would refuse, but is in shadow mode: {used}, {again}.")]
    return [headline(f"{what} refuses: {used}, {again}.", style="bold yellow")]


def settings_part(flags: Sequence[FlagState], limits: Sequence[LimitState], now: datetime) -> Parts:
    """Degraded features and limits in force, a line for each with who and why."""
    lines = [
        f"feature {escaped(flag.name)} degraded{_share(flag)}{_by(flag.setting, now)}"
        for flag in flags
    ]
    lines += [
        f"limit {escaped(limit.name)}{f' for {escaped(limit.key)}' if limit.key else ''} "
        f"{_rate(limit)}{_by(limit.setting, now)} [{number(limit.hits)} let through, "
        f"{number(limit.refusals)} refused]"
        for limit in limits
    ]
    return [plain(line) for line in lines]


def _state(flag: FlagState) -> str:
    if not flag.percent:
        return "on"
    return "degraded" if flag.percent == 100 else f"degraded {flag.percent:g} %"


def _share(flag: FlagState) -> str:
    return "" if flag.percent == 100 else f" for {flag.percent:g} %"


def _rate(limit: LimitState) -> str:
    return f"{limit.rate or 'off'}{' (shadow)' if limit.is_shadow else ''}"


def _who(setting: Setting | None) -> str:
    return f"{setting.by}: {setting.why}" if setting else "-"


def _by(setting: Setting | None, now: datetime) -> str:
    if setting is None:
        return " by its default in code"
    until = (
        f", until {clock(setting.until, now)} ({age(now, setting.until)})" if setting.until else ""
    )
    since = f" since {clock(setting.since, now)} ({age(setting.since, now)})"
    return f"{since} by {escaped(setting.by)}{until}: {escaped(setting.why)}"


def _unseen(is_declared: bool) -> str:  # noqa: FBT001 - one answer, one word
    return "" if is_declared else "not declared by any process seen"
