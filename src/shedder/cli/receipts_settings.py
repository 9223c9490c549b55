"""What does a person read after a flag or a limit was changed?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shedder.cli.parts import Parts, commands_part, headline, plain
from shedder.cli.text import age, clock, command, escaped, is_are, jobs_do, listed
from shedder.counts import counted

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from shedder.setting_records import FlagReceipt, LimitReceipt, LimitState, Setting


def flag_receipt(receipt: FlagReceipt, *, server: str = "") -> Parts:
    """The receipt of a change of flags; `server` is the option that names the server."""
    if not receipt.event:
        names = [flag.name for flag in receipt.flags]
        return [headline(f"{is_are(names)} not degraded: nothing to restore.")]
    degraded = [flag for flag in receipt.flags if flag.percent]
    others = [flag.name for flag in receipt.flags if not flag.percent]
    parts: Parts = []
    for percent in dict.fromkeys(flag.percent for flag in degraded):
        named = [flag for flag in degraded if flag.percent == percent]
        until = _until(named[0].setting, receipt.at)
        share = "" if percent == 100 else f" for {percent:g} %"
        words = f"{is_are([flag.name for flag in named])} degraded{share}{until}."
        parts.append(headline(words, style="bold yellow"))
    if others:
        parts.append(headline(f"{is_are(others)} on again.", style="bold green"))
    parts += [
        plain(f"{escaped(flag.name)}: {escaped(flag.description)}")
        for flag in degraded
        if flag.description
    ]
    parts += _unseen([flag.name for flag in receipt.flags if not flag.is_declared], "flag")
    parts += _replaced(receipt.replaced, receipt.at)
    if receipt.restored:
        parts.append(plain(f"{jobs_do(receipt.restored, 'are', 'is')} back in the queue."))
    return [*parts, *commands_part(*_ways_on(receipt, [flag.name for flag in degraded], server))]


def limit_receipt(receipt: LimitReceipt, *, server: str = "") -> Parts:
    """The receipt of a change of a limit."""
    names = [_named(limit) for limit in receipt.limits]
    if not receipt.event:
        return [headline(f"{is_are(names)} not set: nothing to clear.")]
    parts: Parts = [headline(_limited(limit, receipt.at), style="bold") for limit in receipt.limits]
    parts += _unseen([limit.name for limit in receipt.limits if not limit.is_declared], "limit")
    parts += _replaced(receipt.replaced, receipt.at)
    commands = [
        ("clear", command("limit clear", limit.name, options=_key(limit), server=server))
        for limit in receipt.limits
        if limit.setting
    ]
    undo = ("undo", command("undo", receipt.event, server=server))
    return [*parts, *commands_part(*commands, undo)]


def said_of(setting: Setting) -> str:
    """What a setting says, such as `100/minute` or `50 %`."""
    percent = setting.body.get("percent")
    if isinstance(percent, int | float):
        return f"{percent:g} %"
    shadow = ", shadow" if setting.body.get("shadow") else ""
    return escaped(f"{setting.body.get('rate', '?')}{shadow}")


def _ways_on(receipt: FlagReceipt, degraded: Sequence[str], server: str) -> list[tuple[str, str]]:
    undo = ("undo", command("undo", receipt.event, server=server))
    if not degraded:
        return [undo]
    return [("restore", command("flag restore", *degraded, server=server)), undo]


def _limited(limit: LimitState, now: datetime) -> str:
    if limit.setting:
        shadow = " in shadow mode: it refuses nothing" if limit.is_shadow else ""
        return f"{_named(limit)} is limited to {limit.rate}{_until(limit.setting, now)}{shadow}."
    if limit.rate is None:
        return f"{_named(limit)} is off again."
    return f"{_named(limit)} is limited to {limit.rate}, as without this setting."


def _named(limit: LimitState) -> str:
    return escaped(f"{limit.name} for {limit.key}" if limit.key else limit.name)


def _key(limit: LimitState) -> list[str]:
    return ["--key", limit.key] if limit.key else []


def _until(setting: Setting | None, now: datetime) -> str:
    if setting is None or setting.until is None:
        return ""
    return f" until {clock(setting.until, now)} ({age(now, setting.until)})"


def _unseen(names: Sequence[str], what: str) -> Parts:
    if not names:
        return []
    whose = f"this {what}" if len(names) == 1 else f"these {counted(len(names), what)}"
    return [plain(f"No process that declares {whose} has been seen: {listed(names)}.")]


def _replaced(settings: Sequence[Setting], now: datetime) -> Parts:
    lines = [
        f"This takes the place of {said_of(each)} since {clock(each.since, now)} "
        f"({age(each.since, now)}) by {escaped(each.by)}: {escaped(each.why)}"
        for each in settings
    ]
    return [plain(line) for line in dict.fromkeys(lines)]
