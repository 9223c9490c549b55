"""The server that the tests talk to, and how hard the property tests try."""

from __future__ import annotations

import gc
import logging
import os
import signal
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Protocol

import pytest
from hypothesis import HealthCheck, settings
from rq.worker import BaseWorker
from xdist.scheduler import LoadScopeScheduling

from shedder.embedded import EmbeddedServer
from tests import huge_pages
from tests.cluster import shared_server
from tests.features.scene import Scene
from tests.forked import know_modules
from tests.servers import PatientServer
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from redis import Redis

# Tests act as a person, whatever account runs them: several people may use that one.
os.environ["SHEDDER_BY"] = "oncall@desk"

# Who starts the tests in the background of a shell, or with nohup, hands down a Ctrl-C or an end of
# the terminal that is ignored, and so would every program that a test starts and interrupts.
for _number, _usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _usual)

# A shared machine can be slow at any moment; that is not what a property test is about.
_PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("default", _PATIENT, max_examples=50)
settings.register_profile("long", _PATIENT, max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


@pytest.fixture(autouse=True)
def logs_as_before() -> Iterator[None]:
    """A benchmark that a test runs in its own process turns the logs off, and they are on again for the next."""
    before = logging.root.manager.disable
    yield
    logging.disable(before)


@pytest.fixture(autouse=True)
def signals_as_before() -> Iterator[None]:
    """What a worker that worked in the test's own process did to signals ends with the test."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    handlers = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, handlers, strict=True):
        signal.signal(number, handler)


@pytest.fixture(autouse=True)
def nobody_follows_settings() -> Iterator[None]:
    """What a test left open would ask the server of the next tests each second, and be counted there."""
    before = followers()
    yield
    wait_until(lambda: followers() <= before, what="the end of what follows settings: close each `Shedder`")


def followers() -> set[threading.Thread]:
    """The threads that follow settings."""
    return {thread for thread in threading.enumerate() if thread.name == "shedder-settings"}


_UNSUBSCRIBE = BaseWorker.unsubscribe


def _unsubscribe_at_once(worker: BaseWorker) -> None:
    """What RQ does, told first to the thread that listens, as ours do: else RQ often waits a second for it."""
    if worker.pubsub_thread is not None:
        worker.pubsub_thread.stop()
    _UNSUBSCRIBE(worker)


BaseWorker.unsubscribe = _unsubscribe_at_once  # type: ignore[method-assign]


TOGETHER = frozenset({
    "tests/benchmarks/test_command_counts.py",
    "tests/cli/test_incident_races.py",
    "tests/demo/test_demo_run.py",
    "tests/docs/test_examples.py",
    "tests/faults/test_server_clock.py",
    "tests/faults/test_topologies.py",
    "tests/hosts/test_django_rq.py",
    "tests/model/test_undo.py",
    "tests/packaging/test_build.py",
    "tests/unit/test_house.py",
    "tests/unit/test_plots.py",
    "tests/unit/test_postmortem.py",
    "tests/web/test_browser.py",
    "tests/web/test_browser_pages.py",
})  # fmt: skip
"""Files that set up something for all of their tests, which one process therefore runs."""


GARBAGE = (20_000, 20, 20)
"""Thresholds of the collector. With Python's own, (700, 10, 10), it took a twentieth of the tests' time."""


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Modules and tests, which stay, are not looked through for garbage: not now, nor in any test or fork of one."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.set_threshold(*GARBAGE)
        gc.enable()
        huge_pages.collapse()
        know_modules()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Several processes begin with what is slow, so that none is left with it at the end."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: item.get_closest_marker("slow") is None)


class _ByTest(LoadScopeScheduling):
    """Gives each test to the process that is free: first the files of `TOGETHER` as a whole, then what is slow."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return file if file in TOGETHER else nodeid


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling | None:
    """What `--dist loadscope` means here."""
    return _ByTest(config, log) if config.getoption("dist") == "loadscope" else None


class ServerFactory(Protocol):
    """Starts a server of the test's own; the options are those of `EmbeddedServer`."""

    def __call__(self, **options: Any) -> EmbeddedServer: ...


@pytest.fixture(scope="session")
def server() -> Iterator[EmbeddedServer]:
    """The server that the tests of this process share."""
    with shared_server() as shared:
        yield shared


@pytest.fixture
def redis(server: EmbeddedServer) -> Iterator[Redis]:
    """A client of the shared server, which is empty when the test begins."""
    with server.client() as client:
        client.flushall()
        yield client


@pytest.fixture
def scene(redis: Redis) -> Scene:
    """Queues, an operator and workers on the shared server."""
    return Scene(redis)


@pytest.fixture
def server_factory() -> Iterator[ServerFactory]:
    """Starts further servers; all of them end with the test."""
    with ExitStack() as servers:

        def start(**options: Any) -> EmbeddedServer:
            return servers.enter_context(PatientServer(**options))

        yield start
