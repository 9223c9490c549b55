"""One call of the program: its server, its screen, its state, and the sentence of a failure."""

from __future__ import annotations

import os
import re
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

_HARMLESS_URL = re.compile(r"(rediss?://[\w.:\[\]-]+(/\d*)?|unix:///[^?#@]*)(\?db=\d+)?")
"""A URL that has nothing but where and which database."""

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
        secrets: The passwords for Redis and its sentinels, which no output holds.
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
    secrets: frozenset[str] = frozenset()

    @cached_property
    def screen(self) -> output.Screen:
        """Where results and remarks go."""
        return output.Screen(is_json=self.is_json)

    @property
    def server_option(self) -> str:
        """What a command to be copied must say of the server: as this one, without a password."""
        if self.url:
            return f"-u {shlex.quote(self.url)}" if _HARMLESS_URL.fullmatch(self.url) else "-u URL"
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
        self.address, self.secrets = server.address, connect.secrets_of(server.client)
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
    if isinstance(error, FileNotFoundError) and not _has_working_directory():
        return output.one_line(f"the working directory was deleted; change to another one (cd){_what_holds(run)}")
    said = f"{type(error).__name__}: {error}{_what_holds(run)}"
    return output.one_line(f"{said} (unexpected; the option --debug shows where)")


def without_secrets(text: str, run: Run) -> str:
    """`text` without the passwords of this call's server, and without what stands in a URL before an `@`."""
    for secret in run.secrets:
        # behind its name only: where a word of ours is left out it would be told what the password is
        forms = "|".join(map(re.escape, (repr(secret), secret)))
        text = re.sub(rf"(password['\"]?[=:] ?)(?:{forms})", r"\1***", text)
    return _CREDENTIALS.sub(r"\1***@", text)


_CREDENTIALS = re.compile(r"\b((?:rediss?|unix)://)(?!/)[^\s'\"]*@")


def _has_working_directory() -> bool:
    try:
        os.getcwd()  # noqa: PTH109 - Path.cwd() is the same call
    except FileNotFoundError:
        return False
    return True


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
    why, advice = _why(error.__cause__)
    said = f"Redis at {run.address or error.address} cannot be reached{f' ({why})' if why else ''}"
    return f"{said}; {advice if run.state == NOTHING_CHANGED else run.state}"


_START_IT = "start it, or name another with -u URL or SHEDDER_REDIS_URL"

_REASONS = {
    "hostname mismatch": ("its certificate is for another name", "name its host as its certificate does"),
    "ip address mismatch": ("its certificate is for another address", "name its host as its certificate does"),
    "certificate has expired": ("its certificate has expired", "renew it"),
    "not yet valid": ("its certificate is not valid yet", "compare the clocks of both machines"),
    "certificate verify failed": (
        "its certificate is not trusted",
        "name the file of its CA: rediss://host:6379/0?ssl_ca_certs=/path/ca.pem, or REDIS_SSL_CA_CERTS in settings",
    ),
    "no certificate or crl found": ("the file of its CA holds no certificate", "correct ssl_ca_certs"),
    "certificate required": (
        "it wants a certificate of ours",
        "name the files: rediss://host:6379/0?ssl_certfile=/path/cert.pem&ssl_keyfile=/path/key.pem",
    ),
    "wrong version number": ("it speaks no TLS there", "use redis:// or the port on which it does"),
    "record layer failure": ("it speaks no TLS there", "use redis:// or the port on which it does"),
    "[ssl": ("TLS fails there", "compare versions, certificates and keys of both ends"),
    "over tls": ("it does not answer", "start it, or use redis:// if it speaks no TLS there"),
    "reset by peer": ("it hangs up", "use rediss:// if it speaks TLS there, else look at its log"),
    "closed by server": ("it hangs up", "use rediss:// if it speaks TLS there, else look at its log"),
    "timeout": ("it does not answer", _START_IT),
    "timed out": ("it does not answer", _START_IT),
    "refused": ("nothing listens there", _START_IT),
    "no such file": ("there is no such socket", _START_IT),
    "name or service": ("no such host", _START_IT),
    "name resolution": ("no such host", _START_IT),
    "label": ("no such host", _START_IT),
    "loading": ("it is still loading its data", "wait until it has"),
    "max number of clients": ("it has no connection left", "raise its maxclients, or end clients"),
    "no master found": ("no sentinel knows the master", _START_IT),
}
"""By a sign in the text of redis-py's error: why, and what to do about it."""


def _why(cause: BaseException | None) -> tuple[str, str]:
    text = f"{type(cause).__name__} {cause}".lower()
    return next((said for sign, said in _REASONS.items() if sign in text), ("", _START_IT))


def _what_holds(run: Run) -> str:
    return "" if run.state == NOTHING_CHANGED else f"; {run.state}"


def _refused(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    if isinstance(error, Refused) or context is None:
        return error.format_message()
    return f"{error.format_message()} See {context.command_path} --help"
