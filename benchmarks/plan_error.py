"""How far off the plan is: real runs beside the forecast; `python -m benchmarks.plan_error`."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from threading import Event, Thread
from typing import TYPE_CHECKING

from shedder import Policy, Rate, Rule, Selection, Shedder
from shedder.embedded import EmbeddedServer
from shedder.queues.preview import look_at_functions
from shedder.response.plan import PACE_LOOK_BACK, Forecast, Option, Outlook, forecast, options_for, read_outlook
from shedder.rq import Queue

if TYPE_CHECKING:
    from redis import Redis

MEASURED_SECONDS = 16.0
"""In which the pace is measured, once all workers work: their start is no pace."""

LONGEST_SECONDS = 240.0
CHARGE_TOLERANCE = timedelta(seconds=5)


def send_receipt(number: int) -> None:
    """A job of 240 ms."""
    time.sleep(0.24)


def send_newsletter(number: int) -> None:
    """A job of 160 ms."""
    time.sleep(0.16)


def charge_card(number: int, fails_every: int = 0) -> None:
    """A job of 200 ms; with `fails_every` one in so many fails."""
    time.sleep(0.2)
    if fails_every and number % fails_every == 0:
        raise ConnectionError(f"no database for {number}")


Job = tuple[str, tuple[int, ...]]
"""The dotted name of a function, which workers can import whatever this program is called, and its arguments."""

POLICY = Policy(rules=(
    Rule(queue="charges", priority="critical", label="card charges", tolerance=CHARGE_TOLERANCE),
    Rule(selection=Selection(functions=("*.send_receipt",)), label="receipts", tolerance=timedelta(minutes=5)),
    Rule(selection=Selection(functions=("*.send_newsletter",)), label="newsletters", tolerance=timedelta(hours=2)),
))  # fmt: skip


def receipts(jobs: int) -> list[Job]:
    """So many receipts."""
    return [("benchmarks.plan_error.send_receipt", (number,)) for number in range(jobs)]


def newsletters(jobs: int) -> list[Job]:
    """So many newsletters."""
    return [("benchmarks.plan_error.send_newsletter", (number,)) for number in range(jobs)]


def charges(jobs: int, fails_every: int = 0) -> list[Job]:
    """So many charges, of which one in `fails_every` fails."""
    return [("benchmarks.plan_error.charge_card", (number, fails_every)) for number in range(jobs)]


def mixed(*kinds: list[Job]) -> list[Job]:
    """Jobs of several kinds, evenly mixed."""
    placed = [((place + 1) / len(jobs), job) for jobs in kinds for place, job in enumerate(jobs)]
    return [job for _, job in sorted(placed, key=lambda each: each[0])]


@dataclass(frozen=True, slots=True)
class Run:
    """A real run.

    Attributes:
        name: What was done.
        option: How the name of the option begins that is taken.
        act: Does it.
        jobs: By lane, the jobs that wait at the beginning.
        workers: At the beginning.
        arrivals: Receipts that go on arriving in `mail`, a second.
        burst: Jobs that arrive before the plan is asked for, and no more then.
        burst_in: The queue that they arrive in.
        backlog: Put the jobs of this lane aside, and drain them at 10 a second.
        is_urgent: The urgent work is what is waited for, and not the end.
    """

    name: str
    option: str
    act: Callable[[Shedder, Callable[[], None]], object]
    jobs: dict[str, list[Job]] = field(default_factory=dict)
    workers: int = 6
    arrivals: float = 0.0
    burst: list[Job] = field(default_factory=list)
    burst_in: str = "mail"
    backlog: str = ""
    is_urgent: bool = False


def nothing(_shed: Shedder, _more: Callable[[], None]) -> None:
    """What is done when nothing is done."""


RUNS = (
    Run("do nothing, receipts and newsletters in one lane, while 5/s arrive", "do nothing", nothing,
        {"mail": mixed(receipts(200), newsletters(900))}, arrivals=5.0),
    Run("divert the newsletters out of the lane of the receipts", "divert send_newsletter",
        lambda shed, _: shed.divert("mail", selection=Selection(functions=("*.send_newsletter",)), reason="try"),
        {"mail": mixed(receipts(600), newsletters(2800))}),
    Run("do nothing, one in ten charges fails", "do nothing", nothing,
        {"charges": charges(900, fails_every=10), "mail": newsletters(600)}),
    Run("pause the lane in which half of the jobs fail", "pause reports",
        lambda shed, _: shed.pause("reports", reason="try"),
        {"reports": charges(2500, fails_every=2), "mail.low": mixed(receipts(100), newsletters(500))}),
    Run("do nothing, until a queue that is declared critical is in time", "do nothing", nothing,
        {"mail.high": newsletters(400)}, burst=charges(2000), burst_in="charges", is_urgent=True),
    Run("do nothing after a burst that is over", "do nothing", nothing,
        {"mail": mixed(receipts(150), newsletters(900))}, burst=newsletters(700)),
    Run("do nothing, while a backlog drains at 10/s", "do nothing", nothing,
        {"mail.low": newsletters(400), "mail": receipts(600)}, backlog="mail.low"),
    Run("one more worker", "1 more workers", lambda _, more: more(), {"mail": mixed(receipts(150), newsletters(1500))}),
)  # fmt: skip


def main(words: Sequence[str] = ()) -> None:
    """Print for each run what was foretold, what came, and the error."""
    errors = []
    for run in [each for each in RUNS if not words or any(word in each.name for word in words)]:
        told, came = measure(run)
        error = 100 * (came - told) / came
        errors.append(abs(error))
        print(f"{run.name}: told {told:.0f} s, came {came:.0f} s, off by {error:+.0f} %", flush=True)
    print(f"mean of the absolute errors: {sum(errors) / len(errors):.0f} %, worst {max(errors):.0f} %")


def measure(run: Run) -> tuple[float, float]:
    """Seconds until it is over, foretold and real."""
    with EmbeddedServer() as server, ExitStack() as ends, server.client() as client:
        shed = Shedder(client, by="bench")
        shed.policies.apply(POLICY, reason="bench")
        _prepare(shed, run)

        def more() -> None:
            ends.enter_context(worker(server.url))

        for _ in range(run.workers):
            more()
        ends.enter_context(arriving(server, run.arrivals))
        _wait(lambda: _at_work(shed) == run.workers, "the workers")
        _let_burst(client, run)
        outlook = _outlook(shed)
        began = time.monotonic()
        run.act(shed, more)
        found = _forecast(outlook, run)
        told = found.urgent_in if run.is_urgent else found.gone_in
        assert told is not None, found
        _wait(lambda: _is_over(shed, run, outlook, began), "the end")
        return told, time.monotonic() - began


def _prepare(shed: Shedder, run: Run) -> None:
    for name, jobs in run.jobs.items():
        queue = Queue(name.partition(".")[0], connection=shed.store.connection)
        _fill(queue.low if name.endswith(".low") else queue.high if name.endswith(".high") else queue, jobs)
    if run.backlog:
        shed.divert(run.backlog, reason="try")
        shed.drain(run.backlog, rate=Rate(10.0), reason="try")


def _let_burst(client: Redis, run: Run) -> None:
    """Wait while the pace is measured; the burst comes meanwhile, and some seconds of quiet behind it."""
    queue, began, sent = Queue(run.burst_in, connection=client), time.monotonic(), 0
    while (passed := time.monotonic() - began) < MEASURED_SECONDS or sent < len(run.burst):
        due = int(len(run.burst) * min(passed / MEASURED_SECONDS, 1.0))
        _fill(queue, run.burst[sent:due])
        sent = due
        time.sleep(0.1)
    time.sleep(MEASURED_SECONDS if run.burst else 0)


def _outlook(shed: Shedder) -> Outlook:
    status = shed.status()
    lanes = [lane.lane for lane in status.lanes]
    samples = shed.samples(*lanes, since=status.at - PACE_LOOK_BACK)
    return read_outlook(status, samples, POLICY, look_at_functions(shed.store, lanes))


def _at_work(shed: Shedder) -> int:
    return len(shed.running(*shed.queues()))


def _forecast(outlook: Outlook, run: Run) -> Forecast:
    (option,) = [each for each in _options(outlook) if each.name.startswith(run.option)]
    return forecast(outlook.lanes, option, pace=outlook.pace, workers=outlook.workers)


def _options(outlook: Outlook) -> tuple[Option, ...]:
    return options_for(outlook.lanes, more_workers=1)


def _is_over(shed: Shedder, run: Run, outlook: Outlook, began: float) -> bool:
    status = shed.status()
    if run.is_urgent:
        urgent = {lane.lane for lane in outlook.lanes if lane.is_urgent}
        oldest = [lane.oldest for lane in status.lanes if lane.lane in urgent and lane.oldest]
        return all(status.at - each <= CHARGE_TOLERANCE for each in oldest)
    open_lanes = [lane for lane in status.lanes if lane.pause is None]
    flowing = sum(each.backlog for lane in open_lanes for each in lane.diverts if each.drain)
    return sum(lane.waiting for lane in open_lanes) + flowing <= 2


def _fill(queue: Queue, jobs: Sequence[Job]) -> None:
    for first in range(0, len(jobs), 500):
        queue.enqueue_many([Queue.prepare_data(*job) for job in jobs[first : first + 500]])


@contextmanager
def worker(url: str) -> Iterator[None]:
    """A worker process."""
    words = ["--url", url, "--worker-class", "shedder.rq.SimpleWorker", "--quiet", "charges", "mail", "reports"]
    process = subprocess.Popen(
        [sys.executable, "-m", "shedder.demo.fleet", *words], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
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
                queue.enqueue("benchmarks.plan_error.send_receipt", 1)

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
    main(sys.argv[1:])
