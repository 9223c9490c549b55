"""What a worker loads, and what it does without."""

from __future__ import annotations

import subprocess
import sys


def test_workers_and_queues_know_of_no_incident() -> None:
    """`shedder.rq` loads nothing of incidents, their post-mortems and their updates."""
    code = "import sys, shedder.rq; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = [each for each in done.stdout.split() if each.startswith("shedder.")]
    assert "shedder.rq.worker" in loaded
    foreign = ("shedder.incident", "shedder.postmortem", "shedder.updates", "shedder.api")
    assert [] == [each for each in loaded if each.startswith(foreign)]
