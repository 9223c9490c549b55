"""How far off the plan is: real runs beside the forecast; `python -m benchmarks.plan_error`."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from threading import Event, Thread

from shedder import Rate, Shedder
from shedder.demo.jobs import rebuild_report, send_newsletter
from shedder.embedded import EmbeddedServer
from shedder.policy.model import Policy
from shedder.response.plan import Option, forecast, read_outlook
from shedder.rq import Queue

MEASURED_SECONDS = 8.0
LONGEST_SECONDS = 240.0


@dataclass(frozen=True, slots=True)
class Run:
    """A real run.

    Attributes:
        name: What was done.
        option: The same for the model.
        act: Does it.
        workers: At the beginning.
        high: Jobs of the first lane.
        normal: Jobs of the second.
        arrivals: Jobs that go on arriving in the second, a second.
    """

    name: str
    option: Option
    act: Callable[[Shedder, Callable[[], None]], object]
    workers: int = 2
    high: int = 800
    normal: int = 1600
    arrivals: float = 0.0


RUNS = (
    Run("do nothing", Option("do nothing"), lambda _shed, _more: None),
    Run("do nothing, while 15/s arrive", Option("do nothing"), lambda _shed, _more: None,
        arrivals=15.0),
    Run("pause mail", Option("pause", closed=frozenset({"mail"})),
        lambda shed, _: shed.pause("mail.normal", reason="try"), high=2000),
    Run("divert mail", Option("divert", closed=frozenset({"mail"})),
        lambda shed, _: shed.divert("mail.normal", reason="try"), high=2000),
    Run("limit mail to 40/second", Option("limit", limits={"mail": 40.0}),
        lambda shed, _: shed.limit_starts("mail.normal", rate=Rate(40.0), reason="try"),
        high=1200, normal=1200),
    Run("one more worker", Option("more", more_workers=1), lambda _, more: more(), normal=2400),
)  # fmt: skip


def main() -> None:
    """Print for each run what was foretold, what came, and the error."""
    errors = []
    for run in RUNS:
        told, came = measure(run)
        error = 100 * (came - told) / came
        errors.append(abs(error))
        print(f"{run.name}: told {told:.0f} s, came {came:.0f} s, off by {error:+.0f} %", flush=True)
    print(f"mean of the absolute errors: {sum(errors) / len(errors):.0f} %, worst {max(errors):.0f} %")


def measure(run: Run) -> tuple[float, float]:
    """Seconds until no open lane has a job, foretold and real."""
    with EmbeddedServer() as server, ExitStack() as ends, server.client() as client:
        shed = Shedder(client, by="bench")
        queue = Queue("mail", connection=client)
        _fill(queue.high, run.high)
        _fill(queue, run.normal)

        def more() -> None:
            ends.enter_context(worker(server.url))

        for _ in range(run.workers):
            more()
        ends.enter_context(arriving(server, run.arrivals))
        _wait(lambda: bool(shed.status("mail").lanes[1].completions), "a pace")
        # the start of the workers is no pace
        client.delete(*(shed.keys.series(lane.name) for lane in shed.lanes(("mail",))))
        time.sleep(MEASURED_SECONDS)
        outlook = read_outlook(shed, Policy(), "mail")
        began = time.monotonic()
        run.act(shed, more)
        found = forecast(outlook.lanes, run.option, pace=outlook.pace, workers=outlook.workers)
        assert found.gone_in is not None
        open_lanes = {lane.lane for lane in outlook.lanes} - run.option.closed
        _wait(lambda: _is_empty(shed, open_lanes), "the end")
        return found.gone_in, time.monotonic() - began


def _is_empty(shed: Shedder, lanes: set[str]) -> bool:
    found = [lane for lane in shed.status("mail").lanes if lane.lane in lanes]
    return sum(lane.waiting + lane.backlog for lane in found) <= 2


def _fill(queue: Queue, jobs: int) -> None:
    for first in range(0, jobs, 500):
        queue.enqueue_many(
            [Queue.prepare_data(send_newsletter, (number,)) for number in
             range(first, min(first + 500, jobs))]
        )  # fmt: skip


@contextmanager
def worker(url: str) -> Iterator[None]:
    """A worker process."""
    words = ["--url", url, "--worker-class", "shedder.rq.SimpleWorker", "--quiet", "mail"]
    process = subprocess.Popen([sys.executable, "-m", "shedder.demo.fleet", *words], stdin=subprocess.PIPE)
    try:
        yield
    finally:
        process.kill()
        process.wait()


@contextmanager
def arriving(server: EmbeddedServer, per_second: float) -> Iterator[None]:
    """Jobs that go on arriving."""
    ended = Event()

    def send() -> None:
        with server.client() as client:
            queue = Queue("mail", connection=client)
            while per_second and not ended.wait(1 / per_second):
                queue.enqueue(rebuild_report, 1)

    thread = Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _wait(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + LONGEST_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"waited in vain for {what}")
        time.sleep(0.1)


if __name__ == "__main__":
    main()
