"""What does the program say when it could not do something, and what does it exit with?"""

from __future__ import annotations

import click

from shedder.cli.run import NOTHING_CHANGED, Run
from shedder.cli.text import one_line
from shedder.errors import EventNotFound, RedisUnreachable, ServerBusy, ShedderError

FAILED = 1
USAGE = 2
INTERRUPTED = 130


class Refused(click.UsageError):
    """The command line does not say what is needed; the message is one line."""


def code_of(error: BaseException) -> int:
    """The exit code that `error` earns: 1 failed, 2 usage, 3 no, 4 unreachable, 130 Ctrl-C."""
    if isinstance(error, ShedderError | click.ClickException):
        return error.exit_code
    # click hides what was raised behind an Abort, 8.1 as its context only; a signal brings the code
    # that a shell makes of it
    cause = error.__cause__ or error.__context__ or error
    return getattr(cause, "exit_code", INTERRUPTED) if is_interrupt(error) else FAILED


def sentence_of(error: BaseException, run: Run) -> str:
    """One line that says what went wrong and what to do next."""
    if is_interrupt(error):
        return f"stopped; {run.state}"
    if isinstance(error, RedisUnreachable):
        return one_line(_unreachable(error, run))
    if isinstance(error, EventNotFound):
        return one_line(f"{error}: shedder events")
    if isinstance(error, ShedderError):
        # An answer of "no" comes before anything is changed.
        return one_line(f"{error}{_what_holds(run) if error.exit_code == FAILED else ''}")
    if isinstance(error, click.ClickException):
        return one_line(_refused(error))
    said = f"{type(error).__name__}: {error}{_what_holds(run)}"
    return one_line(f"{said} (unexpected; the option --debug shows where)")


def trouble(error: RedisUnreachable, run: Run) -> str:
    """What a view that goes on says meanwhile of a Redis that does not serve it."""
    address = run.address or error.address
    if isinstance(error, ServerBusy):
        return f"somebody's script keeps Redis at {address} busy"
    return f"Redis at {address} cannot be reached"


def is_interrupt(error: BaseException) -> bool:
    """Whether a person has pressed Ctrl-C, or ended the input that a question waited for."""
    return isinstance(error, KeyboardInterrupt | EOFError | click.Abort)


def _unreachable(error: RedisUnreachable, run: Run) -> str:
    """Names the server as this call does: behind sentinels the client itself does not know."""
    if isinstance(error, ServerBusy):
        busy = ServerBusy(run.address or error.address, ends_with=error.ends_with)
        return f"{busy}{_what_holds(run)}"
    why = _why(error.__cause__)
    said = f"Redis at {run.address or error.address} cannot be reached{f' ({why})' if why else ''}"
    if run.state != NOTHING_CHANGED:
        return f"{said}; {run.state}"
    return f"{said}; start it, or name another with -u URL or SHEDDER_REDIS_URL"


def _why(cause: BaseException | None) -> str:
    text = f"{type(cause).__name__} {cause}".lower()
    reasons = {
        "timeout": "it does not answer",
        "timed out": "it does not answer",
        "refused": "nothing listens there",
        "no such file": "there is no such socket",
        "name or service": "no such host",
        "name resolution": "no such host",
        "loading": "it is still loading its data",
        "max number of clients": "it has no connection left",
        "no master found": "no sentinel knows the master",
    }
    return next((reason for sign, reason in reasons.items() if sign in text), "")


def _what_holds(run: Run) -> str:
    return "" if run.state == NOTHING_CHANGED else f"; {run.state}"


def _refused(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    if isinstance(error, Refused) or context is None:
        return error.format_message()
    return f"{error.format_message()} See {context.command_path} --help"
