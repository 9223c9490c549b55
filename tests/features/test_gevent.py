"""Flags and limits work where gevent has patched the standard library."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.waiting import PATIENCE_SECONDS

ROOT = Path(__file__).parents[2]

WANTED = """\
threads 1
flag True
flag False
hits 100
others went on True
threads 1
"""


def test_flags_and_limits_are_green(redis):
    """Import starts nothing, a change is seen, 300 greenlets share a limit, and close ends all."""
    path = redis.connection_pool.connection_kwargs["path"]
    done = subprocess.run(
        [sys.executable, "-m", "tests.features.green", path],
        capture_output=True, text=True, cwd=ROOT, timeout=PATIENCE_SECONDS, check=False,
    )  # fmt: skip
    assert (WANTED, "") == (done.stdout, done.stderr)
