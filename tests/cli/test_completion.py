"""Shells complete."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest
from rq.defaults import RQ_KEY_PREFIX

from tests.cli.programs import Outcome, Terminal


def completed(program, *words: str, **env: str) -> list[str]:
    """What bash would offer for the last of `words`."""
    line = {"_SHEDDER_COMPLETE": "bash_complete", "COMP_WORDS": " ".join(["shedder", *words]),
            "COMP_CWORD": str(len(words)), **env}  # fmt: skip
    done: Outcome = program(env=line)
    assert "" == done.err
    return [line.partition(",")[2] for line in done.lines if line]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_its_script(shell, invoke):
    """The script asks this very program."""
    done = invoke("completion", shell)
    assert 0 == done.code
    assert "_SHEDDER_COMPLETE" in done.out
    assert done.out.strip() == invoke("completion", shell, "--json").json["script"].strip()


def test_verbs_and_options_are_offered(program):
    """As click does it."""
    assert ["pause"] == completed(program, "pa")
    assert ["--priority"] == completed(program, "divert", "mail", "--pri")


def test_queues_on_the_server_are_offered(program, mail):
    """Queues by their first letters, lanes after the dot."""
    assert ["mail"] == completed(program, "pause", "m")
    lanes = ["mail.critical", "mail.high", "mail.normal", "mail.low"]
    assert lanes == completed(program, "pause", "mail.")


def test_flags_groups_and_limits_are_offered(program, redis):
    """What applications have declared, so that nobody types it at night."""
    said = '{"v": 1, "group": "non-critical"}'
    redis.hset(f"{RQ_KEY_PREFIX}:shedder:flag-declarations", mapping={"search.hints": said, "faces": said})
    redis.hset(f"{RQ_KEY_PREFIX}:shedder:limit-declarations", "reports", '{"v": 1}')
    assert ["search.hints"] == completed(program, "flag", "degrade", "se")
    assert ["non-critical"] == completed(program, "flag", "restore", "--group", "non")
    assert ["reports"] == completed(program, "limit", "set", "re")


# who takes a terminal for its own, as a login does: fish asks for it
LOGIN = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execvp(sys.argv[1], sys.argv[1:])"
SHELLS = {
    "bash": (("bash", "--norc", "--noprofile", "-i"), 'eval "$(shedder completion bash)"'),
    # compinit is what every .zshrc of a person who completes has
    "zsh": (("zsh", "-f", "-i"), 'autoload -Uz compinit; compinit -D -u; eval "$(shedder completion zsh)"'),
    "fish": (
        ("fish", "--no-config", "-i", "-C", "function fish_prompt; echo 'ready> '; end"),
        "shedder completion fish | source",
    ),
}


@pytest.mark.parametrize("shell", SHELLS)
def test_a_real_shell_completes_live_queues(env, mail, shell, tmp_path):
    """Who presses Tab after `shedder pause ma` in a shell gets the queue that is on the server."""
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed here")
    path = os.pathsep.join([str(Path(sys.executable).parent), env["PATH"]])
    home = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path)}
    words, lesson = SHELLS[shell]
    program = (sys.executable, "-c", LOGIN, *words)
    with Terminal(env={**env, **home, "PATH": path, "PS1": "ready> "}, program=program) as terminal:
        terminal.wait_for("ready> ")
        terminal.type(f"{lesson}; printf 'tau%s\\n' ght\n")
        terminal.wait_for("taught")
        terminal.type("shedder pau\t")
        terminal.wait_for("pause")
        terminal.type("ma\t")
        terminal.wait_for("mail")


def test_nothing_is_said_when_redis_is_away(program):
    """A line that is being typed shows no error."""
    assert [] == completed(program, "pause", "m", SHEDDER_REDIS_URL="redis://127.0.0.1:1")
