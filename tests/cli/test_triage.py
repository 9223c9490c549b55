"""What `shedder triage` says."""

from __future__ import annotations

import re
import shlex

import pytest


def test_triage_names_the_next_command_and_it_can_be_typed(invoke, policy, redis, mail):
    """Each command that is complete, copied into a shell, does what it says."""
    from tests.cli.conftest import fill

    fill(mail, receipts=40, newsletters=20)
    invoke("incident", "open", "receipts are 'late'", "-s", "2", "--commander", "ana@desk")
    invoke("incident", "take", "operations", "--by", "bob@desk")
    found = invoke("triage", "--policy", policy)
    assert 0 == found.code
    assert re.search(r"\[ \] 1\. Is it a bad release\? Roll back; do not hotfix forward\.", found.out)
    assert "shedder mitigate rollback --release RELEASE --code CODE -r" in found.out
    pause = next(line for line in found.lines if "shedder pause mail" in line)
    words = shlex.split(pause[pause.index("shedder ") :])[1:]
    assert ["pause", "mail", "-r", "receipts are 'late'"] == words
    assert 0 == invoke(*words, "--by", "bob@desk").code
    found = invoke("triage", "--policy", policy)
    assert re.search(r"\[x\] 5\. Is a queue clogged\?", found.out)
    assert re.search(r"pause mail by bob@desk \(operations\) \ds ago", found.out)
    divert = next(line for line in found.lines if "shedder divert mail.low" in line)
    assert 0 == invoke(*shlex.split(divert[divert.index("shedder ") :])[1:], "--by", "bob@desk").code
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
