"""URLs and settings for TLS and for sentinels reach the server that they name."""

from __future__ import annotations

import shutil
import socket
import subprocess
from typing import TYPE_CHECKING

import pytest
import redis as redis_py

from shedder.cli.connect import greet, server_for
from shedder.cli.run import Run, failure_sentence
from shedder.errors import ShedderError
from shedder.rq import Queue
from tests.cli.programs import environment, run_program
from tests.hosts.tls_road import TlsRoad
from tests.jobs import ended, mark
from tests.servers import patient
from tests.waiting import PATIENCE_SECONDS, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from shedder.embedded import EmbeddedServer
    from tests.conftest import ServerFactory


@pytest.fixture
def certificate(tmp_path: Path) -> dict[str, str]:
    """A key and a certificate that is its own authority."""
    return certificate_for(tmp_path, "DNS:localhost,IP:127.0.0.1")


def certificate_for(folder: Path, names: str) -> dict[str, str]:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl to make a certificate with")
    key, cert = str(folder / "key.pem"), str(folder / "cert.pem")
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-keyout", key, "-out", cert, "-days", "2", "-subj", "/CN=localhost",
         "-addext", f"subjectAltName={names}"],
        check=True, capture_output=True, timeout=PATIENCE_SECONDS,
    )  # fmt: skip
    return {"key": key, "cert": cert}


@pytest.fixture
def tls(server_factory: ServerFactory, certificate: dict[str, str]) -> Iterator[tuple[int, str]]:
    """A port that speaks TLS only, and its certificate; the server that comes with the tests
    is built without TLS."""
    server = server_factory(port=0)
    assert server.port is not None
    with TlsRoad(server.port, certificate=certificate["cert"], key=certificate["key"]) as road:
        yield road.port, certificate["cert"]


def test_a_url_with_tls_serves_all_three_roles(tls: tuple[int, str], tmp_path: Path) -> None:
    """Producer, worker and operator over TLS; without the authority's certificate nobody talks."""
    port, cert = tls
    url = f"rediss://127.0.0.1:{port}/0"
    trusted = patient(f"{url}?ssl_ca_certs={cert}")
    marks = str(tmp_path / "marks")
    with redis_py.Redis.from_url(trusted) as client:
        Queue("mail", connection=client).enqueue(mark, marks, "tls")
        env = environment(RQ_REDIS_URL=trusted)
        assert 0 == run_program("status", env=env).code
        # the process of each job makes a connection of its own
        done = run_program("worker", "mail", "--burst", "--class", "spawn", env=env)
        assert 0 == done.code, done.err
    assert ["tls"] == ended(marks)
    refused = run_program("status", env=environment(RQ_REDIS_URL=url))
    assert (4, 1) == (refused.code, len(refused.err.splitlines()))


