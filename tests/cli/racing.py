"""One of several operators who act at the very same moment: a process that waits for each start.

`python -m tests.cli.racing URL NAME` takes its command lines from a list in Redis, one a round, and
puts what each came to into another.
"""

from __future__ import annotations

import json
import shlex
import sys

from click.testing import CliRunner
from redis import Redis
from rq.defaults import RQ_KEY_PREFIX

from shedder.cli import main
from tests.servers import patient
from tests.waiting import PATIENCE_SECONDS

MOST_ROUNDS = 1000
RACE = f"{RQ_KEY_PREFIX}:race"
"""Under RQ's prefix, so that a cluster has it on the node of all the rest."""


def race(url: str, name: str) -> None:
    """Run line after line until an empty one comes, or none comes for long."""
    with Redis.from_url(url, socket_timeout=None) as client:
        runner = CliRunner()
        for _ in range(MOST_ROUNDS):
            given = client.blpop([f"{RACE}:line:{name}"], timeout=PATIENCE_SECONDS)
            if given is None or not given[1]:
                return
            words = shlex.split(given[1].decode())
            done = runner.invoke(main, words, env={"SHEDDER_REDIS_URL": patient(url)})
            client.rpush(f"{RACE}:done", json.dumps([name, done.exit_code, done.output]))


if __name__ == "__main__":
    race(*sys.argv[1:])
