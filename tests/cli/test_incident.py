"""What does `shedder incident` do and say, from open to closed?"""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import replace

import pytest

from shedder.cli.incident_view import effect_texts
from shedder.incident.readings import Effect, Reading, Yardstick
from tests.cli.conftest import all_keys
from tests.cli.programs import Terminal

OPEN = ("incident", "open", "receipts are hours late", "-s", "2", "--commander", "ana@desk")


POLICY = """
version = 1

[[rules]]
queue = "mail"
noun = "receipt e-mails"
tolerance = "10m"

[incident]
people = ["ana@desk", "bob@desk", "dan@desk", "eve@desk"]

[mitigations.rollback]
kind = "rollback"
run = ["echo", "back to", "{release}"]
"""


@pytest.mark.slow
def test_a_complete_incident_in_processes_of_their_own(program, invoke, mail, tmp_path):
    """From open to closed by the real clock, as people type it; the record has it all."""
    (tmp_path / "shedder.toml").write_text(POLICY)

    def run(line: str, *, code: int = 0):
        done = program(*shlex.split(line), cwd=tmp_path)
        assert (code, line) == (done.code, line), done.err
        return done

    run("policy apply -r 'quiet day' --by ana@desk")
    identifier = answer(run)
    end(run)
    written = run("incident postmortem --out review --no-plots --json").json
    # nothing lasted five minutes
    assert {"measured effect", "plots"} >= set(written["missing"])
    run("incident close --by dan@desk")
    run("incident note late --by dan@desk", code=3)
    check_record(invoke("incident", "show", "--json").json, identifier)
    check_timeline(invoke)
    check_postmortem((tmp_path / "review" / "postmortem.md").read_text())
    copy = str(tmp_path / "copy.json")
    invoke("incident", "export", "--out", copy)
    assert identifier == json.loads((tmp_path / "copy.json").read_text())["incident"]["id"]
    assert "nothing was changed" in invoke("incident", "import", copy).out


def answer(run):
    """Open it, give roles, act, tell others; the id of the incident."""
    opened = run(
        "incident open 'receipts are hours late' --severity 2 --commander ana@desk"
        " --began 38m --by ana@desk"
    )
    identifier = re.match(r"Incident (\S+) is open\.", opened.lines[0])[1]
    run("incident take operations --by bob@desk")
    run("incident assign communications eve@desk --by ana@desk")
    run("incident take investigator --task 'database logs' --also --by eve@desk")
    run("pause mail -r 'database at 99 %' --by bob@desk")
    reminded = run("divert mail.low -r 'only receipts' --by ana@desk --force")
    assert "reminder: you are the commander" in reminded.err
    run("incident hand-over commander dan@desk --by ana@desk")
    run("incident accept --by eve@desk", code=3)
    run("incident accept --by dan@desk")
    run("incident note 'replica lags by 40 s' --task 'database logs' --by eve@desk")
    run("mitigate rollback --release 41 -r 'errors since 42' --yes --by bob@desk")
    told = run("incident update --say 'We know why.' --by eve@desk")
    assert "We know why. Receipt e-mails: 8 on hold" in " ".join(told.out.split())
    return identifier


def end(run):
    """Customers are helped, it is over, and people write what only they know."""
    run("resume mail -r 'receipts go on' --by bob@desk --force")
    run("incident mitigated --by dan@desk")
    run("incident correct --severity 3 --by dan@desk")
    run("drain mail.low --rate 1000/second -r 'database is fine' --by bob@desk --force")
    run("worker --burst mail")
    run("incident resolve --by dan@desk -r 'backlog is empty'")
    refused = run("incident close --by dan@desk", code=3)
    assert "well, badly, luck, factors" in refused.err
    run("incident action add 'Alarm at 80 %' --type detect --priority 1 --owner db --due 2w")
    run("incident action done 1 --by bob@desk")
    run("incident review --well a --badly b --luck c --factors d --by dan@desk")


def check_record(record, identifier):
    """What the record says when all is over."""
    assert (identifier, "closed", 3, "dan@desk") == (
        record["id"], record["state"], record["severity"], record["commander"],
    )  # fmt: skip
    times = [record[f"{name}_at"] for name in
             ("began", "detected", "mitigated", "resolved", "closed")]  # fmt: skip
    assert sorted(times) == times
    roles = {(each["role"], each["task"]): each["person"] for each in record["roles"]}
    assert {
        ("commander", ""): "dan@desk", ("operations", ""): "bob@desk",
        ("communications", ""): "eve@desk", ("investigator", "database logs"): "eve@desk",
    } == roles  # fmt: skip
    assert ["ana@desk"] == [each["person"] for each in record["past_roles"]]
    assert [2, 3] == [each["severity"] for each in record["severities"]]
    assert ["replica lags by 40 s"] == [each["text"] for each in record["notes"]]
    (update,) = record["updates"]
    assert ("eve@desk", False) == (update["by"], update["is_automatic"])
    (action,) = record["actions"]
    assert ("db", True) == (action["owner"], action["done_at"] is not None)


