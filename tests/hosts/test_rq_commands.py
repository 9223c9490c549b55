"""RQ's own commands take our classes from the environment alone, and a user's own ones."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from rq.serializers import JSONSerializer

from tests.cli.programs import environment
from tests.hosts.own import OwnJob, OwnQueue
from tests.servers import patient
from tests.waiting import PATIENCE_SECONDS

if TYPE_CHECKING:
    from redis import Redis

    from shedder.embedded import EmbeddedServer

COMMANDS = [("worker", "mail"), ("worker-pool", "mail", "--num-workers", "1")]


def rq(server: EmbeddedServer, *words: str, **env: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "rq.cli", *words, "--burst"],
        env=environment(RQ_REDIS_URL=patient(server.url), **env),
        capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False,
    )  # fmt: skip
    assert 0 == done.returncode, done.stderr


@pytest.mark.parametrize("command", COMMANDS, ids=lambda words: words[0])
def test_the_environment_alone_is_enough(server: EmbeddedServer, redis: Redis, command: tuple[str, ...]) -> None:
    """Two variables, and every lane is served by a worker that claims."""
    mail = OwnQueue("mail", connection=redis)
    mail.low.enqueue(len, "a")
    mail.enqueue(len, "a")
    rq(server, *command, RQ_WORKER_CLASS="shedder.rq.Worker", RQ_QUEUE_CLASS="shedder.rq.Queue")
    assert (0, 0) == (len(mail), len(mail.low))
    assert b"2" == redis.hget("rq:shedder:meters", "claims")


@pytest.mark.parametrize("command", COMMANDS, ids=lambda words: words[0])
def test_classes_of_a_users_own_work_together(server: EmbeddedServer, redis: Redis, command: tuple[str, ...]) -> None:
    """Worker, queue and job classes, a death penalty and a serializer, all at once."""
    mail = OwnQueue("mail", connection=redis, serializer=JSONSerializer, job_class=OwnJob)
    job = mail.high.enqueue(len, "abc")
    rq(
        server, *command, "--serializer", "rq.serializers.JSONSerializer",
        "--job-class", "tests.hosts.own.OwnJob",
        RQ_WORKER_CLASS="tests.hosts.own.OwnWorker", RQ_QUEUE_CLASS="tests.hosts.own.OwnQueue",
    )  # fmt: skip
    assert 3 == job.return_value()
    assert [b"worker mail.high OwnQueue", b"job mail.high"] == redis.lrange("own", 0, -1)
    assert b"1" == redis.hget("rq:shedder:meters", "claims")
