"""Starts `rq` in a process of its own."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from tests.cli.programs import end, environment
from tests.cli.programs import started as begun
from tests.forked import run_module
from tests.servers import patient

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from shedder.embedded import EmbeddedServer
    from tests.forked import Forked

CLASSES = {"RQ_WORKER_CLASS": "shedder.rq.Worker", "RQ_QUEUE_CLASS": "shedder.rq.Queue"}


@pytest.fixture
def env(server: EmbeddedServer) -> dict[str, str]:
    """The environment that names the server and our classes."""
    return environment(RQ_REDIS_URL=patient(server.url), **CLASSES)


@pytest.fixture
def rq(env: dict[str, str], tmp_path: Path) -> Callable[..., str]:
    """Runs `rq` to its end in the test's folder; what it printed."""

    def run(*words: str, code: int = 0) -> str:
        done = run_module("rq.cli", *words, env=env, cwd=tmp_path)
        assert code == done.returncode, done.stderr[-3000:]
        return done.stdout + done.stderr

    return run


@pytest.fixture
def started(env: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Starts `rq`, which goes on until the test ends."""
    with ExitStack() as processes:

        def start(*words: str) -> Forked:
            process = begun(("rq.cli", *words), env=env, cwd=tmp_path)
            processes.callback(end, process)
            return process

        yield start
