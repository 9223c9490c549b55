"""A module whose import does what the environment says, as those of some applications do."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from tests import jobs
from tests.waiting import wait_until

_WHAT = os.environ.get("SHEDDER_TEST_IMPORT", "")

if _WHAT:
    with Path(os.environ["SHEDDER_TEST_IMPORTS"]).open("a", encoding="ascii") as _file:
        _file.write(f"{_WHAT}\n")
if _WHAT == "kill":
    os.kill(os.getpid(), signal.SIGKILL)
elif _WHAT == "exit":
    raise SystemExit(3)
elif _WHAT == "hang":
    time.sleep(3600)
elif _WHAT == "slow":
    wait_until(Path(os.environ["SHEDDER_TEST_IMPORTS"]).with_name("go").exists, what="the end of the import")


def run(path: str, key: str) -> str:
    return jobs.mark(path, key)
