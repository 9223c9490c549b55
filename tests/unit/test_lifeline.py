"""What tests start is gone when they end."""

from __future__ import annotations

import os
import time
from pathlib import Path

from tests.lifeline import end_session, session_of
from tests.waiting import PATIENCE_SECONDS, wait_until


def test_the_end_of_a_session_takes_groups_of_its_own_along(tmp_path: Path) -> None:
    """As RQ gives one to the process of a job, which else would write into what the next test looks at."""
    told = tmp_path / "pid"
    leader = os.fork()
    if not leader:
        os.setsid()
        if not os.fork():
            os.setpgrp()
            told.write_text(f"{os.getpid()}\n", encoding="ascii")
        time.sleep(PATIENCE_SECONDS)
        os._exit(0)
    wait_until(
        lambda: told.exists() and told.read_text(encoding="ascii").endswith("\n"), what="the child of the leader"
    )
    child = int(told.read_text(encoding="ascii"))
    assert {leader, child} == set(session_of(leader))
    end_session(leader)
    os.waitpid(leader, 0)
    assert [] == session_of(leader)
    assert not Path(f"/proc/{child}/exe").exists()
