"""A server that has been started again and still loads its data."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import redis.exceptions

from shedder.rq import Queue
from tests import jobs
from tests.cli.programs import end, environment, started
from tests.waiting import wait_until
from tests.workers import Yard

if TYPE_CHECKING:
    from redis import Redis

    from tests.cli.conftest import Run
    from tests.conftest import ServerFactory

KEYS = 5000
SLOWLY = {"key-load-delay": "20000", "loading-process-events-interval-bytes": "1024", "rdbcompression": "no"}
"""20 ms for each key, and after each it answers: as long as the test needs, which then ends it."""


WAITS = "Redis does not serve us, trying again until it does"


def is_loading(client: Redis) -> bool:
    """Whether the server answers, and says that it loads."""
    try:
        client.ping()
    except redis.exceptions.BusyLoadingError:
        return True
    except (redis.exceptions.ConnectionError, OSError):
        return False
    return False


@pytest.mark.slow
def test_commands_name_the_cause_and_workers_wait(server_factory: ServerFactory, invoke: Run, tmp_path: Path) -> None:
    """It need not be started, only waited for; workers, one that is started now too, take jobs when it is over."""
    server, marks, log = server_factory(config=SLOWLY), str(tmp_path / "marks"), str(tmp_path / "late")
    with server.client() as client, Yard(server, tmp_path) as yard, contextlib.ExitStack() as ends:
        client.mset({f"filler:{number}": "x" * 1100 for number in range(KEYS)})
        client.save()
        yard.start("mail").wait_until_idle(client)
        server.kill()
        starting = threading.Thread(target=server.restart)
        starting.start()
        wait_until(lambda: is_loading(client), what="a server that loads its data")
        for words in (["status"], ["pause", "mail", "-r", "x"], ["metrics", "--once"]):
            done = invoke(*words, "-u", server.url)
            assert 4 == done.code
            assert done.err.splitlines()[-1].endswith("(it is still loading its data); wait until it has")
        late = started(["shedder", "worker", "late"], env=environment(SHEDDER_REDIS_URL=server.url), log=log)
        ends.callback(end, late)
        wait_until(lambda: WAITS in Path(log).read_text(), what="a worker that waits from its start")
        client.config_set("key-load-delay", 0)
        starting.join()
        for queue in ("mail", "late"):
            Queue(queue, connection=client).enqueue(jobs.mark, marks, queue)
        wait_until(lambda: ["late", "mail"] == sorted(jobs.ended(marks)), what="the jobs")
