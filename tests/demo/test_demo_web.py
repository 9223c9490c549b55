"""`shedder demo --web`: the control room is open while the demo plays, one may act, and it ends with it."""

from __future__ import annotations

import os
import re
import signal
from contextlib import suppress

import httpx
import pytest

from shedder.demo.room import NEEDED, check_that_pages_can_be_made
from shedder.errors import ShedderError
from tests.demo.stagehand import Demo
from tests.waiting import PATIENCE_SECONDS, wait_until

SAME_ORIGIN = {"sec-fetch-site": "same-origin"}


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_the_control_room_is_open_while_the_demo_plays(number: int, code: int) -> None:
    """Its lanes are shown to who logs in with the token that was printed; it ends with the demo, however that does."""
    with Demo("--jobs", "2000", "--web") as run:
        run.wait_for("It ends with the demo")
        found = re.search(r"(http://127\.0\.0\.1:\d+/)\s+(\S+)", run.stdout)
        assert found, run.stdout + run.stderr
        with httpx.Client(base_url=found[1], headers=SAME_ORIGIN, timeout=PATIENCE_SECONDS) as browser:
            assert 303 == browser.get("/").status_code
            assert 303 == browser.post("/login", data={"name": "ana@desk", "token": found[2]}).status_code
            wait_until(lambda: "/lane/mail" in browser.get("/").text, what="the lane of the demo")
            assert 200 == browser.post("/act/pause", data={"target": "mail", "reason": "r"}).status_code
        with suppress(ProcessLookupError):
            os.kill(run.process.pid, number)
        assert code == run.wait()
        if number != signal.SIGKILL:
            run.assert_nothing_is_left()
        wait_until(lambda: not run.processes(), what="the end of all processes")


def test_without_the_extra_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is missing is named before a server is started."""
    check_that_pages_can_be_made()
    monkeypatch.setattr("shedder.demo.room.find_spec", lambda name: None if name == NEEDED[0] else name)
    with pytest.raises(ShedderError, match=r"^--web needs jinja2: pip install 'shedder\[web\]'$"):
        check_that_pages_can_be_made()