def check_timeline(invoke):
    """What the timeline says, and that each event was made in a role."""
    timeline = invoke("incident", "timeline").out
    assert "pause mail by bob@desk (operations): database at 99 % (8 jobs waiting)" in timeline
    assert "divert mail.low by ana@desk (commander): only receipts (5 jobs to the" in timeline
    assert "mitigate rollback by bob@desk (operations): errors since 42 (done" in timeline
    assert re.search(r"drained mail.low by .* \(5 jobs released\)", timeline)
    assert "replica lags" not in timeline
    assert "replica lags by 40 s" in invoke("incident", "timeline", "--notes").out
    events = invoke("incident", "timeline", "--json").json["events"]
    ids = [tuple(map(int, each["id"].split("-"))) for each in events]
    assert sorted(ids) == ids
    assert {"incident open", "incident close", "incident update", "role accept", "action done"} <= {
        each["verb"] for each in events
    }


def check_postmortem(text):
    """What the post-mortem says, and of whom it does not speak."""
    narrative = text.partition("## Event log")[0]
    for said in (
        "communications posted an update", "commander accepted the role commander",
        "operations ran the mitigation rollback (done", "operations paused mail (8 jobs waited)",
        "(database logs): replica lags by 40 s", "Alarm at 80 %", "severity 2 to 3",
    ):  # fmt: skip
        assert said in narrative.replace(" | ", " "), said
    assert "@desk" not in narrative


def test_it_shows_how_it_stands(invoke, mail):
    """How far, who does what, who is missing, what was found, what to type next."""
    invoke(*OPEN, "--began", "38m")
    invoke("incident", "note", "replica lags", "--by", "eve@desk")
    done = invoke("incident", "show")
    assert re.match(r"Incident \S+ is open\.", done.lines[0])
    assert "Severity 2: receipts are hours late." == done.lines[1]
    assert re.match(r"Began (\S+ )?\d\d:\d\d UTC \(38m .*ago\), detected", done.lines[2])
    assert re.search(r"commander +ana@desk", done.out)
    assert re.search(r"operations +nobody", done.out)
    assert re.search(r"\d\d:\d\d eve@desk: replica lags", done.out)
    listed = invoke("incident", "list")
    assert re.search(r"open +2 .* ana@desk +receipts are hours late", listed.out)


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("incident open late -s 9", 2, "1 (worst) to 5"),
        ("incident open late -s 2", 3, "--also"),
        ("incident open late", 2, "--severity"),
        ("incident open late -s 2 --also --began 2099-01-01", 2, "not in the future"),
        ("incident open late -s 2 --also --began soon", 2, "02:11"),
        ("incident take king", 2, "commander, operations"),
        ("incident take commander", 3, "ana@desk has it"),
        ("incident assign operations ana@desk", 3, "--also"),
        ("incident accept", 3, "no offer"),
        ("incident mitigated --at 2099-01-01T00:00", 2, "not in the future"),
        ("incident correct --resolved 1m", 2, "once it is resolved"),
        ("incident close", 3, "not resolved"),
        ("incident show 2026-01-01-1", 3, "nothing matched"),
        ("incident review", 2, "--well"),
        ("incident review --well x", 3, "is resolved"),
        ("incident action add x --type wish", 2, "prevent, detect"),
        ("incident action add x --type detect --due 2020-01-01", 2, "in the past"),
        ("incident action done 1", 3, "action 1"),
        ("incident import /nowhere", 2, "No such file"),
        ("incident export --out /nowhere/x", 2, "No such file"),
    ],
)
def test_what_is_refused_is_one_line_and_changes_nothing(invoke, mail, redis, line, code, said):
    """The line says what would be accepted; Redis is byte for byte as it was."""
    invoke(*OPEN)
    before = all_keys(redis)
    done = invoke(*shlex.split(line))
    assert (code, 1) == (done.code, len(done.err.splitlines()))
    assert said in done.err
    assert before == all_keys(redis)


def test_without_an_incident_there_is_a_way_to_one(invoke):
    """Nothing to show is said in one line that names the command."""
    assert "shedder incident open" in invoke("incident", "show").err
    assert "shedder incident open" in invoke("incident", "list").err
    assert 3 == invoke("incident", "mitigated").code


def test_nobody_steps_on_toes(invoke, mail, redis):
    """What somebody else has just changed is refused without a terminal, unless it is forced."""
    invoke(*OPEN)
    invoke("pause", "mail", "-r", "database", "--by", "eve@desk")
    before = all_keys(redis)
    done = invoke("resume", "mail.low", "-r", "go on", "--by", "bob@desk")
    assert (3, 1) == (done.code, len(done.err.splitlines()))
    assert re.search(r"--force.*eve@desk did 'pause mail' \d+s ago: database", done.err)
    assert before == all_keys(redis)
    assert 3 == invoke("undo", "-r", "x", "--by", "bob@desk").code
    assert 0 == invoke("resume", "mail", "-r", "go on", "--by", "eve@desk").code
    forced = invoke("pause", "mail", "-r", "stop", "--by", "bob@desk", "--force")
    assert 0 == forced.code
    assert "warning: eve@desk did 'resume mail'" in forced.err


