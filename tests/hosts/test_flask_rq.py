"""A Flask application adopts shedder by another import."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import flask_rq
import pytest
from flask_rq._worker import FlaskSubprocessWorker, run_work_horse

from shedder import Shedder
from shedder.rq import Queue
from tests.cli.programs import end, environment
from tests.jobs import whole_lines
from tests.waiting import PATIENCE_SECONDS, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redis import Redis

    from shedder.embedded import EmbeddedServer

PROJECT = Path(__file__).parent / "flask_project"
PRODUCE = """
from office import create_app, newsletter, receipt, rq
app = create_app()
with app.app_context():
    newsletter.enqueue("ana")
    receipt.enqueue("4711")
    rq.get_queue("mail").critical.enqueue("office.note", "urgent")
    try:
        rq.get_queue("nowhere.low")
    except KeyError as error:
        print(error)
"""


@pytest.fixture
def env(server: EmbeddedServer, redis: Redis, tmp_path: Path) -> dict[str, str]:
    """The environment of the application."""
    return environment(
        OFFICE_SOCKET=server.url.removeprefix("unix://"), OFFICE_MARKS=str(tmp_path / "marks"),
        FLASK_APP="office",
    )  # fmt: skip


@pytest.fixture
def run(env: dict[str, str]) -> Callable[..., str]:
    """Runs Python in the application's folder to its end."""

    def run(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, *words], cwd=PROJECT, env=env, capture_output=True, text=True,
            timeout=PATIENCE_SECONDS, check=False,
        )  # fmt: skip
        assert 0 == done.returncode, done.stderr[-3000:]
        return done.stdout

    return run


@pytest.fixture
def worker(env: dict[str, str]) -> Iterator[Callable[..., Any]]:
    """Starts `flask rq worker`, which ends with the test."""
    running: list[Any] = []

    def start(*words: str) -> None:
        running.append(
            subprocess.Popen(
                [sys.executable, "-m", "flask", "rq", "worker", *words], cwd=PROJECT, env=env,
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        )  # fmt: skip

    yield start
    for process in running:
        end(process)


def marks(env: dict[str, str]) -> list[str]:
    return whole_lines(env["OFFICE_MARKS"])


def test_lanes_are_served_in_order_in_the_context_of_the_application(
    run: Callable[..., str], env: dict[str, str], redis: Redis
) -> None:
    """Jobs of `@rq.job` reach lanes that no setting names, and `flask rq worker` runs them."""
    assert "nowhere.low" in run("-c", PRODUCE)
    run("-m", "flask", "rq", "worker", "mail", "--burst")
    assert ["urgent", "receipt 4711", "newsletter ana"] == [line.removesuffix(" of office") for line in marks(env)]
    assert b"3" == redis.hget("rq:shedder:meters", "claims")
    assert [] == redis.zrange("rq:shedder:claims", 0, -1)


def test_a_worker_of_flask_obeys(env: dict[str, str], redis: Redis, worker: Callable[..., Any]) -> None:
    """No job of a paused queue starts; the gate holds in the fresh process of each job."""
    operator = Shedder(redis, by="oncall@ops")
    operator.pause("mail", reason="database at 99 %")
    Queue("mail", connection=redis).enqueue("office.note", "paused")
    worker("mail", "default", "--name", "office-1")
    wait_until(lambda: redis.hget("rq:worker:office-1", "state") == b"idle", what="a worker")
    Queue("default", connection=redis).enqueue("office.note", "default")
    wait_until(lambda: marks(env) == ["default of office"], what="the other queue")
    assert () == operator.pause("mail", reason="again").stock_workers
    operator.resume("mail", reason="database is fine")
    wait_until(lambda: len(marks(env)) == 2, what="the job that was paused")


def test_what_is_taken_from_inside_flask_rq_is_still_there() -> None:
    """Names, parameters and the command that a worker starts for each job are as we took them."""
    assert ["queue_name", "worker_key", "job_id", "execution_id"] == [*inspect.signature(run_work_horse).parameters][1:]
    source = inspect.getsource(FlaskSubprocessWorker.fork_work_horse)
    assert '"work-horse"' in source
    assert "env=os.environ" in source
    assert "self._queues[app] = make_queues(app)" in inspect.getsource(flask_rq.RQ.init_app)
    assert ["self", "queues", "kwargs"] == [*inspect.signature(flask_rq.RQ.make_worker).parameters]
