"""Help is quick and complete."""

from __future__ import annotations

import subprocess
import sys

import pytest

from shedder.cli import main
from tests.cli.programs import Terminal, environment, run_program
from tests.forked import Forked

VERBS = sorted(main.commands)
CALLS = (("events",), ("status", "-u", "nonsense"), ("resume", "nowhere", "-r", "x"))

_IMPORTED = """
import sys
from shedder.cli import main
try:
    main(sys.argv[1:])
finally:
    print(*sorted({name.partition(".")[0] for name in sys.modules}), file=sys.stderr)
"""


@pytest.mark.parametrize("words", [["--help"], ["pause", "--help"], ["--version"], ["nonsense"]])
def test_help_imports_nothing_slow(words):
    """Help, the version and a typing error cost no import of Redis' client, RQ or the renderer."""
    done = subprocess.run(
        [sys.executable, "-c", _IMPORTED, *words],
        env=environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    imported = done.stderr.split()
    assert "click" in imported
    assert [] == [name for name in ("redis", "rq", "rich", "pydantic", "limits", "structlog") if name in imported]


def test_help_imports_few_modules():
    """Help takes less than 150 modules on top of click's, and of our own those of one verb."""
    program = (
        "import sys, click; before = set(sys.modules)\n"
        "from shedder.cli import main\n"
        "try: main(['pause', '--help'])\n"
        "finally: print('\\n'.join(set(sys.modules) - before), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    imported = done.stderr.split()
    ours = [name for name in imported if name.partition(".")[0] == "shedder"]
    assert (True, True) == (len(imported) < 150, len(ours) < 30), (len(imported), ours)


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_shows_how_it_is_used(verb, invoke):
    """The help of each verb fits 80 columns and has two to four examples."""
    done = invoke(verb, "--help")
    assert 0 == done.code
    examples = done.out.partition("Examples:\n")[2].splitlines()
    assert 2 <= len(examples) <= 4
    assert [] == [line for line in done.lines if len(line) > 80]


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_takes_the_options_of_the_connection(verb, invoke):
    """The server can be named behind each verb too."""
    help_text = invoke(verb, "--help").out
    assert "-u, --url URL" in help_text
    assert "-c, --config MODULE" in help_text


def test_no_verb_at_all_shows_the_help_and_is_an_error(invoke):
    """Without a verb the help is shown, and a script learns that nothing was done."""
    done = invoke()
    assert 2 == done.code
    assert "Commands:" in done.out


@pytest.mark.parametrize("group", ["incident", "incident action", "flag", "limit", "policy", "stale"])
def test_a_group_without_a_verb_shows_its_help(group, invoke):
    """What follows is listed as in its help, and a script learns that nothing was done."""
    done = invoke(*group.split())
    assert (2, "") == (done.code, done.err)
    assert invoke(*group.split(), "--help").out == done.out


def test_json_is_offered_by_every_verb_but_the_worker(invoke):
    """Every verb that has an answer gives it as JSON on demand."""
    assert ["worker"] == [verb for verb in VERBS if "--json" not in invoke(verb, "--help").out]


@pytest.mark.parametrize("words", CALLS)
def test_a_fork_is_what_a_fresh_program_is(env, words, tmp_path):
    """What most tests of the command line start says the same, and ends the same, as a Python of its own."""
    fork, fresh = (run_program(*words, env=env, cwd=tmp_path, is_fresh=each) for each in (False, True))
    assert (fresh.code, fresh.out, fresh.err) == (fork.code, fork.out, fork.err)


def test_a_fork_is_interrupted_as_a_fresh_program_is(env, mail):
    """Ctrl-C ends both with 130, and only what needs a Python of its own has one."""
    codes = {}
    for more in ({}, {"PYTHONPATH": f"{env['PYTHONPATH']}:/nowhere"}):
        with Terminal("status", "--watch", "100ms", env={**env, **more}) as terminal:
            terminal.wait_for("mail")
            terminal.interrupt()
            codes[isinstance(terminal.process, Forked)] = terminal.end()
    assert {True: 130, False: 130} == codes
