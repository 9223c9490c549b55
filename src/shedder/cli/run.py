"""What does one call of the program know, and what must its last line say?"""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shedder import Shedder
    from shedder.cli.screen import Screen

NOTHING_CHANGED = "nothing was changed"


@dataclass(slots=True)
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
    _screen: Screen | None = field(default=None, repr=False)
    _shedder: Shedder | None = field(default=None, repr=False)

    @property
    def screen(self) -> Screen:
        """Where results and remarks go."""
        if self._screen is None:
            from shedder.cli.screen import Screen

            self._screen = Screen(is_json=self.is_json)
        return self._screen

    @property
    def server_option(self) -> str:
        """What a command to be copied must say of the server: as this one, without a password."""
        if self.url:
            is_secret = "@" in self.url or "password" in self.url
            return "-u URL" if is_secret else f"-u {shlex.quote(self.url)}"
        return f"-c {shlex.quote(self.config)}" if self.config else ""

    @property
    def shedder(self) -> Shedder:
        """The facade, connected to a server that has answered.

        Raises:
            RedisUnreachable: no answer from the server.
            InvalidInput: the address or the settings module is not usable.
        """
        if self._shedder is None:
            self._shedder = self._connected()
        return self._shedder

    def emit(self, schema: str, record: Any, *, is_line: bool = False, **more: Any) -> None:
        """Print `record` and `more` as one JSON object; with `is_line` one line of many."""
        from shedder.cli.asjson import document

        self.screen.emit(document(schema, record, **more), is_line=is_line)

    def remind(self) -> None:
        """Say what a person should think of, once all is done."""
        for each in self.reminders:
            self.screen.remark(each)

    def _connected(self) -> Shedder:
        from shedder.cli.connect import greet, server_for, url_for

        if self.config and not self.url and url_for(url=None):
            self.screen.warn("--config is not used, because the environment names a URL")
        server = server_for(url=self.url, config=self.config)
        self.address = server.address
        greet(server)
        # After the greeting: these take half a second, which a dead server should not cost.
        from shedder import Shedder
        from shedder.cli.logs import send_logs_to_stderr

        send_logs_to_stderr(is_verbose=self.is_verbose, log_format=self.log_format)
        return Shedder(server.client)
