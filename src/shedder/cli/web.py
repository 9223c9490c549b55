"""`shedder web`: the control room in a browser."""

from __future__ import annotations

import gc
import ipaddress
import os
import socket
import sys
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from shedder.cli.options import LOOPBACK, listen_option, verb
from shedder.cli.run import Refused, Run
from shedder.errors import ShedderError
from shedder.later import later
from shedder.policy.model import WEB_COLOURS

if TYPE_CHECKING:
    from shedder.cli import connect, logs
    from shedder.web.app import ControlRoom
    from shedder.web.hosts import AsgiApp
    from shedder.web.site import SiteSettings
else:
    globals().update(later((
        ("shedder.cli", "connect logs"),
        ("shedder.web.site", "SiteSettings"),
        ("shedder.web.app", "ControlRoom"),
        ("shedder.web.hosts", "AsgiApp"),
    )))  # fmt: skip

TOKEN_VARIABLE = "SHEDDER_WEB_TOKEN"  # noqa: S105 - the name of a variable
GRACE_SECONDS = 2

GARBAGE_LOOKED_FOR_AT = 50_000
"""New objects, as for all commands."""

TURN_SECONDS = 0.001

_EXAMPLES = (
    "shedder web",
    "shedder web --allow-actions --token-file web-token",
    "shedder web --allow-actions --behind-proxy X-User --trusted 127.0.0.1",
)


@verb("web", examples=_EXAMPLES)
@listen_option(9728, "the pages")
@click.option("--allow-actions", is_flag=True, help="Let people who are logged in pause, divert, undo and so on.")
@click.option("--token-file", metavar="FILE", help="What to log in with: a line `TOKEN`, or `operator TOKEN` and "
              f"`viewer TOKEN`. {TOKEN_VARIABLE} holds one if absent.")  # fmt: skip
@click.option("--behind-proxy", metavar="HEADER", default="", help="A proxy says in this header who is logged in.")
@click.option("--trusted", metavar="ADDRESS", multiple=True, help="From where that header is believed; repeatable.")
@click.option("--operator", "operators", metavar="NAME", multiple=True, help="Who may act; repeatable. Everybody who "
              "is logged in if absent.")  # fmt: skip
@click.option("--name", default="", help="What is run here, such as production; the policy's if absent.")
@click.option("--colour", type=click.Choice(WEB_COLOURS), help="The colour of that name; the policy's if absent.")
def web(run: Run, *, address: tuple[str, int], token_file: str | None, colour: str | None, **decided: Any) -> int:
    """Serve the control room: pages that say how it is, and on which one acts.

    On 127.0.0.1 it shows all to whoever comes, and changes nothing. To act, or to listen elsewhere, it
    needs a login: a token, or a proxy that says who it is. While Redis is away it says so, and goes on.
    SIGTERM ends it.
    """
    if run.is_json:
        raise Refused("pages are for people; leave --json out, and see status --json")
    host, port = address
    tokens = _tokens(token_file)
    _check_login(host, is_acting=decided["allow_actions"], has_login=bool(tokens or decided["behind_proxy"]))
    # not `run.shedder`: it must start, and say so, where Redis does not answer yet
    source = connect.server_for(url=run.url, config=run.config)
    run.address, run.secrets = source.address, connect.secrets_of(source.client)
    run.ends.append(source.client.close)
    logs.send_logs_to_stderr(is_verbose=run.is_verbose, log_format=run.log_format)
    try:
        import sse_starlette  # noqa: F401
        import uvicorn  # noqa: F401

        settings = SiteSettings(tokens=tokens, colour=colour or "", address=source.address, **decided)
        site = ControlRoom(source.client, settings)
    except ImportError as error:
        raise ShedderError(f"{error}; the pages need: pip install 'shedder[web]'") from error
    return _serve(run, site, host, port)


def _serve(run: Run, site: ControlRoom, host: str, port: int) -> int:
    with _socket(host, port) as bound:
        shown = f"[{host}]" if ":" in host else host
        run.screen.remark(f"Control room of Redis at {run.address} on http://{shown}:{bound.getsockname()[1]}/")
        if trouble := site.read().trouble:
            run.screen.warn(f"{trouble.rstrip('.')}; the pages say so until it answers")
        run.state = "what was confirmed on the pages stands"
        hold_seldom()
        server = _server(AsgiApp(site))
        server.run(sockets=[bound])
    if server.is_interrupted:
        raise KeyboardInterrupt
    return 0


def hold_seldom() -> None:
    """Have Python hold the event loop of this process seldom, and for short.

    What stays would be looked through for garbage again and again. And while threads read and render,
    the loop gets its turn by default only after 5 ms, again for each page that it sends.
    """
    gc.freeze()
    gc.set_threshold(GARBAGE_LOOKED_FOR_AT)
    sys.setswitchinterval(TURN_SECONDS)


def _server(app: Any) -> Any:
    import signal

    import uvicorn

    class Server(uvicorn.Server):
        is_interrupted = False

        def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - uvicorn's signature
            """End; not as sse-starlette replaces it, which marks the whole process as ended."""
            self.is_interrupted = self.is_interrupted or sig == signal.SIGINT
            self.force_exit = self.should_exit
            self.should_exit = True

    return Server(
        uvicorn.Config(
            app, log_config=None, access_log=False, lifespan="off", ws="none", server_header=False,
            # it would take anybody's word for where a request comes from
            proxy_headers=False, timeout_graceful_shutdown=GRACE_SECONDS,
        )
    )  # fmt: skip


def _check_login(host: str, *, is_acting: bool, has_login: bool) -> None:
    login = f"give it a login: --token-file FILE ({TOKEN_VARIABLE}), or --behind-proxy HEADER --trusted ADDRESS"
    if is_acting and not has_login:
        raise Refused(f"--allow-actions acts for people whose names are known; {login}")
    if not has_login and not _is_loopback(host):
        raise Refused(f"{host} can be reached by others; {login}; or listen on {LOOPBACK}")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _tokens(path: str | None) -> dict[str, str]:
    """By token its role, from the file or the environment; no message holds one."""
    if path is None:
        said = os.environ.get(TOKEN_VARIABLE, "").strip()
        return {said: "operator"} if said else {}
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or type(error).__name__
        raise Refused(f"--token-file {path} cannot be read: {why}") from None
    found: dict[str, str] = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        role, blank, token = line.rpartition(" ")
        found[token] = role.strip() if blank else "operator"
    if not found:
        raise Refused(f"--token-file {path} is empty; put a token into it")
    return found


def _socket(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        bound = socket.create_server((host, port), family=family, backlog=256)
    except OSError as error:
        raise ShedderError(
            f"cannot listen on {host}:{port}: {error.strerror or error}; name another place with --listen"
        ) from error
    # asyncio does this for sockets that it makes itself; else a page waits 40 ms for the other side's ACK
    bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return bound
