"""An application under gevent: `python -m tests.features.green SOCKET`.

It prints what it found, in a line each: threads after import and declarations, the flag before
and after a change, hits let through, whether others went on meanwhile, and threads at the end.
"""

from gevent import monkey

monkey.patch_all()

import sys  # noqa: E402 - gevent patches before anything else is imported
import threading  # noqa: E402

import gevent  # noqa: E402
from redis import Redis  # noqa: E402

from shedder import Rate, Shedder  # noqa: E402
from shedder.settings.limits import Limits  # noqa: E402
from shedder.settings.windows import SharedWindows  # noqa: E402
from tests.servers import patient  # noqa: E402
from tests.waiting import PATIENCE_SECONDS  # noqa: E402

GREENLETS = 300
RATE = Rate(100, 60)


def main() -> None:
    shedder = Shedder(Redis.from_url(patient(f"unix://{sys.argv[1]}")), by="oncall@ops")
    windows = SharedWindows(shedder.store.connection, shedder.keys, patience=PATIENCE_SECONDS)
    vars(shedder)["limits"] = Limits(shedder._watch, windows, shedder.keys)
    shedder.flags.declare("hints")
    shedder.limits.declare("reports", default="1000/minute")
    print("threads", threading.active_count())
    print("flag", shedder.flags.enabled("hints"))
    operator = Shedder(Redis.from_url(patient(f"unix://{sys.argv[1]}")), by="oncall@ops")
    operator.degrade_flag("hints", reason="test", force=True)
    operator.set_limit("reports", RATE, reason="test", force=True)
    with gevent.Timeout(PATIENCE_SECONDS):
        while shedder.flags.enabled("hints") or "reports" not in shedder._watch.known.limits:
            gevent.sleep(0.001)
    print("flag", shedder.flags.enabled("hints"))
    ticks = gevent.spawn(tick)
    hits = [gevent.spawn(shedder.limits.hit, "reports") for _ in range(GREENLETS)]
    gevent.joinall(hits, raise_error=True)
    print("hits", sum(hit.value for hit in hits))
    print("others went on", ticks.value is None and ticks.started)
    ticks.kill()
    shedder.close()
    print("threads", threading.active_count())


def tick() -> None:
    while True:
        gevent.sleep(0)


if __name__ == "__main__":
    main()
