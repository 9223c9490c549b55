"""A Django project adopts shedder by its settings alone."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from shedder import Shedder
from shedder.rq import Queue
from tests.cli.programs import end, environment
from tests.jobs import whole_lines
from tests.servers import patient
from tests.waiting import PATIENCE_SECONDS, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redis import Redis

    from shedder.embedded import EmbeddedServer

PROJECT = Path(__file__).parent / "django_project"

Manage = Callable[..., str]


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's database, with its tables."""
    path = tmp_path_factory.mktemp("shop") / "shop.sqlite3"
    env = shop(path, "redis://nowhere", path.parent / "marks")
    subprocess.run(
        [sys.executable, "manage.py", "migrate", "-v", "0"], cwd=PROJECT, env=env, check=True,
        timeout=PATIENCE_SECONDS,
    )  # fmt: skip
    return path


@pytest.fixture
def env(server: EmbeddedServer, redis: Redis, database: Path, tmp_path: Path) -> dict[str, str]:
    """The environment of the project."""
    copy = tmp_path / "shop.sqlite3"
    copy.write_bytes(database.read_bytes())
    return shop(copy, server.url, tmp_path / "marks")


@pytest.fixture
def manage(env: dict[str, str]) -> Manage:
    """Runs `python manage.py`, or another program of the project, to its end."""

    def run(*words: str, program: str = "manage.py") -> str:
        done = subprocess.run(
            [sys.executable, program, *words], cwd=PROJECT, env=env, capture_output=True,
            text=True, timeout=PATIENCE_SECONDS, check=False,
        )  # fmt: skip
        assert 0 == done.returncode, done.stderr[-3000:]
        return done.stdout

    return run


def shop(database: Path, url: str, marks: Path) -> dict[str, str]:
    return environment(SHOP_DB=str(database), SHOP_REDIS=patient(url), SHOP_MARKS=str(marks))


def marks(env: dict[str, str]) -> list[str]:
    return whole_lines(env["SHOP_MARKS"])


def test_settings_alone_keep_transactions_and_pages(manage: Manage, env: dict[str, str]) -> None:
    """Jobs wait for the commit in every lane, results live as the settings say, pages work."""
    found = json.loads(manage(program="produce.py"))
    assert ([0, 0], [0, 0], [2, 1]) == (found["before"], found["during"], found["after"])
    assert [0, 2] == found["rolled_back"]
    assert [77, 77, 33, 33, 5, 77] == found["result_ttl"]
    assert [200, "mail.critical", "mail.high", "mail.low"] == found["home"]
    assert [200] == found["codes"]
    assert (2, 1) == (found["stats"]["mail"], found["stats"]["mail.low"])
    assert [200, True] == found["detail"]
    assert [302, 0] == found["deleted"]


def test_commands_of_django_rq_work(manage: Manage, env: dict[str, str], redis: Redis) -> None:
    """`rqenqueue`, `rqstats`, `rqworker` and `rqworker-pool` see queues and lanes."""
    stats = json.loads(manage(program="commands.py").splitlines()[-1])
    assert {"mail": 2, "mail.low": 1, "mail.high": 0, "mail.critical": 0, "plain": 0, "default": 0} == {
        queue["name"]: queue["jobs"] for queue in stats["queues"]
    }
    manage("rqworker", "mail", "--burst", "--max-jobs", "1", "-v", "0")
    assert ["mail 0"] == marks(env)
    manage("rqworker-pool", "mail", "--num-workers", "1", "--burst", "-v", "0")
    assert ["mail 0", "mail 1", "low"] == marks(env)
    assert b"3" == redis.hget("rq:shedder:meters", "claims")


def test_a_worker_of_django_obeys(env: dict[str, str], redis: Redis, started: Callable[..., Any]) -> None:
    """No job of a paused queue starts, and the worker counts as one that obeys."""
    operator = Shedder(redis, by="oncall@ops")
    operator.pause("mail", reason="database at 99 %")
    Queue("mail", connection=redis).enqueue("shop.jobs.note", "paused")
    started("rqworker", "mail", "plain", "--name", "shop-1", "-v", "0")
    wait_until(lambda: redis.hget("rq:worker:shop-1", "state") == b"idle", what="a worker")
    Queue("plain", connection=redis).enqueue("shop.jobs.note", "plain")
    wait_until(lambda: marks(env) == ["plain"], what="the job of the other queue")
    assert () == operator.pause("mail", reason="again").stock_workers
    operator.resume("mail", reason="database is fine")
    wait_until(lambda: marks(env) == ["plain", "paused"], what="the job that was paused")


def test_a_project_that_goes_back_runs_what_it_left(manage: Manage, env: dict[str, str], redis: Redis) -> None:
    """After `uninstall`, and without our classes in the settings, django-rq runs every job."""
    Queue("mail", connection=redis).enqueue("shop.jobs.note", "a")
    operator = Shedder(redis, by="oncall@ops")
    operator.divert("mail", reason="r")
    operator.uninstall(reason="back to plain RQ")
    env["SHOP_STOCK"] = "yes"
    manage("rqworker", "mail", "mail.low", "--burst", "-v", "0")
    assert (["a"], []) == (marks(env), list(redis.scan_iter("rq:shedder:*")))


@pytest.fixture
def started(env: dict[str, str]) -> Iterator[Callable[..., Any]]:
    """Starts commands of the project that go on, and end with the test."""
    running: list[Any] = []

    def start(*words: str) -> None:
        running.append(
            subprocess.Popen(
                [sys.executable, "manage.py", *words], cwd=PROJECT, env=env,
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        )  # fmt: skip

    yield start
    for process in running:
        end(process)
