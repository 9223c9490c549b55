"""One call of the program: its server, its screen, its state, and the sentence of a failure."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import click

from shedder.cli import output
from shedder.errors import EventNotFound, RedisUnreachable, ServerBusy, ShedderError

if TYPE_CHECKING:
    from shedder import Shedder


NOTHING_CHANGED = "nothing was changed"
View = Iterable[output.Text | output.Table]


@dataclass
class Run:
    """One call of the program, filled in as its command line is read.

    Attributes:
        url: The server that was named with `--url`.
        config: The settings module that was named with `--config`.
        is_json: One JSON object is wanted on standard output.
        is_verbose: Log records of all levels are wanted.
        is_debug: Tracebacks are wanted.
        log_format: How log records are written, `text` or `json`.
        address: Where Redis is, without credentials; empty before the first contact.
        state: What holds if the program ends now, for the line that says so.
        reminders: Lines for standard error, once what was asked for is done.
        ends: What to call when the call is over.
    """

    url: str | None = None
    config: str | None = None
    is_json: bool = False
    is_verbose: bool = False
    is_debug: bool = False
    log_format: str = "text"
    address: str = ""
    state: str = NOTHING_CHANGED
    reminders: list[str] = field(default_factory=list)
    ends: list[Callable[[], None]] = field(default_factory=list)

    @cached_property
    def screen(self) -> output.Screen:
        """Where results and remarks go."""
        return output.Screen(is_json=self.is_json)

    @property
    def server_option(self) -> str:
        """What a command to be copied must say of the server: as this one, without a password."""
        if self.url:
            is_secret = "@" in self.url or "password" in self.url
            return "-u URL" if is_secret else f"-u {shlex.quote(self.url)}"
        return f"-c {shlex.quote(self.config)}" if self.config else ""

    @cached_property
    def shedder(self) -> Shedder:
        """The facade, connected to a server that has answered.

        Raises:
            RedisUnreachable: no answer from the server.
            InvalidInput: the address or the settings module is not usable.
        """
        from shedder.cli import connect, logs

        if self.config and not self.url and connect.url_for(url=None):
            self.screen.warn("--config is not used, because the environment names a URL")
        server = connect.server_for(url=self.url, config=self.config)
        self.address = server.address
        self.ends.append(server.client.close)
        logs.send_logs_to_stderr(is_verbose=self.is_verbose, log_format=self.log_format)
        return connect.connect(server)

    def unsure(self, what: str, verb: str, *words: str, options: Sequence[str] = ()) -> None:
        """From here on, if the program ends, the command of `verb` says `what` holds."""
        check = output.command(verb, *words, options=options, server=self.server_option)
        self.state = f"it is not known {what}; check with: {check}"

    def tell(self, schema: str, record: Any, view: View | Callable[..., View], **more: Any) -> None:
        """Print `record` and `more` as one JSON object; for a person `view`, or what it makes."""
        if self.is_json:
            self.emit(schema, record, **more)
        else:
            self.screen.show(*(view(record, server=self.server_option) if callable(view) else view))

    def emit(self, schema: str, record: Any, *, is_line: bool = False, **more: Any) -> None:
        """Print `record` and `more` as one JSON object; with `is_line` one line of many."""
        self.screen.emit(output.document(schema, record, **more), is_line=is_line)

    def close(self) -> None:
        """Leave the server: whoever calls the program in a process that goes on keeps no connection."""
        while self.ends:
            self.ends.pop()()

    def remind(self) -> None:
        """Say what a person should think of, once all is done."""
        for each in self.reminders:
            self.screen.remark(each)


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


def failure_sentence(error: BaseException, run: Run) -> str:
    """One line that says what went wrong and what to do next."""
    if is_interrupt(error):
        return f"stopped; {run.state}"
    if isinstance(error, RedisUnreachable):
        return output.one_line(_unreachable(error, run))
    if isinstance(error, EventNotFound):
        return output.one_line(f"{error}: shedder events")
    if isinstance(error, ShedderError):
        # An answer of "no" comes before anything is changed.
        return output.one_line(f"{error}{_what_holds(run) if error.exit_code == FAILED else ''}")
    if isinstance(error, click.ClickException):
        return output.one_line(_refused(error))
    said = f"{type(error).__name__}: {error}{_what_holds(run)}"
    return output.one_line(f"{said} (unexpected; the option --debug shows where)")


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
