"""What cannot be in an incident is refused in one line, with the record as it was."""

from __future__ import annotations

import shlex

import pytest

from tests.cli.conftest import all_keys

POLICY = """
version = 1
[incident]
people = ["ana@desk", "bob@desk", "dan@desk"]
templates = "{templates}"
"""


@pytest.fixture
def desk(invoke, mail, tmp_path):
    """An incident in which ana commands, bob has operations, and dan was offered the command."""
    (tmp_path / "own").mkdir()
    policy = tmp_path / "policy.toml"
    policy.write_text(POLICY.format(templates=tmp_path / "own"))
    for line in (
        f"policy apply {policy} -r 'quiet day' --by ana@desk",
        "incident open late -s 2 --commander ana@desk --by ana@desk",
        "incident take operations --by bob@desk",
        "incident hand-over commander dan@desk --by ana@desk",
    ):
        assert 0 == invoke(*shlex.split(line)).code
    return tmp_path


@pytest.fixture
def refused(invoke, redis):
    """Runs a line that is refused: one line says why, and Redis is byte for byte as it was."""

    def run(line, code, said):
        before = all_keys(redis)
        done = invoke(*shlex.split(line))
        assert (code, 1, "") == (done.code, len(done.err.splitlines()), done.out), done.err
        assert said in done.err
        assert before == all_keys(redis)

    return run


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("incident open x -s 2 --also --commander eve@desk", 2, "one whom the policy names"),
        ("incident open x -s 2 --also --commander 'ana desk'", 2, "without spaces"),
        ("incident take operations --by mallory@desk", 2, "one whom the policy names"),
        ("incident assign communications bub@desk", 2, "such as bob@desk"),
        ("incident assign communication dan@desk", 2, "did you mean communications?"),
        ("incident take ops --by bob@desk", 2, "commander, operations, communications"),
        ("incident hand-over operations bub@desk --by bob@desk", 2, "such as bob@desk"),
    ],
)
def test_unknown_persons_and_roles(desk, refused, line, code, said):
    """The line names the nearest that there is."""
    refused(line, code, said)


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("incident take communications --by ana@desk", 3, "ana@desk has the role commander already"),
        ("incident take communications --by bob@desk", 3, "bob@desk has the role operations already"),
        ("incident take operations --by dan@desk", 3, "bob@desk has the role operations"),
        ("incident assign operations dan@desk --by ana@desk", 3, "bob@desk has the role operations"),
        ("incident take investigator --by dan@desk", 2, "what to look into"),
        ("incident take communications --task logs --by dan@desk", 2, "only investigators"),
        ("incident leave communications", 3, "nobody"),
    ],
)
def test_overlapping_roles(desk, refused, line, code, said):
    """Who has one, and what to say if it is meant."""
    refused(line, code, said)


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("incident accept --by bob@desk", 3, "commander to dan@desk"),
        ("incident accept commander --by mallory@desk", 3, "commander to dan@desk"),
        ("incident accept operations --by dan@desk", 3, "nobody has offered operations to dan@desk"),
        ("incident hand-over commander bob@desk --by dan@desk", 3, "ana@desk has the role commander"),
        ("incident hand-over commander ana@desk --by ana@desk", 2, "to somebody else"),
        ("incident hand-over communications dan@desk --by ana@desk", 3, "nobody has the role communications"),
    ],
)
def test_acceptance_and_offers_by_the_wrong_person(desk, refused, line, code, said):
    """What was offered, and to whom."""
    refused(line, code, said)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("incident open x -s 2 --also --detected 2099-01-01", "not in the future"),
        ("incident open x -s 2 --also --opened 2099-01-01T00:00", "not in the future"),
        ("incident correct --began 2099-01-01", "not in the future"),
        ("incident mitigated --at 2099-01-01", "not in the future"),
        ("incident mitigated --at 5000h", "not before detected"),
        ("incident resolve --at 2099-01-01", "not in the future"),
        ("incident resolve --at 5000h", "not before"),
        ("incident correct --mitigated 5m", "is not mitigated yet; `shedder incident mitigated` first"),
        ("incident resolve --at yesterday", "how long ago"),
    ],
)
def test_times_that_cannot_be(desk, refused, line, said):
    """In the future, or out of order."""
    refused(line, 2, said)


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{% if %}", "postmortem.md.j2, line 1"),
        ("\n{{ it.nothing }}", "postmortem.md.j2, line 2"),
        ("{{ it.title | nothing }}", "No filter named 'nothing'"),
        ("{{ 1 / 0 }}", "ZeroDivisionError"),
    ],
)
def test_broken_templates(desk, refused, template, said):
    """Which file and line, and what to do; no file is written."""
    (desk / "own" / "postmortem.md.j2").write_text(template)
    refused(f"incident postmortem --no-plots --out {desk / 'out'}", 1, said)
    assert not (desk / "out").exists()


@pytest.mark.parametrize("verb", ["update", "watch --once", "postmortem", "triage", "mitigate"])
@pytest.mark.parametrize("text", ["[[", "version = 1\nnonsense = 2\n", None])
def test_an_unreadable_policy(desk, refused, verb, text):
    """A file that is none, one with a key that is none, and one that is not there."""
    file = desk / "broken.toml"
    if text is not None:
        file.write_text(text)
    group = "" if verb in ("triage", "mitigate") else "incident "
    refused(f"{group}{verb} --policy {file}", 2, "broken.toml")


@pytest.mark.parametrize(
    "line",
    [
        "incident note x", "incident take communications --by dan@desk", "incident reopen",
        "incident assign communications dan@desk", "incident accept --by dan@desk",
        "incident hand-over commander bob@desk --by ana@desk", "incident leave operations",
        "incident correct --severity 1", "incident correct --title x", "incident review --well z",
        "incident action add x --type detect", "incident close", "incident resolve",
        "incident mitigated", "incident update", "incident resolve --incident {}",
        "incident mitigated --incident {}", "incident update --incident {}",
    ],
)  # fmt: skip
def test_commands_after_close(desk, invoke, refused, line):
    """What was closed says the same for good, but that actions are done."""
    identifier = invoke("incident", "show", "--json").json["id"]
    for each in (
        "incident action add alarm --type detect --priority 1 --owner db --due 2w",
        "incident resolve", "incident review --well a --badly b --luck c --factors d",
        "incident close",
    ):  # fmt: skip
        assert 0 == invoke(*shlex.split(each)).code
    refused(line.format(identifier), 3, identifier)
    assert 0 == invoke("incident", "action", "done", "1").code
