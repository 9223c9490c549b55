"""What `shedder policy` does and says."""

from __future__ import annotations

import re

import pytest
from rq import SimpleWorker
from rq.defaults import RQ_KEY_PREFIX

from shedder import Shedder
from shedder.policy.file import CHANNELS_EXAMPLE, read_policy
from shedder.rq import Queue
from shedder.rq import SimpleWorker as OurWorker
from shedder.updates import channels
from tests.cli import jobs
from tests.cli.conftest import all_keys
from tests.cli.programs import ROOT

GOOD = """\
version = 1

[[rules]]
queue = "reports"
priority = "low"
shed = 1

[incident]
channels = { main = ["slack://s3cret/token"] }
"""
BAD = 'version = 1\ncolour = "red"\n[[rules]]\nqueue = "x"\nshed = 0\n'


@pytest.fixture
def file(tmp_path, monkeypatch):
    """`shedder.toml` in the folder in which the command is given."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "shedder.toml"
    path.write_text(GOOD)
    return path


def test_a_good_file_is_a_policy(invoke, file):
    """It is found without being named."""
    done = invoke("policy", "check")
    assert (0, f"{file} is a policy: nothing is wrong with it.") == (done.code, done.lines[0])


def test_all_that_is_wrong_is_told_at_once(invoke, file):
    """A line for each problem, with its place; the exit code is that of bad input."""
    file.write_text(BAD)
    done = invoke("policy", "check")
    assert 2 == done.code
    assert f"{file} has 2 problems:" == done.lines[0]
    assert ["rules[1].shed", "colour"] == [line.split(":")[0].strip() for line in done.lines[1:]]
    assert 2 == len(invoke("policy", "check", "--json").json["problems"])


def test_a_bad_file_changes_nothing(invoke, file, redis):
    """Apply and diff refuse it in one line, with every problem, before anything is touched."""
    file.write_text(BAD)
    before = all_keys(redis)
    for words in (("apply", "-r", "why"), ("diff",)):
        done = invoke("policy", *words)
        assert 2 == done.code
        assert 1 == len(done.err.splitlines())
        assert "rules[1].shed" in done.err
        assert "colour" in done.err
    assert before == all_keys(redis)


def test_a_newer_version_is_refused_by_name(invoke, file):
    """The sentence says which version the file has and which one is read here."""
    file.write_text("version = 2\n")
    done = invoke("policy", "apply", "-r", "why")
    assert (2, f"shedder: {file} is of version 2; this shedder reads version 1") == (
        done.code, done.err.strip(),
    )  # fmt: skip


def test_a_policy_is_compared_applied_shown_and_undone(invoke, file):
    """First what would change, then the receipt with the way back, then who did it."""
    assert '+ rules[1] { queue = "reports", priority = "low", shed = 1 }' in invoke("policy", "diff").lines
    done = invoke("policy", "apply", "-r", "reports can wait", "--by", "ana@desk")
    assert (0, "Policy 1 is in force.") == (done.code, done.lines[0])
    assert re.search(r"undo +shedder undo \d+-\d+", done.out)
    shown = invoke("policy", "show")
    assert re.match(r"# policy 1, applied .* by ana@desk: reports can wait", shown.lines[0])
    assert "slack://..." in shown.out
    assert "s3cret" not in shown.out + done.out + invoke("policy", "show", "--json").out
    assert 3 == invoke("policy", "diff").code
    assert "policy apply by ana@desk: reports can wait (0 to 1, 2 differences)" in (invoke("events").out)
    undone = invoke("undo", "-r", "wrong", "--by", "ana@desk")
    assert "Policy 2 is in force, in place of policy 1." == undone.lines[0]


def test_what_is_shown_can_be_applied(invoke, file, tmp_path):
    """The output of show is a policy file."""
    file.write_text(GOOD.partition("[incident]")[0])
    invoke("policy", "apply", "-r", "why")
    (tmp_path / "again.toml").write_text(invoke("policy", "show").out)
    assert 3 == invoke("policy", "diff", "again.toml").code


def test_who_comes_second_is_told(invoke, file, redis):
    """A policy that is based on an older one is refused, with who was faster; force is a word."""
    invoke("policy", "apply", "-r", "why", "--by", "ana@desk")
    file.write_text(GOOD.replace("shed = 1", "shed = 2"))
    done = invoke("policy", "apply", "--based-on", "0", "-r", "why")
    assert 3 == done.code
    assert re.search("ana@desk applied policy 1 at .*, and yours is based on none; nothing was changed", done.err)
    assert 1 == Shedder(redis).policies.applied().number
    assert 2 == invoke("policy", "apply", "--force", "--based-on", "0", "-r", "why").code
    assert 0 == invoke("policy", "apply", "--force", "-r", "why").code


def test_the_json_of_each_verb_is_as_its_schema_says(invoke, file, mail):
    """`--json` of check, diff, apply, show and explain."""
    job = mail.job_ids[0]
    assert [] == invoke("policy", "check", "--json").json["problems"]
    assert 0 == invoke("policy", "diff", "--json").json["number"]
    assert 1 == invoke("policy", "apply", "-r", "why", "--json").json["number"]
    assert "why" == invoke("policy", "show", "--json").json["why"]
    assert job == invoke("policy", "show", "--explain", job, "--json").json["job"]
    assert "policy" == invoke("undo", "-r", "why", "--json").json["kind"]


def test_a_job_is_explained(invoke, file, mail):
    """For each thing that a rule can say: what holds, and which rule said so."""
    file.write_text(GOOD.replace('"reports"', '"mail"'))
    invoke("policy", "apply", "-r", "why")
    done = invoke("policy", "show", "--explain", mail.job_ids[0])
    assert re.search(r"priority +low +1 +queue mail", done.out)
    assert re.search(r"label +nothing +-", done.out)
    assert "Workers of shedder serve mail as low." == done.lines[-1]
    assert 3 == invoke("policy", "show", "--explain", "nobody").code


def test_without_a_policy_show_says_how_to_get_one(invoke):
    """The exit code says that there is none."""
    done = invoke("policy", "show")
    assert (3, True) == (done.code, "shedder policy init" in done.out)


def test_a_first_policy_is_written_from_what_is_there(invoke, tmp_path, monkeypatch, mail):
    """Queues and functions with numbers, as remarks; it is a policy, and overwrites no file."""
    monkeypatch.chdir(tmp_path)
    done = invoke("policy", "init")
    assert (0, "shedder.toml is written; nothing of it is in force yet.") == (
        done.code, done.lines[0],
    )  # fmt: skip
    text = (tmp_path / "shedder.toml").read_text()
    assert '[[rules]]\nqueue = "mail"\n' in text
    assert "# mail: 8 jobs wait" in text
    assert '# function = "tests.cli.jobs.send_newsletter"' in text
    assert 0 == invoke("policy", "check").code
    again = invoke("policy", "init")
    assert (2, True) == (again.code, "--force writes over it" in again.err)
    assert text == (tmp_path / "shedder.toml").read_text()
    (tmp_path / "shedder.toml").write_text("mine")
    assert '"mail"' in invoke("policy", "init", "--force", "--json").json["text"]


def test_a_first_policy_sees_the_middle_of_a_flood_and_what_has_ended(invoke, tmp_path, monkeypatch, redis):
    """Functions behind a hundred newsletters are found, and on a quiet day those that finished or failed."""
    monkeypatch.chdir(tmp_path)
    flood, quiet = Queue("flood", connection=redis), Queue("quiet", connection=redis)
    for function in (jobs.send_newsletter, jobs.send_receipt):
        flood.enqueue_many([Queue.prepare_data(function, (each,)) for each in range(150)])
    quiet.enqueue(jobs.send_receipt)
    quiet.enqueue(jobs.run_until_gone, 5)
    SimpleWorker([quiet], connection=redis).work(burst=True)
    invoke("policy", "init")
    text = (tmp_path / "shedder.toml").read_text()
    assert 2 == text.count('function = "tests.cli.jobs.send_receipt"')
    assert 1 == text.count('function = "tests.cli.jobs.send_newsletter"')
    rule = '# [[rules]]              # 1 of 2 jobs looked at\n# queue = "quiet"\n# function = "tests.cli.jobs.'
    assert f'{rule}run_until_gone"' in text
    assert "# quiet: 0 jobs wait" in text
    assert re.search("# quiet: .*, 1 failed", text)


def test_the_example_of_channels_is_one_and_stands_in_the_docs(invoke, tmp_path, monkeypatch, redis):
    """Turned on, it is a policy whose URLs Apprise knows."""
    lines = CHANNELS_EXAMPLE.splitlines()[1:]
    text = "\n".join(line.removeprefix("# ").removeprefix("#") for line in lines)
    page = (ROOT / "docs" / "how-to" / "tell-others.md").read_text()
    assert f"```toml\n{text}\n```" in page
    monkeypatch.chdir(tmp_path)
    invoke("policy", "init")
    path = tmp_path / "shedder.toml"
    assert CHANNELS_EXAMPLE in path.read_text()
    path.write_text(f"version = 1\n{text}\n")
    assert 0 == invoke("policy", "check").code
    found = read_policy(path).incident.channels
    services = [channels._services(name, urls) for name, urls in found.items()]
    assert [2, 1] == [len(each) for each in services]


def test_a_first_policy_of_strange_names_is_a_policy(invoke, tmp_path, monkeypatch, redis):
    """Whatever queues are called, what is written can be read; a queue that is refused is left out."""
    monkeypatch.chdir(tmp_path)
    for name in ('a "b"', "c\\d", "e[f", "\u90f5\u4fbf", "g\nshed = 1"):
        redis.sadd(f"{RQ_KEY_PREFIX}:queues", f"{RQ_KEY_PREFIX}:queue:{name}")
    invoke("policy", "init")
    done = invoke("policy", "check")
    told = done.out + done.err
    assert ["rules[3].queue"] == re.findall(r"rules\[\d\]\.queue", told), told
    assert 'queue = "g' not in (tmp_path / "shedder.toml").read_text()


REACH = """\
version = 1

