"""`shedder flag | limit`: their verbs, receipts and tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import click

from shedder.cli import asking, output
from shedder.cli.completion import complete_flags, complete_groups, complete_limits
from shedder.cli.options import Request, cause_options, expiry, expiry_option, force_option, verb, verb_group
from shedder.cli.run import Refused, Run
from shedder.cli.starts import LIFT_EXAMPLES, STARTS_EXAMPLES, lift, limit_starts, rate_asked
from shedder.units import Rate
from shedder.wording import counted, jobs_do

if TYPE_CHECKING:
    from shedder import FlagReceipt, FlagState, LimitAnswer, LimitReceipt, LimitState, Setting


_DEGRADE = (
    'shedder flag degrade search.hints -r "database at 99 %"',
    'shedder flag degrade search.hints --percent 50 --for 1h -r "half of it"',
    'shedder flag degrade --group non-critical -r "stop the bleeding"',
)

_RESTORE = (
    'shedder flag restore search.hints -r "database is fine"',
    'shedder flag restore --group non-critical -r "incident is over"',
)

_FLAG_LIST = ("shedder flag list", "shedder flag list --json")

_group_option = click.option(
    "-g", "--group", metavar="GROUP", default="", help="All flags of a group.", shell_complete=complete_groups
)


@verb("degrade", examples=_DEGRADE, short="Degrade features, fully or for a share of users.")
@click.argument("flags", metavar="[FLAG]...", nargs=-1, shell_complete=complete_flags)
@_group_option
@click.option("--percent", type=float, metavar="PERCENT", help="The share of users; all if absent.")
@expiry_option
@force_option("Also accept a flag that no process has declared")
@cause_options
def degrade(
    run: Run,
    *,
    request: Request,
    flags: tuple[str, ...],
    group: str,
    percent: float | None,
    expires_in: timedelta | None,
) -> int:
    """Degrade features in every process within a second, without a deployment.

    --percent always picks the same users; raising it adds users. It keeps the end that was
    set before, unless --for sets another.
    """
    what = _chosen(flags, group, "degrade")
    request = _settled(run, request, f"degrade {output.listed(what)}", names=_names(run, flags, group))
    if expires_in is None and percent is not None:
        expires_in = _time_left(run, _names(run, flags, group))
    expires_in = expiry(run, expires_in, of="flag")
    run.unsure(f"whether {output.is_are(what)} changed", "flag list")
    receipt = run.shedder.degrade_flag(
        *flags,
        group=group,
        percent=100.0 if percent is None else percent,
        expires_in=expires_in,
        **request.cause,
        force=request.is_forced,
    )
    return _tell(run, "flag/1", receipt, flag_receipt)


@verb("restore", examples=_RESTORE, short="Restore degraded features.")
@click.argument("flags", metavar="[FLAG]...", nargs=-1, shell_complete=complete_flags)
@_group_option
@force_option()
@cause_options
def restore(run: Run, *, request: Request, flags: tuple[str, ...], group: str) -> int:
    """End the degradation of features, and put back the jobs that waited for them at once.

    To let these jobs start at a pace, give their queue a `shedder drain` first.
    """
    what = _chosen(flags, group, "restore")
    request = _settled(run, request, f"restore {output.listed(what)}", names=_names(run, flags, group))
    run.unsure(f"whether {output.is_are(what)} changed", "flag list")
    return _tell(run, "flag/1", run.shedder.restore_flag(*flags, group=group, **request.cause), flag_receipt)


@verb("list", examples=_FLAG_LIST, short="List all flags, degraded ones first.")
def flag_list(run: Run) -> int:
    """Show all flags that are declared or set: their state, who set it, and what each is for."""
    found = run.shedder.flag_states()
    run.tell("flag-list/1", {"flags": found}, flag_table(found))
    return 0


flag = verb_group(
    "flag", degrade, restore, flag_list,
    text="Degrade and restore features that code declares.",
    examples=(_DEGRADE[0], _RESTORE[0], _FLAG_LIST[0]),
)  # fmt: skip


def _chosen(flags: tuple[str, ...], group: str, verb: str) -> list[str]:
    if not flags and not group:
        raise Refused(f"say what to {verb}: a flag, or --group; `shedder flag list` shows them")
    return [*flags, *([f"the group {group}"] if group else [])]


def _names(run: Run, flags: tuple[str, ...], group: str) -> tuple[str, ...]:
    if not group:
        return flags
    return (*flags, *(each.name for each in run.shedder.flag_states() if each.group == group))


def _time_left(run: Run, names: tuple[str, ...]) -> timedelta | None:
    """How long the degradation of `names` still holds, if all of them end together."""
    standing = [each.setting for each in run.shedder.flag_states() if each.name in names and each.setting]
    ends = {each.until for each in standing}
    end = ends.pop() if len(standing) == len(set(names)) and len(ends) == 1 else None
    left = None if end is None else end - run.shedder.incidents.now()
    return left if left and left > timedelta() else None


def _settled(run: Run, request: Request, change: str, *, names: tuple[str, ...]) -> Request:
    _ = run.shedder  # nobody is asked about a server that is away
    request = asking.settle_reason(request, change)
    asking.warn_of_recent_changes(run, request, names=names)
    return request


def _tell(run: Run, schema: str, receipt: FlagReceipt | LimitReceipt, view: Callable[..., output.Parts]) -> int:
    run.state = "it is done"
    run.tell(schema, receipt, view)
    return 0


_SET = (
    'shedder limit set reports 100/minute -r "database at 99 %"',
    'shedder limit set reports 10/minute --key tenant=acme --for 1h -r "acme floods us"',
    'shedder limit set reports 100/minute --shadow -r "what would it refuse?"',
)

_CLEAR = (
    'shedder limit clear reports -r "database is fine"',
    'shedder limit clear reports --key tenant=acme -r "they stopped"',
)

_LIMIT_LIST = ("shedder limit list", "shedder limit list --json")

_TEST = ("shedder limit test reports", "shedder limit test reports --key tenant=acme")


_key_option = click.option("-k", "--key", default="", metavar="KEY", help="Only this key.")


@verb("set", examples=_SET, short="Set a rate.")
@click.argument("name", metavar="LIMIT", shell_complete=complete_limits)
@click.argument("rate", metavar="RATE", callback=rate_asked)
@_key_option
@expiry_option
@click.option("--shadow", is_flag=True, help="Count what it would refuse; refuse nothing.")
@force_option("Also accept a limit that no process has declared")
@cause_options
def limit_set(
    run: Run, *, request: Request, name: str, rate: Rate, key: str, expires_in: timedelta | None, shadow: bool
) -> int:
    """Set a limit in every process within a second; it overrides the limit in code.

    Hits of the past minute already count towards a rate such as 100/minute.
    """
    request = _settled(run, request, f"set {_named(name, key)} to {rate}", names=(f"{name} {key}".strip(),))
    expires_in = expiry(run, expires_in, of="limit")
    run.unsure(f"whether {_named(name, key)} is changed", "limit list")
    receipt = run.shedder.set_limit(
        name, rate, key=key, expires_in=expires_in, shadow=shadow, **request.cause, force=request.is_forced
    )
    return _tell(run, "limit/1", receipt, limit_receipt)


@verb("clear", examples=_CLEAR, short="Clear an operator's setting.")
@click.argument("name", metavar="LIMIT", shell_complete=complete_limits)
@_key_option
@force_option()
@cause_options
def limit_clear(run: Run, *, request: Request, name: str, key: str) -> int:
    """Clear an operator's setting of a limit: the limit in code holds again."""
    request = _settled(run, request, f"clear {_named(name, key)}", names=(f"{name} {key}".strip(),))
    run.unsure(f"whether {_named(name, key)} is changed", "limit list")
    return _tell(run, "limit/1", run.shedder.clear_limit(name, key=key, **request.cause), limit_receipt)


