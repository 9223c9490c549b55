"""`shedder top`: the control room in a terminal."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

from shedder.cli.options import Request, person_option, verb
from shedder.cli.run import Refused, Run
from shedder.errors import ShedderError
from shedder.later import later

if TYPE_CHECKING:
    from shedder.cli import logs
    from shedder.cli.top_screens import Top
else:
    globals().update(later((("shedder.cli", "logs"), ("shedder.cli.top_screens", "Top"))))

_EXAMPLES = ("shedder top", "SHEDDER_BY=ana@desk shedder top", "NO_COLOR=1 shedder top -u redis://localhost:6379/0")


@verb("top", examples=_EXAMPLES)
@person_option
def top(run: Run, *, request: Request) -> int:
    """Show the control room in this terminal, and act on it.

    Lanes in trouble come first. Keys pause, resume, divert, drain and undo what is chosen: each shows
    what it would do, asks why, and acts only when it is confirmed. ? lists the keys, q quits.

    While Redis is away it says so, since when, and goes on. It is made for 80 by 24 and more.
    """
    if run.is_json:
        raise Refused("top is for people; leave --json out, and see status --json --watch")
    if not all(map(_is_terminal, (sys.stdin, sys.stdout, sys.stderr))):  # Textual writes to the last one
        raise Refused("top needs a terminal; without one, see: shedder status --watch")
    shedder = run.shedder  # a server that is away from the beginning is not waited for
    try:
        screen = Top(shedder, by=request.by or shedder.by, address=run.address, server=run.server_option)
    except ImportError as error:
        raise ShedderError(f"{error}; the screen needs: pip install 'shedder[top]'") from error
    for name in logs.LOGGERS:  # a log record would stand across the screen
        logging.getLogger(name).handlers[:] = [logging.NullHandler()]
    run.state = "what was confirmed stands"
    screen.run()
    if screen.failure is not None:
        raise screen.failure
    if screen.is_interrupted:
        raise KeyboardInterrupt
    return 0


def _is_terminal(stream: object) -> bool:
    ask = getattr(stream, "isatty", None)
    return bool(ask and ask())
