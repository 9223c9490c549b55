"""`shedder worker`: runs `rq worker` with the classes and the server of shedder."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING
from uuid import uuid4

import click

from shedder.cli.connect import Server, greet, is_loading, secrets_of, server_for, url_for
from shedder.cli.logs import send_last_words_to_stderr, send_logs_to_stderr
from shedder.cli.options import HELP_SETTINGS, VerbCommand, log_format_option
from shedder.cli.run import Refused, Run
from shedder.errors import RedisUnreachable
from shedder.later import later

if TYPE_CHECKING:
    from shedder.rq.outages import patient
else:
    globals().update(later((("shedder.rq.outages", "patient"),)))

CLASSES = {"fork": "shedder.rq.Worker", "simple": "shedder.rq.SimpleWorker", "spawn": "shedder.rq.SpawnWorker"}
QUEUE_CLASS = "shedder.rq.Queue"
SUFFIX_LETTERS = 8


_EXAMPLES = (
    "shedder worker mail reports",
    "shedder worker mail --burst --class simple",
    "shedder worker mail --with-scheduler --name-prefix mail-1",
)


@click.command("worker", cls=VerbCommand, context_settings={**HELP_SETTINGS, "ignore_unknown_options": True})
@click.option("-u", "--url", metavar="URL", help="Redis, as redis://host:port/db.")
@click.option("-c", "--config", metavar="MODULE", help="RQ settings module.")
@click.option("--class", "kind", type=click.Choice(sorted(CLASSES)), default="fork",
              show_default=True, help="How it runs a job.")  # fmt: skip
@click.option("--name-prefix", metavar="NAME",
              help="Name it NAME and a suffix of its own, which no worker has had before.")  # fmt: skip
@click.argument("rq_arguments", nargs=-1, type=click.UNPROCESSED, metavar="[QUEUE|OPTION]...")
@click.pass_obj
def worker(
    run: Run, *, url: str | None, config: str | None, kind: str, name_prefix: str | None, rq_arguments: tuple[str, ...]
) -> int:
    """Run a worker that obeys pauses and diverts, and loses no job that it had not started.

    Serves all lanes of its queues, most important first. Under a supervisor, name it with
    --name-prefix: a fixed --name stays taken for up to eight minutes after a kill. Every other
    option is that of `rq worker`, such as --burst, --with-scheduler, --max-jobs; `rq worker --help`
    lists them.
    """
    run.url, run.config = url or run.url, config or run.config
    if run.is_json:
        raise Refused("a worker prints no JSON; leave --json out")
    named = _named(name_prefix, rq_arguments)
    send_logs_to_stderr(level=logging.INFO, log_format=run.log_format)
    words = [*_server(run), "--worker-class", CLASSES[kind], "--queue-class", QUEUE_CLASS, *named]
    return _run_rq([*words, *rq_arguments], run.log_format)


worker.params.append(log_format_option())
worker.examples = _EXAMPLES


def _named(prefix: str | None, rq_arguments: tuple[str, ...]) -> list[str]:
    """The name of this start; none where RQ makes one up, or was given one."""
    if prefix is None:
        return []
    if any(re.match(r"--name(=|$)|-n", each) for each in rq_arguments):
        raise Refused("a worker has one name; leave --name or --name-prefix out")
    return ["--name", f"{prefix}-{uuid4().hex[:SUFFIX_LETTERS]}"]


def _server(run: Run) -> list[str]:
    """The options of `rq worker` for our server, which has answered once."""
    server = server_for(url=run.url, config=run.config)
    run.address, run.secrets = server.address, secrets_of(server.client)
    _wait_until_loaded(server)
    server.client.close()
    url = url_for(url=run.url)
    # The settings may say more to a worker than where Redis is.
    settings = ["--config", run.config] if run.config else []
    return [*settings, *(["--url", url] if url else [])]


def _wait_until_loaded(server: Server) -> None:
    """Return when the server has answered; one that loads its data, as after a restart, is waited for."""
    try:
        greet(server)
    except RedisUnreachable as error:
        if not is_loading(error):
            raise
        patient(server.client).ping()


def _run_rq(words: list[str], log_format: str) -> int:
    from rq.cli.workers import worker as rq_worker

    send_last_words_to_stderr(log_format=log_format)
    code = rq_worker.main(args=words, prog_name="shedder worker", standalone_mode=False)
    return code if isinstance(code, int) else 0
