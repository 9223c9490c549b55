"""`shedder metrics`: the metrics for Prometheus, served or printed once."""

from __future__ import annotations

import signal
import socket
import sys
from socketserver import TCPServer, ThreadingMixIn
from threading import Thread
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import click

from shedder.cli.options import listen_option, verb
from shedder.cli.run import Refused, Run
from shedder.errors import ShedderError
from shedder.later import later

if TYPE_CHECKING:
    from shedder.cli import connect, logs
    from shedder.metrics import Collector
    from shedder.metrics.exporter import rendered, wsgi_app
else:
    globals().update(later((
        ("shedder.cli", "connect logs"),
        ("shedder.metrics.exporter", "Collector rendered wsgi_app"),
    )))  # fmt: skip

_EXAMPLES = (
    "shedder metrics",
    "shedder metrics --listen 0.0.0.0:9727",
    "shedder metrics --once > metrics.prom.new; mv metrics.prom.new metrics.prom",
)


@verb("metrics", examples=_EXAMPLES)
@listen_option(9727, "/metrics and /health")
@click.option("--once", is_flag=True, help="Print the metrics and exit.")
def metrics(run: Run, *, address: tuple[str, int], once: bool) -> int:
    """Serve metrics of all queues for Prometheus.

    Works beside stock workers, and tells more where workers are of shedder. While Redis is away it
    says so in shedder_up, and goes on. SIGTERM ends it.
    """
    if run.is_json:
        raise Refused("metrics are text for Prometheus; leave --json out, and see status --json")
    # not `run.shedder`: an exporter must start, and say so, where Redis does not answer yet
    source = connect.server_for(url=run.url, config=run.config)
    collector = _collector(run, source, is_alone=once)
    if once:
        return _print_once(source, collector)
    host, port = address
    with _server(host, port, collector) as server:
        # the first process of a container ends by no signal for which it has no handler
        signal.signal(signal.SIGTERM, lambda *_: Thread(target=server.shutdown, daemon=True).start())
        shown = f"[{host}]" if ":" in host else host
        run.screen.remark(f"Metrics of Redis at {run.address} on http://{shown}:{server.server_port}/metrics")
        run.state = "nothing was changed"
        server.serve_forever()
    return 0


def _collector(run: Run, server: connect.Server, *, is_alone: bool) -> Collector:
    run.address, run.secrets = server.address, connect.secrets_of(server.client)
    logs.send_logs_to_stderr(is_verbose=run.is_verbose, log_format=run.log_format)
    try:
        return Collector(server.client, is_alone=is_alone)
    except ImportError as error:
        raise ShedderError(f"{error}; the metrics need: pip install 'shedder[metrics]'") from error


def _print_once(server: connect.Server, collector: Collector) -> int:
    _, text = rendered(collector)
    sys.stdout.write(text.decode())
    if collector.trouble is not None:
        connect.greet(server)  # tells a wrong password from a server that is away
        raise collector.trouble
    return 0


class _Handler(WSGIRequestHandler):
    timeout = 30  # a client that says nothing does not hold its thread for ever

    def log_message(self, *_: Any) -> None:
        """Nothing: a scrape is no event."""

    def address_string(self) -> str:
        """The client's address, which nobody looks up in the DNS."""
        return str(self.client_address[0])


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = 256

    def server_bind(self) -> None:
        """Bind the address; the standard library would look up its name in the DNS first."""
        TCPServer.server_bind(self)
        host, self.server_port = self.server_address[:2]
        self.server_name = str(host)
        self.setup_environ()


class _Server6(_Server):
    address_family = socket.AF_INET6


def _server(host: str, port: int, collector: Collector) -> WSGIServer:
    kind = _Server6 if ":" in host else _Server
    try:
        return make_server(host, port, wsgi_app(collector), server_class=kind, handler_class=_Handler)
    except OSError as error:
        raise ShedderError(
            f"cannot listen on {host}:{port}: {error.strerror or error}; name another place with --listen"
        ) from error