def test_each_call_over_tls_reaches_the_server(tls: tuple[int, str]) -> None:
    """Session tickets that TLS 1.3 sends behind its handshake are not taken for a broken server."""
    port, cert = tls
    for _ in range(12):
        server = server_for(url=f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={cert}", config=None)
        greet(server, seconds=PATIENCE_SECONDS)
        server.client.close()


def test_settings_with_tls_are_those_of_rq(tls: tuple[int, str], tmp_path: Path) -> None:
    """`-c` and the variables that RQ reads say the same."""
    port, cert = tls
    (tmp_path / "settings_tls.py").write_text(
        f"REDIS_HOST = '127.0.0.1'\nREDIS_PORT = {port}\nREDIS_SSL = True\nREDIS_SSL_CA_CERTS = {cert!r}\n"
    )
    settings = environment()
    settings["PYTHONPATH"] += f":{tmp_path}"
    assert 0 == run_program("status", "-c", "settings_tls", env=settings).code
    variables = environment(REDIS_HOST="127.0.0.1", REDIS_PORT=str(port), REDIS_SSL="yes", REDIS_SSL_CA_CERTS=cert)
    assert 0 == run_program("status", env=variables).code


def test_the_master_is_found_through_sentinels(server_factory: ServerFactory, tmp_path: Path) -> None:
    """A real sentinel watches a real master; `shedder -c` and its worker ask it where that is."""
    master = server_factory(port=0)
    with sentinel_of(master, tmp_path) as port:
        (tmp_path / "settings_sentinel.py").write_text(
            f"SENTINEL = {{'INSTANCES': [('127.0.0.1', {port})], 'MASTER_NAME': 'shop',"
            " 'SOCKET_TIMEOUT': 5}\nQUEUES = ['mail']\n"
        )
        env = environment()
        env["PYTHONPATH"] += f":{tmp_path}"
        marks = str(tmp_path / "marks")
        with master.client() as client:
            Queue("mail", connection=client).enqueue(mark, marks, "sentinel")
        words = ("-c", "settings_sentinel")
        assert 0 == run_program("status", *words, env=env).code
        done = run_program("worker", "--burst", *words, env=env)
        assert 0 == done.code, done.err
        assert ["sentinel"] == ended(marks)


class sentinel_of:  # noqa: N801 - it is used as a function
    """A sentinel process that watches `master` under the name `shop`; its port."""

    def __init__(self, master: EmbeddedServer, folder: Path) -> None:
        self._master, self._folder = master, folder

    def __enter__(self) -> int:
        from shedder.embedded import find_server

        with socket.create_server(("127.0.0.1", 0)) as free:
            port: int = free.getsockname()[1]
        config = self._folder / "sentinel.conf"
        config.write_text(
            f"port {port}\nbind 127.0.0.1\ndir {self._folder}\nsentinel monitor shop 127.0.0.1 {self._master.port} 1\n"
        )
        self._process = subprocess.Popen(
            [find_server().path, str(config), "--sentinel"], stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        with redis_py.Redis(port=port) as client:

            def answers() -> bool:
                try:
                    return bool(client.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "shop"))
                except redis_py.exceptions.ConnectionError:
                    return False

            wait_until(answers, what="a sentinel")
        return port

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()


def test_what_fails_over_tls_is_said(tls: tuple[int, str], server_factory: ServerFactory, tmp_path: Path) -> None:
    """Certificates, files and ports are told from a server that is away, with what to do; none is called away."""
    port, cert = tls
    plain = server_factory(port=0).port
    assert plain is not None
    (tmp_path / "other").mkdir()
    foreign = certificate_for(tmp_path / "other", "DNS:elsewhere,IP:10.0.0.1")
    empty = tmp_path / "empty.pem"
    empty.write_text("no certificate")
    address = f"rediss://127.0.0.1:{port}/0"
    said = {
        address: (4, "(its certificate is not trusted); name the file of its CA: rediss://host:6379/0?ssl_ca_certs="),
        f"rediss://127.0.0.1:{plain}/0": (4, "(it does not answer); start it, or use redis:// if it speaks no TLS"),
        f"redis://127.0.0.1:{port}/0": (4, "(it hangs up); use rediss:// if it speaks TLS there"),
        f"{address}?ssl_ca_certs={empty}": (4, "(the file of its CA holds no certificate); correct ssl_ca_certs"),
        f"{address}?ssl_ca_certs=/nowhere/ca.pem": (
            2, "the file /nowhere/ca.pem of ssl_ca_certs, which the connection over TLS needs, cannot be read: No such"
        ),
        f"{address}?ssl_ca_certs={cert}&ssl_certfile=/nowhere/c.pem": (2, "the file /nowhere/c.pem of ssl_certfile"),
    }  # fmt: skip
    with TlsRoad(plain, certificate=foreign["cert"], key=foreign["key"]) as road:
        check_said({f"rediss://127.0.0.1:{road.port}/0?ssl_ca_certs={foreign['cert']}": (
            4, "(its certificate is for another address); name its host as its certificate does"
        )})  # fmt: skip
    check_said(said)


def check_said(said: dict[str, tuple[int, str]]) -> None:
    for url, (code, why) in said.items():
        with pytest.raises(ShedderError) as failure:
            greet(server_for(url=url, config=None))
        sentence = failure_sentence(failure.value, Run())
        assert why in sentence
        assert (code, False) == (failure.value.exit_code, "start it, or name another" in sentence)
