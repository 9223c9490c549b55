"""The control room of the demo: `shedder web` on the demo's server, with a login."""

from __future__ import annotations

import os
import re
import runpy
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from shedder.cli.web import TOKEN_VARIABLE
from shedder.demo.fleet import environment
from shedder.demo.jobs import DemoFailed
from shedder.errors import ShedderError

if TYPE_CHECKING:
    from shedder.demo.stage import Stage
    from shedder.demo.terminal import Teller

NEEDED = ("jinja2", "sse_starlette", "starlette", "uvicorn")

_WORDS = ("web", "--listen", "127.0.0.1:0", "--allow-actions", "--name", "demo", "--colour", "blue")
_URL = re.compile(r"http://127\.0\.0\.1:\d+/")
_START_SECONDS = 600.0
_END_SECONDS = 10.0
_GLANCE_SECONDS = 0.05


def check_that_pages_can_be_made() -> None:
    """Nothing, where all that the pages need is installed.

    Raises:
        ShedderError: something is not; the message says how to install it.
    """
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise ShedderError(f"--web needs {', '.join(missing)}: pip install 'shedder[web]'")


@contextmanager
def control_room(stage: Stage) -> Iterator[str]:
    """The URL of the pages of the demo's server, which are served meanwhile; says it, and how to log in.

    Raises:
        DemoFailed: they could not be served.
        KeyboardInterrupt: the demo is to end.
    """
    token, said = secrets.token_urlsafe(18), stage.folder / "web"
    with said.open("wb") as output:
        # A session of its own keeps the terminal's Ctrl-C away: the demo ends it.
        process = subprocess.Popen(
            [sys.executable, "-m", "shedder.demo.room", *_WORDS], stdin=subprocess.PIPE, stdout=output,
            stderr=output, env=environment(stage.server.url) | {TOKEN_VARIABLE: token}, start_new_session=True,
        )  # fmt: skip
    try:
        url = _url(stage, process, said)
        _tell(stage.teller, url, token)
        yield url
    finally:
        _end(process)


def _url(stage: Stage, process: subprocess.Popen[bytes], said: Path) -> str:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        text = said.read_text(errors="replace")
        if found := _URL.search(text):
            return found[0]
        stage.check()
        if process.poll() is not None:
            raise DemoFailed(f"the control room has ended: {text.strip() or 'it said nothing'}")
        time.sleep(_GLANCE_SECONDS)
    raise DemoFailed(f"the control room was not open after {_START_SECONDS:g} s")


def _tell(teller: Teller, url: str, token: str) -> None:
    teller.say("The control room is open on it. Log in with any name of your own and this token, and act as you like:")
    teller.quote(f"{url}\n{token}")
    teller.say("It ends with the demo; with --keep it stays open until Ctrl-C.")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the pages: at once where they do not end soon."""
    try:
        process.communicate(timeout=_END_SECONDS)  # closes their lifeline
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()


def be_control_room() -> None:
    """Be `shedder web` until standard input, the demo's lifeline, ends."""
    threading.Thread(target=_end_with_the_demo, daemon=True).start()
    sys.argv = ["shedder", *sys.argv[1:]]
    runpy.run_module("shedder", run_name="__main__", alter_sys=True)


def _end_with_the_demo() -> None:
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    be_control_room()