@verb("list", examples=_LIMIT_LIST, short="List all limits, changed ones first.")
def limit_list(run: Run) -> int:
    """Show all limits that are declared or set: the rate, who set it, hits and refusals."""
    found = run.shedder.limit_states()
    run.tell("limit-list/1", {"limits": found}, limit_table(found))
    return 0


@verb("test", examples=_TEST, short="Test whether a hit would be let through.")
@click.argument("name", metavar="LIMIT", shell_complete=complete_limits)
@_key_option
def test_limit(run: Run, *, name: str, key: str) -> int:
    """Test whether a hit would be let through now; nothing is counted. Exits with 3 if not."""
    answer = run.shedder.test_limit(name, key=key)
    run.tell("limit-test/1", answer, limit_answer)
    return 0 if answer.is_within else 3


limit = verb_group(
    "limit", limit_set, limit_clear, limit_list, test_limit, limit_starts, lift,
    text="Change the rate of a limit that code declares, or at which a queue's jobs start.",
    examples=(_SET[0], _CLEAR[0], STARTS_EXAMPLES[0], LIFT_EXAMPLES[0]),
)  # fmt: skip


def _named(name: str, key: str) -> str:
    return output.escaped(f"{name} for {key}" if key else name)


def flag_receipt(receipt: FlagReceipt, *, server: str = "") -> output.Parts:
    """The receipt of a change of flags; `server` is the option that names the server."""
    if not receipt.event:
        names = [flag.name for flag in receipt.flags]
        return [output.headline(f"{output.is_are(names)} not degraded: nothing to restore.")]
    degraded = [flag for flag in receipt.flags if flag.percent]
    others = [flag.name for flag in receipt.flags if not flag.percent]
    parts: output.Parts = []
    for percent in dict.fromkeys(flag.percent for flag in degraded):
        named = [flag for flag in degraded if flag.percent == percent]
        until = output.until(named[0].setting, receipt.at)
        words = f"{output.is_are([flag.name for flag in named])} degraded{_share(percent)}{until}."
        parts.append(output.headline(words, style="bold yellow"))
    if others:
        parts.append(output.headline(f"{output.is_are(others)} on again.", style="bold green"))
    described = [flag for flag in degraded if flag.description]
    parts += [output.plain(output.escaped(f"{flag.name}: {flag.description}")) for flag in described]
    parts += _unseen([flag.name for flag in receipt.flags if not flag.is_declared], "flag")
    parts += _replaced(receipt.replaced, receipt.at)
    if receipt.restored:
        parts.append(output.plain(f"{jobs_do(receipt.restored, 'are', 'is')} back in the queue."))
    commands = [("undo", output.command("undo", receipt.event, server=server))]
    if degraded:
        names = [flag.name for flag in degraded]
        commands.insert(0, ("restore", output.command("flag restore", *names, server=server)))
    return [*parts, *output.commands_part(*commands)]


