"""How `shedder mitigate` ends when it is interrupted, hung up or killed."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from shedder import Shedder
from tests.cli.programs import Terminal
from tests.waiting import PATIENCE_SECONDS, wait_until

FAMILY = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
open(sys.argv[1] + ".new", "w").write(f"{os.getpid()} {child.pid}")
os.rename(sys.argv[1] + ".new", sys.argv[1])
for number in range(6000):
    print(number, flush=True)
    time.sleep(0.1)
"""


@pytest.fixture
def family(tmp_path):
    """The words that start a mitigation with a child, and the file in which both stand then."""
    (tmp_path / "family.py").write_text(FAMILY)
    run = [sys.executable, str(tmp_path / "family.py"), "{file}"]
    policy = tmp_path / "shedder.toml"
    policy.write_text(f"version = 1\n[mitigations.family]\nrun = {run!r}\n")
    pids = tmp_path / "pids"
    words = ("mitigate", "family", "--file", str(pids), "-r", "x", "--policy", str(policy), "-y")
    return words, pids


def is_gone(pid):
    """Whether a process has ended."""
    try:
        return b"Z" == Path(f"/proc/{pid}/stat").read_bytes().rpartition(b") ")[2][:1]
    except FileNotFoundError:
        return True


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="it looks into /proc")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_ends_all_of_it_and_the_journal_says_which(family, env, invoke, number):
    """Whoever ends us, the deed has ended too, with its children, and its end is written down."""
    words, pids = family
    process = subprocess.Popen(
        [sys.executable, "-m", "shedder", *words], env=env, text=True, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    wait_until(pids.exists, what="a start")
    process.send_signal(number)
    _, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert (128 + number, True) == (process.returncode, "the journal says so" in err)
    for pid in pids.read_text().split():
        wait_until(lambda pid=pid: is_gone(pid), what="its end")
    details = invoke("events", "--json").json["events"][-1]["details"]
    assert ("interrupted", number.name) == (details["outcome"], details["interrupted_by"])


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="it looks into /proc")
def test_a_terminal_that_goes_away_ends_it_and_it_is_written_down(family, env, invoke):
    """Nothing can be shown any more; the deed ends all the same, and the journal says so."""
    words, pids = family
    with Terminal(*words, env=env) as terminal:
        wait_until(pids.exists, what="a start")
        terminal.hang_up()
        terminal.process.wait(60)
    for pid in pids.read_text().split():
        wait_until(lambda pid=pid: is_gone(pid), what="its end")
    details = invoke("events", "--json").json["events"][-1]["details"]
    assert ("interrupted", "SIGHUP") == (details["outcome"], details["interrupted_by"])


SILENT = """
import os, sys, time
open(sys.argv[1] + ".new", "w").write(str(os.getpid()))
os.rename(sys.argv[1] + ".new", sys.argv[1])
time.sleep(600)
"""


@pytest.fixture
def killed(family, env, redis, tmp_path):
    """The process group that is left when `shedder mitigate` was killed, which has told of it."""
    words, pids = family
    # one that prints ends with the pipe that nobody reads any more
    (tmp_path / "family.py").write_text(SILENT)
    key = Shedder(redis).keys.mitigations

    def has_told():
        said = (tmp_path / "said").read_text()
        assert process.poll() is None, said
        if not pids.exists():
            return False
        group = b'"group": %d' % int(pids.read_text())
        return group in b"".join(redis.hvals(key))

    with (tmp_path / "said").open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "shedder", *words, "--by", "bob@desk"], env=env,
            stdin=subprocess.DEVNULL, stdout=file, stderr=file,
        )  # fmt: skip
    try:
        wait_until(has_told, what="a sign of life")
    finally:
        process.kill()
        process.wait(60)
    group = int(pids.read_text())
    yield group
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def be_silent(redis):
    """Let the time go by after which a process is thought gone."""
    key = Shedder(redis).keys.mitigations
    for event, record in redis.hgetall(key).items():
        redis.hset(key, event, b"1 " + record.partition(b" ")[2])


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="it looks into /proc")
def test_a_killed_mitigation_has_no_end_and_that_is_seen_at_once(killed, invoke, tmp_path):
    """SIGKILL leaves what it ran; who looks reads that it began, and that no end is recorded."""
    invoke("incident", "open", "late", "-s", "2", "--began", "5m")
    assert not is_gone(killed)
    shown = invoke("incident", "show").out
    assert re.search(r"mitigation family began .+ \(\d+s ago\), no end recorded yet\.", shown)
    written = invoke("incident", "postmortem", "--out", str(tmp_path / "out"), "--no-plots")
    assert 0 == written.code
    told = (tmp_path / "out" / "postmortem.md").read_text()
    assert "began the mitigation family (no end recorded yet)" in told


@pytest.mark.parametrize("looks", [("triage",), ("incident", "show"), ("mitigate", "quick")])
def test_who_looks_next_ends_a_mitigation_whose_process_is_silent(killed, looks, invoke, redis, tmp_path):
    """Its end is an event of its own, once; the group that may still run is named."""
    (tmp_path / "quick.toml").write_text('version = 1\n[mitigations.quick]\nrun = ["true"]\n')
    invoke("incident", "open", "late", "-s", "2", "--began", "5m")
    be_silent(redis)
    if looks[0] == "mitigate":
        looks = (*looks, "-r", "x", "-y", "--policy", str(tmp_path / "quick.toml"))
    assert 0 == invoke(*looks).code
    for _ in range(2):
        events = invoke("events", "--json").json["events"]
        found = [each for each in events if each["details"].get("outcome") == "end not recorded"]
        (ended,) = found
        (began,) = [each for each in events if each["id"] == ended["details"]["began"]]
        assert ("mitigate started", "bob@desk", killed) == (
            began["verb"], ended["by"], ended["details"]["group"],
        )  # fmt: skip
        shown = invoke("incident", "show").out
        assert re.search(rf"end not recorded: process group {killed} of \S+ may still run", shown)
