"""What `shedder mitigate` does and says."""

from __future__ import annotations

import os
import re
import shlex
import signal

import pytest

from tests.cli.programs import Terminal
from tests.waiting import wait_until


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
    assert ["a b", "0"] == mitigate("rollback --release 'a b' --code 0 --dry-run --json").json["command"][-2:]
    assert not redis.keys("*")


def test_what_is_declared_is_listed(mitigate):
    """Without a name."""
    assert re.search(r"hang +other .* 2s", mitigate("").out)
    listed = mitigate("--json").json["mitigations"]
    assert ["release", "code"] == next(e["values"] for e in listed if e["name"] == "rollback")


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("rolback -r x", 3, "known: rollback"),
        ("rollback -r x", 2, "--release and --code"),
        ("rollback --release 41 -r x", 2, "also needs --code"),
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