def limit_receipt(receipt: LimitReceipt, *, server: str = "") -> output.Parts:
    """The receipt of a change of a limit."""
    names = [_named(limit.name, limit.key) for limit in receipt.limits]
    if not receipt.event:
        return [output.headline(f"{output.is_are(names)} not set: nothing to clear.")]
    parts: output.Parts = [output.headline(_limited(limit, receipt.at), style="bold") for limit in receipt.limits]
    parts += _unseen([limit.name for limit in receipt.limits if not limit.is_declared], "limit")
    parts += _replaced(receipt.replaced, receipt.at)
    commands = []
    for limit in (each for each in receipt.limits if each.setting):
        key = ["--key", limit.key] if limit.key else []
        commands.append(("clear", output.command("limit clear", limit.name, options=key, server=server)))
    return [*parts, *output.commands_part(*commands, ("undo", output.command("undo", receipt.event, server=server)))]


def said_of(setting: Setting) -> str:
    """What a setting says, such as `100/minute` or `50 %`."""
    percent = setting.body.get("percent")
    if isinstance(percent, int | float):
        return f"{percent:g} %"
    shadow = ", shadow" if setting.body.get("shadow") else ""
    return output.escaped(f"{setting.body.get('rate', '?')}{shadow}")


def _limited(limit: LimitState, now: datetime) -> str:
    what = _named(limit.name, limit.key)
    if limit.setting:
        shadow = " in shadow mode: it refuses nothing" if limit.is_shadow else ""
        return f"{what} is limited to {limit.rate}{output.until(limit.setting, now)}{shadow}."
    return (
        f"{what} is off again."
        if limit.rate is None
        else f"{what} is limited to {limit.rate}, as without this setting."
    )


