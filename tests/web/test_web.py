"""`shedder web`: refused where it would be open, alive without Redis, ended at once."""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import httpx
import pytest

from shedder.cli.run import Run
from shedder.cli.web import GARBAGE_LOOKED_FOR_AT, TURN_SECONDS, _serve, _socket
from shedder.web.app import ControlRoom
from tests.cli.programs import environment, run_program
from tests.forked import Forked
from tests.servers import patient
from tests.waiting import PATIENCE_SECONDS, wait_until
from tests.web.asking import TOKEN

if TYPE_CHECKING:
    from redis import Redis

    from shedder.embedded import EmbeddedServer
    from tests.conftest import ServerFactory


class Web(Forked):
    """A `shedder web`.

    Attributes:
        said: What it prints and says, as it comes.
    """

    said: TextIO


@contextmanager
def running(server: EmbeddedServer, *words: str, **env: str) -> Iterator[tuple[str, Web]]:
    """The URL of a `shedder web`, and its process."""
    reads, writes = os.pipe()
    with os.fdopen(reads, encoding="utf-8") as said, Path(os.devnull).open("rb") as nothing:
        process = Web(
            ["shedder", "web", "-u", patient(server.url), "--listen", "0", *words], env=environment(**env),
            files=(nothing.fileno(), writes, writes), not_for_it=(reads, writes), is_alone=True,
        )  # fmt: skip
        os.close(writes)
        process.said = said
        try:
            line = said.readline()
            assert "Control room of Redis at" in line
            yield line.rpartition(" on ")[2].strip().rstrip("/"), process
        finally:
            process.kill()
            process.wait()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--listen", "0.0.0.0:0"], "0.0.0.0 can be reached by others; give it a login: --token-file FILE"),
        (["--listen", "[::]:0"], ":: can be reached by others"),
        (["--listen", "shop.example:0"], "shop.example can be reached by others"),
        (["--allow-actions"], "--allow-actions acts for people whose names are known; give it a login"),
        (["--behind-proxy", "X-User"], "say from which addresses the proxy's header is believed"),
        (["--token-file", "/nowhere"], "--token-file /nowhere cannot be read"),
        (["--listen", "x"], "say HOST:PORT"),
        (["--json"], "pages are for people"),
    ],
)
def test_what_would_be_open_is_refused(server: EmbeddedServer, words: list[str], says: str) -> None:
    """Without a login nothing but this machine is served, and nothing acts; one line says what to do."""
    done = run_program("web", "-u", patient(server.url), *words, env=environment())
    assert 2 == done.code
    assert says in done.err
    assert 1 == len(done.err.splitlines())


@pytest.fixture
def _as_it_was() -> Iterator[None]:
    """Python as other tests need it."""
    before, turn = gc.get_threshold(), sys.getswitchinterval()
    yield
    gc.unfreeze()
    gc.set_threshold(*before)
    sys.setswitchinterval(turn)


