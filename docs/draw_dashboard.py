"""Draws the dashboard over a short incident: its own queries, answered by a real Prometheus.

Real workers run on an embedded server, `shedder metrics` serves, Prometheus scrapes it every second:
receipts, then a flood of newsletters, a divert, a pause, and the drain. Needs Debian's `prometheus`.
`python docs/draw_dashboard.py`
"""

from __future__ import annotations

import contextlib
import re
import socket
import tempfile
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt

from docs.generate_dashboard import ROWS, Panel
from shedder import Selection, Shedder
from shedder.embedded import EmbeddedServer
from shedder.policy.model import Policy, Rule
from shedder.rq import Queue, SimpleWorker
from shedder.units import Rate
from tests.metrics.prometheus import Prometheus
from tests.metrics.test_serving import Exporter
from tests.workers import WorkerProcess

if TYPE_CHECKING:
    from collections.abc import Iterator

PICTURE = Path(__file__).parent / "pictures" / "dashboard.png"
RECEIPTS, NEWSLETTERS = "benchmarks.work.nothing", "time.sleep"
TOLERANCE = timedelta(seconds=10)
DIVERT_AT, PAUSE_AT, RESUME_AT, DRAIN_AT, END_AT = 45, 70, 80, 95, 180
FLOOD = 2_000
STEP_SECONDS = 1


def main() -> None:
    """Play, ask, draw."""
    with tempfile.TemporaryDirectory() as folder, EmbeddedServer() as server, server.client() as client:
        shed = Shedder(client, by="oncall@desk")
        shed.policies.apply(_policy(), reason="labels")
        with _scraped(server, Path(folder)) as prometheus, _workers(server, Path(folder)):
            began = time.time()
            _play(shed, Queue("mail", connection=client), began)
            _draw(prometheus, began, time.time())


def _policy() -> Policy:
    return Policy(rules=(
        Rule(queue="mail", selection=Selection(functions=("benchmarks.*",)), label="receipts", tolerance=TOLERANCE),
        Rule(queue="mail", selection=Selection(functions=("time.*",)), label="newsletters",
             tolerance=timedelta(hours=1)),
    ))  # fmt: skip


@contextlib.contextmanager
def _scraped(server: EmbeddedServer, folder: Path) -> Iterator[Prometheus]:
    exporter = Exporter(server)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    try:
        with Prometheus(folder, exporter.url.removeprefix("http://"), port=port) as prometheus:
            yield prometheus
    finally:
        exporter.end()


@contextlib.contextmanager
def _workers(server: EmbeddedServer, folder: Path) -> Iterator[None]:
    made = [WorkerProcess(server, ["mail"], worker_class=SimpleWorker, log=folder / f"{n}.log") for n in range(3)]
    try:
        yield
    finally:
        for each in made:
            each.kill(and_children=True)


def _play(shed: Shedder, queue: Queue, began: float) -> None:
    is_over = threading.Event()
    customers = threading.Thread(target=_buy, args=(queue, is_over))
    customers.start()
    _wait(began, 20)
    queue.enqueue_many([queue.prepare_data(NEWSLETTERS, (0.1,)) for _ in range(FLOOD)])
    _wait(began, DIVERT_AT)
    shed.divert("mail", selection=Selection(functions=(NEWSLETTERS,)), reason="receipts are late")
    _wait(began, PAUSE_AT)
    shed.pause("mail", reason="database at 99 %", expires_in=timedelta(minutes=5))
    _wait(began, RESUME_AT)
    shed.resume("mail", reason="database is fine")
    _wait(began, DRAIN_AT)
    shed.drain("mail", rate=Rate.parse("15/second"), reason="receipts are in time")
    _wait(began, END_AT)
    is_over.set()
    customers.join()


def _buy(queue: Queue, is_over: threading.Event) -> None:
    while not is_over.wait(0.2):
        queue.enqueue(RECEIPTS)


def _wait(began: float, seconds: float) -> None:
    time.sleep(max(began + seconds - time.time(), 0))


def _draw(prometheus: Prometheus, began: float, ended: float) -> None:
    plt.rcParams.update({"font.size": 8, "axes.spines.top": False, "axes.spines.right": False})
    figure = plt.figure(figsize=(14, 11), layout="constrained")
    heights = [0.55 if title == ROWS[0][0] else 1 for title, *_ in ROWS]
    for (title, _, panels), place in zip(ROWS, figure.subfigures(len(ROWS), 1, height_ratios=heights), strict=True):
        place.suptitle(title, x=0.01, ha="left", fontweight="bold")
        widths = [panel.width for panel in panels]
        for panel, axes in zip(panels, place.subplots(1, len(panels), width_ratios=widths), strict=True):
            _draw_panel(prometheus, panel, axes, began, ended)
    figure.savefig(PICTURE, dpi=110)


def _draw_panel(prometheus: Prometheus, panel: Panel, axes: Any, began: float, ended: float) -> None:
    axes.set_title(f"{panel.title}{'' if panel.unit == 'short' else f' ({panel.unit})'}", loc="left")
    found = [
        (_legend(legend, labels), [(float(at) - began, float(number)) for at, number in values])
        for legend, query in panel.queries.items()
        for labels, values in prometheus.series(_asked(query), began, ended, STEP_SECONDS)
    ]
    if panel.kind == "stat":
        _draw_number(panel, axes, [values[-1][1] for _, values in found])
        return
    for number, (legend, points) in enumerate(found):
        if panel.kind == "state-timeline":
            stands = [at for at, value in points if value]
            axes.barh(number, 1, left=stands, color="tab:orange", label=legend)
        else:
            axes.plot(*zip(*_with_gaps(points), strict=True), label=legend, linewidth=1.2)
    if panel.kind == "state-timeline":
        axes.set_yticks(range(len(found)), [legend for legend, _ in found])
    elif found:
        axes.legend(frameon=False, fontsize=7, ncols=2)
        axes.set_ylim(bottom=0)
    axes.set_xlim(0, ended - began)


def _with_gaps(points: list[tuple[float, float]]) -> Iterator[tuple[float, float]]:
    """The points, with one that is not drawn between two that are not neighbours, as Grafana has it."""
    last = points[0][0]
    for at, value in points:
        if at - last > 1.5 * STEP_SECONDS:
            yield last + STEP_SECONDS, float("nan")
        yield at, value
        last = at


def _draw_number(panel: Panel, axes: Any, values: list[float]) -> None:
    axes.axis("off")
    said = f"{values[-1]:,.3g}" if values else "no data"
    is_bad = bool(values) and panel.bad_above is not None and values[-1] >= panel.bad_above
    color = "tab:red" if is_bad else "tab:green" if values else "tab:gray"
    axes.text(0, 0.3, said, fontsize=20, color=color, transform=axes.transAxes)


def _asked(query: str) -> str:
    """The query as Grafana sends it with all servers and queues, over windows that fit a short incident."""
    return re.sub(r"\[(5m|\$__rate_interval)\]", "[15s]", query.replace("$server", ".*").replace("$queue", ".*"))


def _legend(template: str, labels: dict[str, str]) -> str:
    return re.sub(r"\{\{(\w+)\}\}", lambda found: labels.get(found[1], ""), template)


if __name__ == "__main__":
    main()
