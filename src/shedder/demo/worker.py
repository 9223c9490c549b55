"""`python -m shedder.demo.worker ...` is `rq worker ...` that ends when the demo does.

A worker of ours outlives its Redis, so one whose demo was killed would wait for ever.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading


def main() -> None:
    """Be `rq worker` until standard input, the demo's lifeline, ends."""
    threading.Thread(target=_end_with_the_demo, daemon=True).start()
    sys.argv = ["rq", "worker", *sys.argv[1:]]
    runpy.run_module("rq.cli", run_name="__main__", alter_sys=True)


def _end_with_the_demo() -> None:
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