@pytest.mark.usefixtures("_as_it_was")
def test_nothing_holds_all_pages_for_long(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the first page, what stays is out of the way of the garbage, and threads take short turns."""
    seen: list[bool] = []

    class Server:
        is_interrupted = False

        def run(self, *, sockets: list[socket.socket]) -> None:
            seen.append(bool(sockets and gc.get_freeze_count() and gc.get_threshold()[0] == GARBAGE_LOOKED_FOR_AT))
            seen.append(sys.getswitchinterval() == pytest.approx(TURN_SECONDS))

    monkeypatch.setattr("shedder.cli.web._server", lambda _app: Server())
    assert 0 == _serve(Run(), ControlRoom(redis), "127.0.0.1", 0)
    assert [True, True] == seen


def test_a_token_that_is_too_short_is_not_printed(server: EmbeddedServer, tmp_path: Path) -> None:
    """A token that can be guessed is refused, and neither it nor another one is printed."""
    file = tmp_path / "token"
    file.write_text("viewer tiny-secret\n")
    done = run_program("web", "-u", patient(server.url), "--token-file", str(file), env=environment())
    assert (2, True, False) == (done.code, "at least 16 characters" in done.err, "tiny" in done.err)


def test_it_serves_and_ends_at_once(server: EmbeddedServer, redis: Redis) -> None:
    """It serves this machine without a login, and SIGTERM ends it with an open stream."""
    with running(server) as (url, process):
        assert 404 == httpx.get(f"{url}/nothing", timeout=PATIENCE_SECONDS).status_code
        assert 403 == httpx.get(f"{url}/live", headers={"host": "evil.example"}, timeout=PATIENCE_SECONDS).status_code
        process.send_signal(signal.SIGTERM)
        assert (0, "") == (process.wait(), process.said.read())


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_open_pages_do_not_hold_it(server: EmbeddedServer, redis: Redis, number: int, code: int) -> None:
    """With open streams a signal ends it, and the streams with it."""
    with running(server) as (url, process):
        if 200 != httpx.get(f"{url}/live?page=/&once=1", timeout=PATIENCE_SECONDS).status_code:
            pytest.skip("there is no page yet")
        heard: list[Any] = []

        def listen() -> None:
            with httpx.stream("GET", f"{url}/live?page=/", timeout=PATIENCE_SECONDS) as answer:
                heard.extend(answer.iter_lines())

        threads = [threading.Thread(target=_quietly, args=(listen,)) for _ in range(5)]
        for each in threads:
            each.start()
        process.send_signal(number)
        assert code == process.wait()
        for each in threads:
            each.join()


def _quietly(listen: Any) -> None:
    with suppress(httpx.HTTPError):
        listen()


def test_a_login_from_file_or_environment(server: EmbeddedServer, redis: Redis, tmp_path: Path) -> None:
    """With a token in a file or the environment one logs in, and no output has it."""
    file = tmp_path / "token"
    file.write_text(f"operator {TOKEN.replace(' ', '-')}\n\nviewer another-token-of-the-tests\n")
    for words, env in ((["--token-file", str(file)], {}), ([], {"SHEDDER_WEB_TOKEN": TOKEN.replace(" ", "-")})):
        with running(server, *words, "--allow-actions", **env) as (url, process):
            assert 401 == httpx.get(f"{url}/live", timeout=PATIENCE_SECONDS).status_code
            form = {"name": "ana@desk", "token": TOKEN.replace(" ", "-"), "next": "/"}
            answer = httpx.post(f"{url}/login", data=form, headers={"origin": url}, timeout=PATIENCE_SECONDS)
            assert (303, "/") == (answer.status_code, answer.headers["location"])
            assert "uvicorn" not in str(answer.headers)
            process.send_signal(signal.SIGTERM)
            assert TOKEN.replace(" ", "-") not in process.said.read()


def test_a_client_cannot_say_that_it_is_the_proxy(server: EmbeddedServer, redis: Redis) -> None:
    """What a request says of where it comes from is not believed."""
    words = ("--behind-proxy", "X-User", "--trusted", "10.0.0.1")
    with running(server, *words) as (url, _):
        headers = {"x-user": "mallory", "x-forwarded-for": "10.0.0.1"}
        assert 403 == httpx.get(f"{url}/live", headers=headers, timeout=PATIENCE_SECONDS).status_code


def test_it_starts_without_redis(server_factory: ServerFactory) -> None:
    """While Redis is away it starts, says so, and serves."""
    server = server_factory()
    server.kill()
    with running(server) as (url, process):
        assert "cannot be reached; the pages say so until it answers" in process.said.readline()
        wait_until(lambda: httpx.get(f"{url}/static/page.css", timeout=PATIENCE_SECONDS).status_code == 200)


def test_a_port_that_is_taken_is_said(server: EmbeddedServer, redis: Redis) -> None:
    """A port on which somebody else listens is named in one line."""
    with running(server) as (url, _):
        port = url.rpartition(":")[2]
        done = run_program("web", "-u", patient(server.url), "--listen", port, env=environment())
    assert 1 == done.code
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in done.err


def test_a_page_does_not_wait_for_an_acknowledgement() -> None:
    """Connections send what there is at once: head and body of a page are two packets."""
    with _socket("127.0.0.1", 0) as bound, socket.create_connection(bound.getsockname()):
        accepted, _ = bound.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
