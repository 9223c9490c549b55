"""Verbs, groups of verbs, the options that they share, and the defaults of the policy."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from shedder.cli.completion import complete_targets
from shedder.cli.output import escaped
from shedder.cli.run import USAGE, Run
from shedder.errors import InvalidInput, RecordUnreadable
from shedder.events import is_shared_account
from shedder.lanes import lanes_of_target
from shedder.units import parse_duration

if TYPE_CHECKING:
    from shedder.policy.model import Defaults


Decorated = TypeVar("Decorated", bound=Callable[..., Any])
Body = Callable[..., int]

EVER = timedelta.max
"""Until somebody ends it, whatever the policy's default is."""

EVENTS_LOOKED_AT = 50
ANOTHER_COMMAND = timedelta(seconds=20)
"""What an account did this long ago was another command, after which was said how to say who acts."""

SAID_EVERY = timedelta(hours=1)

HELP_SETTINGS: dict[str, Any] = {"max_content_width": 88, "help_option_names": ["-h", "--help"]}


@dataclass(frozen=True, slots=True)
class Request:
    """What a command that changes something was told.

    Attributes:
        names: The queues or lanes that were named; once it is settled, those that are meant.
        is_all: All queues are meant.
        by: Who acts; None when nothing was said.
        reason: Why; None when nothing was said.
        is_forced: Even if somebody else has just changed it.
    """

    names: tuple[str, ...] = ()
    is_all: bool = False
    by: str | None = None
    reason: str | None = None
    is_forced: bool = False

    @property
    def cause(self) -> dict[str, Any]:
        """`reason` and `by`, as every method of `Shedder` that changes something takes them."""
        return {"reason": self.reason or "", "by": self.by}


@dataclass(frozen=True, slots=True)
class Wait:
    """A value of an option that may stand alone, such as `--wait` or `--wait 5m`.

    Attributes:
        limit: The duration; None when the option stood alone.
    """

    limit: timedelta | None = None


class MaybeDuration(click.Option):
    """An option that takes the next word as its value only when that begins with a digit."""


class _WithExamples(click.Command):
    """A command whose help ends with examples.

    Attributes:
        examples: Command lines that its help shows.
    """

    examples: Sequence[str] = ()

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples as they are, which click would fill into paragraphs."""
        if self.examples:
            with formatter.section("Examples"):
                for line in self.examples:
                    formatter.write(f"{'':>{formatter.current_indent}}{line}\n")
        super().format_epilog(ctx, formatter)


class VerbCommand(_WithExamples):
    """A verb; its function returns the exit code."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the words of the command line."""
        names = {name for each in self.params if isinstance(each, MaybeDuration) for name in each.opts}
        return super().parse_args(ctx, list(_with_values(args, names)))


def verb(name: str, *, examples: Sequence[str], short: str = "") -> Callable[[Body], VerbCommand]:
    """Make a verb of a function that returns the exit code; `short` is its line in the list."""

    def decorate(body: Body) -> VerbCommand:
        made = click.command(name, cls=VerbCommand, short_help=short, context_settings=HELP_SETTINGS)
        finished = made(click.pass_obj(body))
        finished.params += connection_options()
        finished.examples = examples
        return finished

    return decorate


def connection_options() -> list[click.Parameter]:
    """`--url`, `--config`, `--json`, `--verbose` and so on, which the `Run` remembers."""
    return [
        _remembered("-u", "--url", metavar="URL", help="Redis, as redis://host:port/db."),
        _remembered("-c", "--config", metavar="MODULE", help="RQ settings module."),
        _remembered("--json", "is_json", help="Print JSON: one object, or one a line if it goes on."),
        _remembered("-v", "--verbose", "is_verbose", help="Show log records."),
        _remembered("--debug", "is_debug", help="Show tracebacks."),
        log_format_option(),
    ]


def log_format_option() -> click.Option:
    """`--logs`, or the variable that says the same for all; `--log-format` is RQ's own."""
    formats = click.Choice(["text", "json"])
    text = "Log records as text or json."
    return _remembered("--logs", "log_format", metavar="FORMAT", type=formats, envvar="SHEDDER_LOGS", help=text)


def targets_argument(decorated: Decorated) -> Decorated:
    """Queues and lanes, checked before anything is touched."""
    return click.argument(
        "names", nargs=-1, metavar="[QUEUE|LANE]...", shell_complete=complete_targets, callback=_checked_targets
    )(decorated)