[[rules]]
queue = "mail"
function = "*.send_newsletter"
priority = "low"

[[rules]]
queue = "reports"
priority = "low"
"""


def test_who_applies_a_policy_learns_which_queues_have_stock_workers_only(invoke, file, mail):
    """A line for each, with the workers and the lanes in which jobs would wait; until ours come."""
    file.write_text(REACH)
    redis = mail.connection
    for number in range(4):
        SimpleWorker(["mail"], connection=redis, name=f"old-{number}").register_birth()
    SimpleWorker(["reports"], connection=redis, name="old-r").register_birth()
    mail_line = (
        "Only stock workers serve mail (old-0, old-1, old-2 and 1 more), and they keep no priority "
        "of a policy: jobs that go into mail.low wait until a worker of shedder serves mail."
    )
    reports_line = "Only stock workers serve reports (old-r), and they keep no priority"
    told = " ".join(invoke("policy", "apply", "-r", "reviewed").out.split())
    assert (True, True) == (mail_line in told, reports_line in told), told
    OurWorker(["mail", "reports"], connection=redis, name="new-1").register_birth()
    OurWorker(["mail"], connection=redis, name="new-2").register_birth()
    again = invoke("policy", "apply", "-r", "reviewed", "--json").json
    assert [] == again["warnings"]


def test_a_stock_worker_that_names_the_lane_leaves_nobody_waiting(invoke, file, redis):
    """It serves `mail.low` in the place in which it was named, so no job waits for ever."""
    file.write_text(REACH)
    SimpleWorker(["mail", "mail.low"], connection=redis, name="old-1").register_birth()
    warnings = invoke("policy", "apply", "-r", "reviewed", "--json").json["warnings"]
    assert ["Only stock workers serve mail (old-1), and they keep no priority of a policy."] == (warnings)
