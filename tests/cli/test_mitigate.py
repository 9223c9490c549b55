"""What do `shedder mitigate` and `shedder triage` do and say?"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from shedder import Shedder
from tests.cli.programs import PATIENCE_SECONDS, Terminal
from tests.waiting import wait_until

POLICY = """
version = 1
[mitigations.rollback]
kind = "rollback"
run = [
    "{python}", "-c", "import sys; print('back to', sys.argv[1]); sys.exit(int(sys.argv[2]))",
    "{release}", "{code}",
]

[mitigations.hang]
timeout = "2s"
run = ["{python}", "-c", "import time; print('begun', flush=True); time.sleep(600)"]

[mitigations.forever]
run = ["{python}", "-c", "import sys, time; open(sys.argv[1], 'w'); time.sleep(600)", "{file}"]
"""


@pytest.fixture
def policy(tmp_path):
    """A file that declares three mitigations."""
    file = tmp_path / "shedder.toml"
    file.write_text(POLICY.replace("{python}", sys.executable))
    return str(file)


@pytest.fixture
def mitigate(program, policy):
    """`shedder mitigate` in a process of its own."""
    return lambda line: program("mitigate", "--policy", policy, *shlex.split(line))


def test_it_runs_shows_and_records(mitigate, invoke):
    """The output as it comes on standard error, the receipt on standard output."""
    invoke("incident", "open", "late", "-s", "2")
    done = mitigate("rollback --release 41 --code 0 -r 'errors since 42' --by bob@desk")
    assert (0, True) == (done.code, done.lines[0].startswith("rollback is done with exit code 0"))
    assert re.search(r"runs: .* 41 0 \(at most 5m\)", done.err)
    assert "back to 41" in done.err.splitlines()
    event = invoke("events", "--json").json["events"][-1]
    assert ("mitigate", 0, "done") == (
        event["verb"], event["details"]["exit_code"], event["details"]["outcome"],
    )  # fmt: skip
    assert event["incident"]
    told = r"mitigate rollback by bob@desk: errors since 42 \(done, exit code 0, .*s\)"
    assert re.search(told, invoke("events").out)


def test_a_failure_is_a_failure(mitigate):
    """The exit code of the program is told, and ours is 1."""
    done = mitigate("rollback --release=41 --code=7 -r x --json")
    assert (1, "failed", 7) == (done.code, done.json["outcome"], done.json["exit_code"])


def test_a_dry_run_runs_nothing(mitigate, redis):
    """The command can be copied into a shell."""
    done = mitigate("rollback --release 'a b' --code 0 --dry-run")
    assert ["a b", "0"] == shlex.split(done.lines[0])[-2:]
    assert ["a b", "0"] == mitigate("rollback --release 'a b' --code 0 --dry-run --json").json[
        "command"
    ][-2:]
    assert not redis.keys("*")


def test_what_is_declared_is_listed(mitigate):
    """Without a name."""
    assert re.search(r"hang +other .* 2s", mitigate("").out)
    listed = mitigate("--json").json["mitigations"]
    assert ["release", "code"] == next(e["values"] for e in listed if e["name"] == "rollback")


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("rolback -r x", 3, "found rollback"),
        ("rollback -r x", 2, "--release and --code"),
        ("rollback --release 41 -r x", 2, "also --code"),
        ("rollback --release 41 --code 0 --speed 9 -r x", 2, "--speed"),
        ("rollback --release 41 --release 42 --code 0 -r x", 2, "twice"),
        ("rollback 41 -r x", 2, "such as --release 41"),
        ("rollback --release -x --code 0 -r x", 2, "does not begin with '-'"),
        ("rollback --release 41 --code 0", 2, "say why"),
    ],
)
def test_what_is_refused_is_one_line_and_runs_nothing(mitigate, redis, line, code, said):
    """Before anything is run or written."""
    done = mitigate(line)
    assert (code, 1) == (done.code, len(done.err.splitlines()))
    assert said in done.err
    assert not redis.keys("rq:shedder:*")


def test_without_a_policy_it_says_where_one_belongs(program, tmp_path):
    """One line."""
    done = program("mitigate", "rollback", "-r", "x", cwd=tmp_path)
    assert (2, 1, True) == (done.code, len(done.err.splitlines()), "shedder.toml" in done.err)


def test_at_its_time_limit_it_ends(mitigate, invoke):
    """And the journal says so."""
    done = mitigate("hang -r x")
    assert (1, "hang timed out") == (done.code, done.lines[0][:14])
    assert "begun" in done.err
    assert "timed out" == invoke("events", "--json").json["events"][-1]["details"]["outcome"]


def test_at_a_terminal_it_asks_and_ctrl_c_ends_it(policy, env, invoke, tmp_path):
    """Who says no runs nothing; Ctrl-C ends what runs, and the journal says so."""
    file = tmp_path / "begun"
    words = ("mitigate", "forever", "--file", str(file), "-r", "x", "--policy", policy)
    with Terminal(*words, env=env) as terminal:
        terminal.wait_for("Run ")
        terminal.type("n\n")
        assert 1 == terminal.end()
    assert not file.exists()
    with Terminal(*words, env=env) as terminal:
        terminal.wait_for("Run ")
        terminal.type("y\n")
        wait_until(file.exists, what="a start")
        os.kill(terminal.process.pid, signal.SIGINT)
        assert 130 == terminal.end()
        assert "the journal says so" in terminal.text
    verbs = invoke("events", "--json").json["events"]
    assert ["mitigate started", "mitigate"] == [event["verb"] for event in verbs]
    assert "interrupted" == verbs[-1]["details"]["outcome"]


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
    _, err = process.communicate(timeout=60)
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
        wait_until(has_told, timeout=PATIENCE_SECONDS, what="a sign of life")
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
def test_who_looks_next_ends_a_mitigation_whose_process_is_silent(
    killed, looks, invoke, redis, tmp_path
):
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


def test_triage_names_the_next_command_and_it_can_be_typed(invoke, policy, redis, mail):
    """Each command that is complete, copied into a shell, does what it says."""
    from tests.cli.conftest import fill

    fill(mail, receipts=40, newsletters=20)
    invoke("incident", "open", "receipts are 'late'", "-s", "2", "--commander", "ana@desk")
    invoke("incident", "take", "operations", "--by", "bob@desk")
    found = invoke("triage", "--policy", policy)
    assert 0 == found.code
    assert re.search(
        r"\[ \] 1\. Is it a bad release\? Roll back; do not hotfix forward\.", found.out
    )
    assert "shedder mitigate rollback --release RELEASE --code CODE -r" in found.out
    pause = next(line for line in found.lines if "shedder pause mail" in line)
    words = shlex.split(pause[pause.index("shedder ") :])[1:]
    assert ["pause", "mail", "-r", "receipts are 'late'"] == words
    assert 0 == invoke(*words, "--by", "bob@desk").code
    found = invoke("triage", "--policy", policy)
    assert re.search(r"\[x\] 5\. Is a queue clogged\?", found.out)
    assert re.search(r"pause mail by bob@desk \(operations\) \ds ago", found.out)
    divert = next(line for line in found.lines if "shedder divert mail.low" in line)
    assert (
        0 == invoke(*shlex.split(divert[divert.index("shedder ") :])[1:], "--by", "bob@desk").code
    )
    steps = invoke("triage", "--json", "--policy", policy).json["steps"]
    done = {step["name"]: [each["verb"] for each in step["done"]] for step in steps}
    assert (["pause"], ["divert"]) == (done["pause"], done["divert"])
    resume = next(step["commands"] for step in steps if step["name"] == "protect")[0]
    assert ["resume", "mail.normal"] == resume["words"][:2]


@pytest.mark.parametrize(("code", "mark", "ended"), [("0", "x", "done"), ("7", " ", "failed")])
def test_triage_says_how_a_mitigation_ended(mitigate, invoke, policy, code, mark, ended):
    """One that failed is no answer to the question."""
    mitigate(f"rollback --release 41 --code {code} -r 'errors since 42' --by bob@desk")
    lines = invoke("triage", "--policy", policy).lines
    at = next(number for number, line in enumerate(lines) if "bad release" in line)
    assert lines[at].startswith(f"[{mark}] 1.")
    assert re.fullmatch(rf" +mitigate rollback by bob@desk \d+s ago \({ended}\)", lines[at + 1])


def test_triage_calls_a_flag_by_its_name(invoke):
    """It is no lane."""
    invoke("flag", "degrade", "hints", "--force", "-r", "r", "--by", "bob@desk")
    assert "flag degrade hints by bob@desk" in invoke("triage").out


def test_triage_needs_neither_incident_nor_policy(program, tmp_path):
    """It says what is there; a policy that cannot be read is one line."""
    done = program("triage", cwd=tmp_path)
    assert (0, "No incident is open") == (done.code, done.lines[0][:19])
    (tmp_path / "shedder.toml").write_text("[[")
    broken = program("triage", cwd=tmp_path)
    assert (2, 1) == (broken.code, len(broken.err.splitlines()))