def cause_options(body: Callable[..., int]) -> Body:
    """Who and why; the body gets them as `request`, with `names` and `is_all` where it has them."""
    return _reason_option("Reason; asked for on a terminal if omitted.")(person_option(body))


def cause_options_or(reason: str) -> Callable[[Callable[..., int]], Body]:
    """Who and why, which is `reason` when nothing is said and nobody is asked for."""
    said = f"default: {reason}" if reason else "optional"

    def decorate(body: Callable[..., int]) -> Body:
        return _reason_option(f"Reason; {said}.", default=reason or None)(person_option(body))

    return decorate


def _reason_option(text: str, **settings: Any) -> Callable[[Body], Body]:
    return click.option("-r", "--reason", metavar="TEXT", callback=_text, help=text, **settings)


def person_option(body: Callable[..., int]) -> Body:
    """Who; the body gets it in `request`."""

    @click.option("--by", metavar="NAME", callback=_text, help="Who does it; SHEDDER_BY or user@host if omitted.")
    @functools.wraps(body)
    def gather(*args: Any, **options: Any) -> int:
        said = {each.name: options.pop(each.name) for each in fields(Request) if each.name in options}
        request = Request(**said)
        code = body(*args, request=request, **options)
        if code == 0:
            _remind_of_account(args[0], request)
        return code

    return gather


def several_use(account: str) -> str:
    """That an account is nobody, and how to say who one is."""
    return f"several people use {escaped(account)}; say once who you are: export SHEDDER_BY=ana@desk (or --by)"


def _remind_of_account(run: Run, request: Request) -> None:
    """Say at a terminal, once an hour, how to say who acts, if the account does not tell."""
    if "shedder" not in vars(run) or run.reminders or sys.stdin is None or not sys.stdin.isatty():
        return
    by = request.by or run.shedder.by
    if is_shared_account(by):
        own = [each.at for each in run.shedder.events(limit=EVENTS_LOOKED_AT) if each.by == by]
        if not any(ANOTHER_COMMAND < own[-1] - each < SAID_EVERY for each in own):
            run.reminders.append(several_use(by))


def change_options(body: Callable[..., int]) -> Body:
    """What every verb needs that changes queues; the body gets it as `request`."""
    return change_options_with(force_option())(body)


def change_options_with(force: Callable[[Body], Body]) -> Callable[[Callable[..., int]], Body]:
    """`change_options`, with a `--force` that does more than usual."""
    every = click.option("-a", "--all", "is_all", is_flag=True, help="All queues.")
    return lambda body: targets_argument(every(force(cause_options(body))))


def force_option(what: str = "") -> Callable[[Decorated], Decorated]:
    """Even if somebody else has just changed it, and `what`; the body gets it in `request`."""
    also = f"{what}; in an incident also go on" if what else "In an incident: go on even"
    text = f"{also} if somebody else changed it in the last two minutes."
    return click.option("--force", "is_forced", is_flag=True, help=text)


def duration_option(*names: str, **settings: Any) -> Callable[[Decorated], Decorated]:
    """An option whose value is a duration."""
    settings.setdefault("metavar", "DURATION")
    return click.option(*names, callback=_duration, **settings)


def expiry_option(decorated: Decorated) -> Decorated:
    """`--for`: when something expires; see `shedder.cli.options`."""
    text = "End after this time, such as 30m; `ever` for no end. The policy's default if absent."
    return click.option("--for", "expires_in", metavar="DURATION", callback=_expiry, help=text)(decorated)


LOOPBACK = "127.0.0.1"


def listen_option(port: int, what: str) -> Callable[[Decorated], Decorated]:
    """`--listen`: where `what` is served; the body gets it as `address`, a host and a port."""
    return click.option(
        "--listen", "address", metavar="[HOST:]PORT", default=f"{LOOPBACK}:{port}", show_default=True,
        callback=_host_and_port, help=f"Where to serve {what}.",
    )  # fmt: skip


def number_option(most: int) -> Callable[[Decorated], Decorated]:
    """How many rows are shown; the body gets it as `limit`."""
    number = click.IntRange(1, most)
    return click.option("-n", "--number", "limit", type=number, default=20, show_default=True, help="How many at most.")