def _unseen(names: Sequence[str], what: str) -> output.Parts:
    if not names:
        return []
    whose = f"this {what}" if len(names) == 1 else f"these {counted(len(names), what)}"
    return [output.plain(f"No process that declares {whose} has been seen: {output.listed(names)}.")]


def _replaced(settings: Sequence[Setting], now: datetime) -> output.Parts:
    return output.plain_once(
        f"This takes the place of {said_of(each)}{output.until(each, now)} {output.why_and_who(each, now)}"
        for each in settings
    )


def flag_table(flags: Sequence[FlagState]) -> output.Parts:
    """All flags, a row for each."""
    if not flags:
        return [output.headline("No flag is declared or set.")]
    made = output.table("flag", "state", "group", "owner", "set by", "what it is")
    for flag in flags:
        style = "bold yellow" if flag.percent else ""
        output.row(made, flag.name, output.Text(_state(flag), style=style), flag.group or "-", flag.owner or "-",
            _who(flag.setting), flag.description or _never_seen(flag.is_declared))  # fmt: skip
    return [made]


def limit_table(limits: Sequence[LimitState]) -> output.Parts:
    """All limits, a row for each."""
    if not limits:
        return [output.headline("No limit is declared or set.")]
    made = output.table("limit", "key", "rate", "default", ">hits", ">refused", "set by", "what it is")
    for limit in limits:
        style = "bold yellow" if limit.setting else ""
        output.row(made, limit.name, limit.key or "-", output.Text(_rate(limit), style=style),
            str(limit.default or "-"), output.number(limit.hits), output.number(limit.refusals),
            _who(limit.setting), limit.description or _never_seen(limit.is_declared))  # fmt: skip
    return [made]


def limit_answer(answer: LimitAnswer, **_: str) -> output.Parts:
    """What a hit would be told."""
    what = _named(answer.name, answer.key)
    if answer.rate is None:
        return [output.headline(f"{what} is off: every hit is let through.")]
    used = f"{output.number(answer.used)} of {answer.rate} used"
    if answer.left:
        return [output.headline(f"{what} lets a hit through: {used}.", style="bold green")]
    again = f"the next in {answer.retry_after:.1f} s"
    if answer.is_shadow:
        return [output.headline(f"{what} would refuse, but is in shadow mode: {used}, {again}.")]
    return [output.headline(f"{what} refuses: {used}, {again}.", style="bold yellow")]


def settings_part(flags: Sequence[FlagState], limits: Sequence[LimitState], now: datetime) -> output.Parts:
    """Degraded features and limits in force, a line for each with who and why."""
    lines = [
        f"feature {output.escaped(flag.name)} degraded{_share(flag.percent)}{_by(flag.setting, now)}" for flag in flags
    ]
    lines += [
        f"limit {_named(limit.name, limit.key)} {_rate(limit)}{_by(limit.setting, now)} "
        f"[{output.number(limit.hits)} let through, {output.number(limit.refusals)} refused]"
        for limit in limits
    ]
    return [output.plain(line) for line in lines]


def _state(flag: FlagState) -> str:
    if not flag.percent:
        return "on"
    return "degraded" if flag.percent == 100 else f"degraded {flag.percent:g} %"


def _share(percent: float) -> str:
    return "" if percent == 100 else f" for {percent:g} %"


def _rate(limit: LimitState) -> str:
    return f"{limit.rate or 'off'}{' (shadow)' if limit.is_shadow else ''}"


def _who(setting: Setting | None) -> str:
    return f"{setting.by}: {setting.why}" if setting else "-"


def _by(setting: Setting | None, now: datetime) -> str:
    if setting is None:
        return " by its default in code"
    until = output.until(setting, now, lead=", ")
    return f" {output.since_by(setting, now)}{until}: {output.escaped(setting.why)}"


def _never_seen(is_declared: bool) -> str:  # noqa: FBT001 - one answer, one word
    return "" if is_declared else "not declared by any process seen"
