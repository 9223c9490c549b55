"""A whole incident, typed as people type it, ends with a record that has it all."""

from __future__ import annotations

import json
import re
import shlex

import pytest

POLICY = """
version = 1

[[rules]]
queue = "mail"
label = "receipt e-mails"
tolerance = "10m"

[incident]
people = ["ana@desk", "bob@desk", "dan@desk", "eve@desk"]

[mitigations.rollback]
kind = "rollback"
run = ["echo", "back to", "{release}"]
"""


@pytest.mark.parametrize("how", ["invoke_in", pytest.param("program", marks=pytest.mark.long)])
def test_a_complete_incident(how, request, invoke, mail, tmp_path):
    """From open to closed by the real clock, as people type it; in processes of their own too."""
    program = request.getfixturevalue(how)
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
    opened = run("incident open 'receipts are hours late' --severity 2 --commander ana@desk --began 38m --by ana@desk")
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