def maybe_duration_option(*names: str, **settings: Any) -> Callable[[Decorated], Decorated]:
    """An option that becomes a `Wait`, or None when it is not there."""
    settings.setdefault("metavar", "[DURATION]")
    return click.option(*names, cls=MaybeDuration, callback=_wait, **settings)


def _remembered(*names: str, **settings: Any) -> click.Option:
    settings.setdefault("is_flag", "metavar" not in settings)
    return click.Option(names, expose_value=False, is_eager=True, default=None, callback=_remember, **settings)


def _remember(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    # What stands behind the verb is read later, and wins over what stands before it.
    run = context.find_object(Run)
    if run is not None and value and parameter.name is not None:
        setattr(run, parameter.name, value)


def _checked_targets(_context: click.Context, _parameter: click.Parameter, names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        _check_text("queue", name)
        lanes_of_target(name)
    return tuple(dict.fromkeys(names))


def _text(_context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    if value is None:
        return None
    name = f"--{parameter.name}"
    _check_text(name, value)
    if not value.strip():
        raise InvalidInput(name=name, value=value, accepted="a text that is not empty")
    return value.strip()


def _check_text(name: str, value: str) -> None:
    # Bytes of the command line that are no UTF-8 come as half characters, which Redis cannot store.
    if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
        raise InvalidInput(name=name, value=value, accepted="text in UTF-8")


def _host_and_port(_context: click.Context, parameter: click.Parameter, value: str) -> tuple[str, int]:
    host, _, port = value.rpartition(":")
    if not port.isdecimal() or int(port) > 65535:
        raise click.BadParameter(f"say HOST:PORT, such as {parameter.default}", param_hint="--listen")
    return host.strip("[]") or LOOPBACK, int(port)


def _duration(_context: click.Context, parameter: click.Parameter, value: str | None) -> timedelta | None:
    return None if value is None else parse_duration(value, name=parameter.opts[-1])


def _expiry(context: click.Context, parameter: click.Parameter, value: str | None) -> timedelta | None:
    return EVER if value == "ever" else _duration(context, parameter, value)


def _wait(context: click.Context, parameter: click.Parameter, value: str | None) -> Wait | None:
    return None if value is None else Wait(_duration(context, parameter, value or None))


def _with_values(words: list[str], names: set[str]) -> Iterator[str]:
    """The words, `--wait 5m` as `--wait=5m` and a `--wait` that stands alone as `--wait=`."""
    rest = iter(words)
    held = ""
    for word in rest:
        if held:
            takes = word[:1].isdigit()
            yield f"{held}={word if takes else ''}"
            held = ""
            if takes:
                continue
        if word == "--":
            yield word
            yield from rest
        elif word in names:
            held = word
        else:
            yield word
    if held:
        yield f"{held}="


class VerbGroup(_WithExamples, click.Group):
    """Verbs under one name."""

    def list_commands(self, _context: click.Context) -> list[str]:
        """The verbs in the order in which they are needed."""
        return list(self.commands)


@click.pass_context
def show_help(context: click.Context) -> int:
    """Without a verb its help is what a person needs, and a script learns that nothing was done."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())
    return USAGE


def verb_group(
    name: str, *verbs: VerbCommand | VerbGroup, text: str, examples: Sequence[str], short: str = ""
) -> VerbGroup:
    """`verbs` under one name; `short` is its line in the list, `text` its help."""
    group = VerbGroup(
        name, help=text, short_help=short, params=connection_options(), callback=show_help,
        invoke_without_command=True, context_settings=HELP_SETTINGS,
    )  # fmt: skip
    group.examples = examples
    for each in verbs:
        group.add_command(each)
    return group


def expiry(run: Run, said: timedelta | None, *, of: str) -> timedelta | None:
    """When something expires: as `--for` says, else as the policy does; None for never.

    `of` is `pause`, `limit` or `flag`.
    """
    if said is not None:
        return None if said == EVER else said
    return cast("timedelta | None", getattr(defaults_in_force(run), f"{of}_for"))


def defaults_in_force(run: Run) -> Defaults:
    """The defaults of the policy in force; one that cannot be read must not stop a command."""
    from shedder.policy.model import Defaults

    try:
        return run.shedder.policies.applied().policy.defaults
    except RecordUnreadable as error:
        run.screen.warn(f"{error}; its defaults do not hold")
        return Defaults()
