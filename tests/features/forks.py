"""A process that forks amid hits: `python -m tests.features.forks SOCKET CHILDREN`.

Two threads hit limits, ask flags and enqueue without a pause, as in a web server that starts its
workers late. Each child asks for all of it once. The last line says how many got their answers.
"""

from __future__ import annotations

import os
import sys
import threading

from redis import Redis

from shedder import Shedder
from shedder.rq import Queue
from tests.servers import patient

THREADS = 2

SWITCH_SECONDS = 1e-5
"""Threads give way often, also while they hold a lock."""


def ask(app: Shedder, queue: Queue) -> None:
    """What an application asks in a request."""
    app.limits.hit("reports")
    app.flags.enabled("hints")
    queue.enqueue("tests.jobs.mark", "nowhere", result_ttl=0)


def ask_until(ended: threading.Event, app: Shedder, queue: Queue) -> None:
    while not ended.is_set():
        ask(app, queue)


def forked(app: Shedder, queue: Queue) -> int:
    """A child of this process that asks, and ends."""
    child = os.fork()
    if not child:
        try:
            ask(app, queue)
        finally:
            os._exit(0)
    return child


def main() -> None:
    path, children = sys.argv[1], int(sys.argv[2])
    client = Redis.from_url(patient(f"unix://{path}"))
    app, queue = Shedder(client), Queue("mail", connection=client)
    app.limits.declare("reports", default="1000000/second")
    sys.setswitchinterval(SWITCH_SECONDS)
    ended = threading.Event()
    threads = [threading.Thread(target=ask_until, args=(ended, app, queue)) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    started = [forked(app, queue) for _ in range(children)]
    ended.set()
    print(sum(not os.waitpid(child, 0)[1] for child in started), flush=True)


if __name__ == "__main__":
    main()
