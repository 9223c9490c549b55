"""Processes that end with the one that started them."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
from pathlib import Path

from tests.waiting import wait_until

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)


def end_with_parent() -> None:
    """Let this process be killed as soon as the one that started it ends, whatever ends that."""
    parent = os.getppid()
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if parent != os.getppid():
        os._exit(1)


def session_of(leader: int) -> list[int]:
    """The processes of a session that live, orphans too; RQ gives the process of a job a group of its own."""
    return [int(entry.name) for entry in Path("/proc").glob("[0-9]*") if _is_of(entry, leader)]


def end_session(leader: int) -> None:
    """Kill the processes of a session, and return when none lives.

    What one of them was sending goes out before it ends, and would reach the jobs of the next test.
    """

    def is_over() -> bool:
        left = session_of(leader)
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not left

    wait_until(is_over, what=f"the end of the session of {leader}")


def _is_of(entry: Path, leader: int) -> bool:
    try:
        state, _, _, session = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z" and int(session) == leader