def test_outside_of_an_incident_it_is_only_told(invoke, mail):
    """Scripts that worked before still work."""
    invoke("pause", "mail", "-r", "database", "--by", "eve@desk")
    done = invoke("resume", "mail", "-r", "go on", "--by", "bob@desk")
    assert 0 == done.code
    assert "warning: eve@desk did 'pause mail'" in done.err


def test_flags_and_limits_have_toes_too(invoke, redis):
    """They go by their names."""
    invoke(*OPEN)
    invoke("flag", "degrade", "hints", "-r", "x", "--by", "eve@desk", "--force")
    invoke("limit", "set", "reports", "5/second", "-r", "x", "--by", "eve@desk", "--force")
    assert 3 == invoke("flag", "restore", "hints", "-r", "x", "--by", "bob@desk").code
    assert 3 == invoke("limit", "clear", "reports", "-r", "x", "--by", "bob@desk").code
    assert 0 == invoke("flag", "restore", "hints", "-r", "x", "--by", "bob@desk", "--force").code


def test_at_a_terminal_one_is_asked(invoke, mail, env):
    """Who says no changes nothing; who says yes goes on."""
    invoke(*OPEN)
    invoke("pause", "mail", "-r", "database", "--by", "eve@desk")
    words = ("resume", "mail", "-r", "go on", "--by", "bob@desk")
    with Terminal(*words, env=env) as terminal:
        terminal.wait_for("Go on?")
        terminal.type("n\n")
        assert 1 == terminal.end()
        assert "nothing was changed" in terminal.text
    with Terminal(*words, env=env) as terminal:
        terminal.wait_for("Go on?")
        terminal.type("y\n")
        assert 0 == terminal.end()


def test_the_commander_is_reminded_and_never_blocked(invoke, mail):
    """After the receipt, on standard error; others are not."""
    invoke(*OPEN)
    done = invoke("pause", "mail", "-r", "database", "--by", "ana@desk", "--json")
    assert 0 == done.code
    assert done.json["event"]
    assert "give operations to: shedder incident assign operations NAME" in done.err
    invoke("incident", "take", "operations", "--by", "bob@desk")
    done = invoke("resume", "mail", "-r", "database", "--by", "ana@desk")
    assert "operations is bob@desk" in done.err
    assert "reminder" not in invoke("pause", "mail", "-r", "x", "--by", "bob@desk", "--force").err


def test_json_follows_its_schema(invoke, mail):
    """Each answer is one JSON object of a known shape."""
    assert "open" == invoke(*OPEN, "--json").json["incident"]["state"]
    invoke("pause", "mail", "-r", "x", "--by", "ana@desk")
    assert "ana@desk" == invoke("incident", "show", "--json").json["commander"]
    assert 1 == len(invoke("incident", "list", "--json").json["incidents"])
    events = invoke("incident", "timeline", "--json").json["events"]
    assert ["incident open", "pause"] == [event["verb"] for event in events]
    assert "commander" == invoke("events", "--json").json["events"][-1]["role"]
    added = invoke("incident", "action", "add", "x", "--type", "detect", "--json").json
    assert 1 == added["incident"]["actions"][0]["number"]
    assert 1 == len(invoke("incident", "action", "list", "--json").json["actions"])
    assert "incident" == invoke("undo", "-r", "x", "--json").json["kind"]
    assert invoke("incident", "export").json["events"]


def test_actions_are_listed_and_leave(invoke):
    """A table for people, and files for elsewhere."""
    invoke(*OPEN)
    invoke("incident", "action", "add", "Alarm", "--type", "detect", "-p", "1", "--due", "2w")
    assert re.search(r"1 +Alarm +detect +1 +- +20\d\d-", invoke("incident", "action", "list").out)
    assert "| 1 | Alarm |" in invoke("incident", "action", "export").out
    assert invoke("incident", "action", "export", "--format", "gh").out.startswith(
        "gh issue create"
    )
    assert 0 == invoke("incident", "action", "done", "1").code


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (Reading(9, 0, 700.0), Reading(9, 0, 30.0), "receipts late to in time (10m tolerated)"),
        (Reading(9, 0, 700.0), Reading(0, 9), "receipts late to put aside (10m tolerated)"),
        (Reading(9, 0, 700.0), Reading(9, 0, 900.0), "receipts late (10m tolerated)"),
        (Reading(9, 0, 70.0), Reading(0), "receipts in time (10m tolerated)"),
    ],
)
def test_an_effect_says_whether_the_business_can_bear_it(before, after, said):
    """In the words of the policy, where there is one."""
    effect = Effect("1-1", "pause", 300.0, {"mail": before}, {"mail": after})
    (text,) = effect_texts(effect)
    assert "; " not in text
    (text,) = effect_texts(replace(effect, yardsticks={"mail": Yardstick("receipts", 600.0)}))
    assert said == text.partition("; ")[2]
