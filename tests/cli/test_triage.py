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
    assert re.search(r"\[x\] 6\. Is a queue clogged\? pause mail by bob@desk \(operations\) \ds ago", found.out)
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
    lines = invoke("triage", "--policy", policy, "--all").lines
    at = next(number for number, line in enumerate(lines) if "bad release" in line)
    assert lines[at].startswith(f"[{mark}] 1.")
    assert re.fullmatch(rf" +mitigate rollback by bob@desk \d+s ago \({ended}\)", lines[at + 1])


def test_triage_calls_a_flag_by_its_name(invoke):
    """It is no lane."""
    invoke("flag", "degrade", "hints", "--force", "-r", "r", "--by", "bob@desk")
    assert "flag degrade hints by bob@desk" in invoke("triage").out


def test_the_reason_is_a_blank_that_must_be_filled_in(invoke, mail):
    """Without an incident nobody has said why, and the blank itself is no reason."""
    from tests.cli.conftest import fill

    fill(mail, receipts=30)
    assert "shedder pause mail -r REASON" in invoke("triage").out
    done = invoke("pause", "mail", "-r", "REASON")
    assert (2, 1) == (done.code, len(done.err.splitlines()))
    assert "REASON is a blank: say why" in done.err
    assert not invoke("events", "--json").json["events"]


def test_it_fits_a_terminal_and_folds_what_is_done(invoke, mail, policy, redis):
    """Every question open, each with commands, and much done: 24 lines, and a word on the rest."""
    from shedder import Shedder
    from tests.cli.conftest import fill

    shed = Shedder(redis, by="bob@desk")
    for name in ("reports", "search", "export", "faces"):
        shed.flags.declare(name)
        shed.limits.declare(name, default="10/second")
        shed.limits.hit(name)
    shed.close()
    fill(mail, receipts=40, newsletters=20)
    invoke("incident", "open", "receipts are late", "-s", "2", "--commander", "bob@desk")
    for _ in range(4):
        invoke("limit", "set", "reports", "5/second", "--force", "-r", "r", "--by", "bob@desk")
    few, all_of_it = invoke("triage", "--policy", policy), invoke("triage", "--policy", policy, "--all")
    assert len(few.lines) <= 24 < len(all_of_it.lines)
    assert "More of it: shedder triage --all" == few.lines[-1]
    assert 8 == sum(bool(re.match(r"\[.\] \d\. ", line)) for line in few.lines)
    assert 4 == all_of_it.out.count("limit set reports by bob@desk")


def test_a_drain_whose_jobs_fail_is_to_be_stopped(invoke, redis, background):
    """With a real worker: its jobs fail, the question is open, and the command stops what burns."""
    from rq.defaults import RQ_KEY_PREFIX

    from shedder import Rate, Shedder
    from shedder.rq import Queue
    from tests.cli.conftest import start_worker
    from tests.cli.jobs import lose_database
    from tests.waiting import wait_until

    queue = Queue("mail", connection=redis)
    queue.enqueue_many([Queue.prepare_data(lose_database, (each,)) for each in range(4000)])
    shed = Shedder(redis, by="bob@desk")
    shed.divert("mail", reason="r")
    shed.drain("mail", rate=Rate(50.0), halt_at=0, reason="r")
    start_worker(background, redis, "mail")
    wait_until(lambda: redis.zcard(f"{RQ_KEY_PREFIX}:failed:mail") >= 30, what="failures")
    found = invoke("triage")
    line = next(each for each in found.lines if "of mail fail: " in each)
    assert re.search(r"[\d.]+/s of mail fail: \d+ of \d+ jobs in 5m, most often ConnectionError", line)
    stop = next(each for each in found.lines if "drain mail.normal --stop" in each)
    words = shlex.split(stop[stop.index("shedder ") :])[1:-1]
    assert 0 == invoke(*words, "the database is away").code
    after = {each["name"]: each for each in invoke("triage", "--json").json["steps"]}["success"]
    assert ("done", ["drain stopped"]) == (after["state"], [each["verb"] for each in after["done"]])
    assert redis.llen(f"{RQ_KEY_PREFIX}:queue:mail") == 0


def test_triage_needs_neither_incident_nor_policy(program, tmp_path):
    """It says what is there; a policy that cannot be read is one line."""
    done = program("triage", cwd=tmp_path)
    assert (0, "No incident is open") == (done.code, done.lines[0][:19])
    (tmp_path / "shedder.toml").write_text("[[")
    broken = program("triage", cwd=tmp_path)
    assert (2, 1) == (broken.code, len(broken.err.splitlines()))
