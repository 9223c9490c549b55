"""What the tests of the command line share."""

from __future__ import annotations

import gc
import inspect
import logging
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from rq.defaults import RQ_KEY_PREFIX

from shedder.cli import main
from shedder.rq import Queue
from tests.cli import jobs
from tests.cli.programs import Outcome, end, environment, run_program, started
from tests.servers import patient
from tests.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from redis import Redis

    from shedder.embedded import EmbeddedServer
    from tests.forked import Forked

Run = Callable[..., Outcome]

OPEN = ("incident", "open", "receipts are hours late", "-s", "2", "--commander", "ana@desk")

MITIGATIONS = """
version = 1
[mitigations.rollback]
kind = "rollback"
run = [
    "{python}", "-c", "import sys; print('back to', sys.argv[1]); sys.exit(int(sys.argv[2]))",
    "{release}", "{code}",
]

[mitigations.hang]
timeout = "2s"
run = ["{python}", "-c", "import time; print('begun', flush=True); time.sleep(600)"]

[mitigations.forever]
run = ["{python}", "-c", "import sys, time; open(sys.argv[1], 'w'); time.sleep(600)", "{file}"]
"""


@pytest.fixture
def env(server: EmbeddedServer, redis: Redis) -> dict[str, str]:
    """The environment of a program that talks to the shared server."""
    return environment(SHEDDER_REDIS_URL=patient(server.url))


@pytest.fixture
def invoke(env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Runs `shedder` in this very process, without a terminal."""
    _settle_environment(monkeypatch, env)
    # a program that ends soon may keep its garbage; this process would keep the clients of all tests
    monkeypatch.setattr(gc, "freeze", lambda: None)
    monkeypatch.setattr(gc, "set_threshold", lambda *_: None)
    loggers = [logging.getLogger(name) for name in ("shedder", "rq")]
    before = [(each.handlers[:], each.level, each.propagate) for each in loggers]

    def run(*words: str, typed: str | None = None) -> Outcome:
        done = _runner().invoke(main, list(words), input=typed)
        return Outcome(done.exit_code, done.stdout, done.stderr)

    yield run
    for each, (handlers, level, propagate) in zip(loggers, before, strict=True):
        each.handlers[:], each.level, each.propagate = handlers, level, propagate


@pytest.fixture
def invoke_in(invoke: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `shedder` in this very process, in the folder `cwd` and with more of an environment, `env`."""

    def run(*words: str, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> Outcome:
        with monkeypatch.context() as patch:
            if cwd:
                patch.chdir(cwd)
            for name, value in (env or {}).items():
                patch.setenv(name, value)
            return invoke(*words)

    return run


@pytest.fixture
def program(env: dict[str, str]) -> Run:
    """Runs `shedder` in a process of its own, without a terminal."""

    def run(*words: str | bytes, **more: Any) -> Outcome:
        return run_program(*words, env={**env, **more.pop("env", {})}, **more)

    return run


@pytest.fixture
def mail(redis: Redis) -> Queue:
    """The queue `mail` with 3 receipts, and 5 newsletters in its low lane."""
    queue = Queue("mail", connection=redis)
    fill(queue, receipts=3, newsletters=5)
    return queue


@pytest.fixture
def background(env: dict[str, str]) -> Iterator[Callable[..., Forked]]:
    """Starts programs that end with the test."""
    with ExitStack() as processes:

        def start(*words: str) -> Forked:
            process = started(words, env=env)
            processes.callback(end, process)
            return process

        yield start


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """A file; jobs that `run_until_gone` end when it is deleted."""
    path = tmp_path / "gate"
    path.touch()
    return path


@pytest.fixture
def policy(tmp_path: Path) -> str:
    """A file that declares three mitigations."""
    file = tmp_path / "shedder.toml"
    file.write_text(MITIGATIONS.replace("{python}", sys.executable))
    return str(file)


@pytest.fixture
def mitigate(program: Run, policy: str) -> Callable[[str], Outcome]:
    """`shedder mitigate` in a process of its own."""
    return lambda line: program("mitigate", "--policy", policy, *shlex.split(line))


def fill(queue: Queue, *, receipts: int = 0, newsletters: int = 0) -> None:
    """Enqueue so many jobs: receipts in the queue itself, newsletters in its low lane."""
    receipt, newsletter = jobs.send_receipt, jobs.send_newsletter
    queue.enqueue_many([Queue.prepare_data(receipt, (each,)) for each in range(receipts)])
    queue.low.enqueue_many([Queue.prepare_data(newsletter, (each,)) for each in range(newsletters)])


def start_worker(
    background: Callable[..., Any], redis: Redis, *queues: str, stock: bool = False, name: str = "w"
) -> None:
    """Start a worker and return when RQ knows it."""
    module = ["rq.cli", "worker"] if stock else ["shedder", "worker"]
    url = _url_of(redis)
    background(*module, "--url", url, "--name", name, *queues)
    wait_until(lambda: redis.sismember(f"{RQ_KEY_PREFIX}:workers", f"{RQ_KEY_PREFIX}:worker:{name}"), what="a worker")


def all_keys(redis: Redis) -> dict[bytes, bytes | None]:
    """All that is on the server, byte for byte."""
    return {key: redis.dump(key) for key in redis.scan_iter()}


def _runner() -> CliRunner:
    # until click 8.2 both streams are one unless this is said, and from then on it must not be
    is_asked = "mix_stderr" in inspect.signature(CliRunner).parameters
    return CliRunner(**({"mix_stderr": False} if is_asked else {}))


def _url_of(redis: Redis) -> str:
    return f"unix://{redis.connection_pool.connection_kwargs['path']}"


def _settle_environment(monkeypatch: pytest.MonkeyPatch, env: dict[str, str]) -> None:
    import os

    for name in set(os.environ) - set(env):
        monkeypatch.delenv(name)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
