"""What `divert` does and says."""

from __future__ import annotations

import re
import shlex

import pytest
from rq.defaults import RQ_KEY_PREFIX

from shedder import Selection, Shedder
from shedder.cli.progress import Failing
from shedder.policy.model import Policy, Rule
from shedder.queues.divert import scan_lane
from shedder.rq import Queue, SimpleWorker
from tests.cli import jobs
from tests.cli.programs import Terminal
from tests.workers import run_burst

NEWSLETTERS = "*.send_newsletter"


def backlog_of(invoke, lane):
    status = invoke("status", lane, "--json").json
    return sum(each["backlog"] for each in status["lanes"])


def test_a_lane_goes_to_the_backlog(invoke, mail):
    """The receipt tells how many went, how many stay, and how to bring them back."""
    done = invoke("divert", "mail", "--priority", "low", "-r", "only receipts now")
    assert 0 == done.code
    assert "5 jobs of mail.low went to the backlog; none waits." == done.lines[0]
    assert "What still arrives goes there too: every job." == done.lines[1]
    assert "bring back  shedder drain mail.low --rate 200/second" in done.lines
    assert re.search(r"undo +shedder undo [0-9]+-[0-9]+\n", done.out)
    assert 5 == backlog_of(invoke, "mail")


def test_a_selection_takes_what_it_names(invoke, redis):
    """Functions, fields of the meta and age narrow a divert, together."""
    queue = Queue("mail", connection=redis)
    queue.enqueue(jobs.send_newsletter, meta={"tenant": "acme"})
    queue.enqueue(jobs.send_newsletter, meta={"tenant": "umbrella"})
    queue.enqueue(jobs.send_receipt, meta={"tenant": "acme"})
    done = invoke(
        "divert", "mail", "--function", NEWSLETTERS, "--meta", "tenant=acme", "--older-than", "1ms",
        "-r", "acme floods us", "--json",
    )  # fmt: skip
    assert 1 == done.json["moved"]
    assert 1 == backlog_of(invoke, "mail")


def test_several_priorities_of_several_queues(invoke, redis, mail):
    """`--priority` turns each queue into these lanes."""
    Queue("reports", connection=redis).enqueue(jobs.send_receipt)
    done = invoke("divert", "mail", "reports", "--priority", "low", "--priority", "normal", "-r",
                  "why", "--json")  # fmt: skip
    moved = {lane["lane"]: lane["moved"] for lane in done.json["lanes"]}
    assert {"mail.low": 5, "mail": 3, "reports.low": 0, "reports": 1} == moved


def test_a_priority_that_contradicts_a_lane_is_refused(invoke, mail):
    """mail.low has one priority already."""
    done = invoke("divert", "mail.low", "--priority", "high", "-r", "why")
    assert 2 == done.code
    assert "use low, which mail.low is, or name the queue mail" in done.err


def test_a_dry_run_counts_and_changes_nothing(invoke, redis, mail):
    """What would go is told by function, with the command that does it, and no reason is needed."""
    done = invoke("divert", "mail", "--function", NEWSLETTERS, "--dry-run")
    assert 0 == done.code
    assert "5 of 8 jobs in mail would go to the backlog" in done.lines[0]
    assert re.search(r"tests\.cli\.jobs\.send_newsletter +5", done.out)
    line = next(line for line in done.lines if line.startswith("do it"))
    assert ["shedder", "divert", "mail", "--function", NEWSLETTERS] == shlex.split(line)[2:]
    assert not redis.exists(f"{RQ_KEY_PREFIX}:shedder:diverts", f"{RQ_KEY_PREFIX}:shedder:events")


def test_a_dry_run_of_a_whole_queue_ends_with_the_divert_of_its_largest_function(invoke, mail):
    """The command to copy leaves the receipts; of a lane that was chosen it takes all."""
    done = invoke("divert", "mail", "--dry-run")
    assert "divert most of it  shedder divert mail --function tests.cli.jobs.send_newsletter" == done.lines[-1]
    done = invoke("divert", "mail", "--priority", "normal", "--dry-run")
    assert "do it  shedder divert mail.normal" == done.lines[-1]
    done = invoke("divert", "mail", "--older-than", "1ms", "--dry-run")
    assert "do it  shedder divert mail --older-than 1ms" == done.lines[-1]


def test_a_dry_run_that_finds_nothing_says_what_is_there(invoke, mail):
    """Exit 3, the functions that wait there instead, and what comes next."""
    done = invoke("divert", "mail", "--function", "app.news.*", "-n")
    assert 3 == done.code
    assert "Nothing that waits in mail matches: function app.news.*." == done.lines[0]
    assert re.search(r"tests\.cli\.jobs\.send_newsletter +5", done.out)
    assert re.search(r"tests\.cli\.jobs\.send_receipt +3", done.out)
    assert "divert what arrives  shedder divert mail --function 'app.news.*'" in done.lines


def test_a_divert_that_moves_nothing_stands_for_what_arrives(invoke, redis, mail):
    """It is in force, says so, and says what waits there instead; exit 0."""
    done = invoke("divert", "mail", "--meta", "tenant=acme", "-r", "why")
    assert 0 == done.code
    assert ("mail is diverted from now on; nothing that waits matches, so no job was moved.") == done.lines[0]
    assert re.search(r"tests\.cli\.jobs\.send_receipt +3", done.out)
    Queue("mail", connection=redis).enqueue(jobs.send_receipt, meta={"tenant": "acme"})
    assert 1 == backlog_of(invoke, "mail")


@pytest.fixture
def shedding(redis, mail):
    """A policy says that receipts, and before them the low lane's newsletters, may be shed."""
    rules = (
        Rule(queue="mail", selection=Selection(functions=("*.send_receipt",)), shed=2),
        Rule(
            queue="m*", selection=Selection(functions=("*.send_newsletter",)), shed=1,
            label="newsletters",
        ),
        Rule(queue="nobody", shed=1),
    )  # fmt: skip
    Shedder(redis).policies.apply(Policy(rules=rules), reason="setup")


def test_shed_follows_the_policy_in_its_order(invoke, redis, shedding):
    """Its rules are one divert, which one undo ends; a dry run shows them one by one."""
    dry = invoke("shed", "--dry-run")
    assert 0 == dry.code
    assert [
        "8 jobs would go to the backlog, by 2 rules of the policy.",
        "1. newsletters: 5 jobs of mail",
        "2. queue mail, function *.send_receipt: 3 jobs of mail",
    ] == dry.lines[:3]
    assert not redis.exists(f"{RQ_KEY_PREFIX}:shedder:diverts")
    done = invoke("shed", "-r", "why")
    assert 0 == done.code
    assert "8 jobs went to the backlog, by 2 rules of the policy." == done.lines[0]
    assert "1. newsletters and 1 rule more: 8 jobs of mail" == done.lines[1]
    told = [event.details["selection"] for event in Shedder(redis).events()
            if event.verb == "divert"]  # fmt: skip
    assert ["function *.send_newsletter or *.send_receipt"] == told
    (event,) = re.findall(r"undo +shedder undo (\d+-\d+)", done.out)
    assert 0 == invoke("undo", event, "-r", "why").code
    assert not redis.exists(f"{RQ_KEY_PREFIX}:shedder:diverts")


def test_shedding_by_policy_as_json(invoke, shedding):
    """The diverts with their receipts, or by rule what would be done."""
    dry = invoke("shed", "-n", "--json").json
    assert [5, 3] == [step["preview"]["taken"] for step in dry["steps"]]
    done = invoke("shed", "-r", "why", "--json").json
    assert [(8, [2, 1])] == [(step["receipt"]["moved"], step["rules"]) for step in done["steps"]]


def test_shed_without_a_policy_says_how_to_get_one(invoke, redis, mail):
    """Nothing is diverted that nobody has declared."""
    done = invoke("shed", "-r", "why")
    assert 2 == done.code
    assert "shedder policy init" in done.err
    assert not redis.exists(f"{RQ_KEY_PREFIX}:shedder:diverts")


def test_shedding_is_confirmed_on_a_terminal(env, redis, shedding):
    """`shed` shows kinds and counts and asks; a no changes nothing; --yes is not asked."""
    with Terminal("shed", "-r", "why", env=env) as terminal:
        terminal.wait_for("1. newsletters: 5 jobs of mail", "Divert these jobs? [y/N]")
        terminal.type("n\n")
        assert 1 == terminal.end()
        assert "nothing was changed, because you said no" in terminal.text
    assert not redis.exists(f"{RQ_KEY_PREFIX}:shedder:diverts")
    with Terminal("shed", "--yes", "-r", "why", env=env) as terminal:
        assert 0 == terminal.end()


def test_all_that_once_meant_the_policy_is_refused_until_it_is_meant(invoke, redis, shedding):
    """A script of before 0.2 diverts nothing by surprise; `--force` diverts every job."""
    done = invoke("divert", "--all", "--yes", "-r", "why")
    assert 2 == done.code
    assert "to divert what the policy allows: shedder shed; --force diverts every job" in done.err
    assert not redis.exists(f"{RQ_KEY_PREFIX}:shedder:diverts")
    done = invoke("divert", "--all", "--force", "-r", "why")
    assert 0 == done.code
    assert "warning: divert --all now diverts every job of every queue" in done.err
    assert done.lines[0].endswith("to the backlog; none waits.")


def test_all_that_once_meant_the_policy_is_asked_on_a_terminal(env, redis, shedding):
    """A person reads what it means now before they say yes."""
    with Terminal("divert", "--all", "-r", "why", env=env) as terminal:
        terminal.wait_for("to divert what the\n  policy allows: shedder shed", "of ALL queues (mail)? [y/N]")
        terminal.type("n\n")
        assert 1 == terminal.end()
    assert not redis.exists(f"{RQ_KEY_PREFIX}:shedder:diverts")


def test_all_with_a_selector_is_what_it_was(env, redis, mail):
    """It diverts these jobs of every queue, after a question, whatever the policy says."""
    with Terminal("divert", "--all", "--function", "*.send_receipt", "-r", "why", env=env) as (terminal):
        terminal.wait_for("of ALL queues (mail)? [y/N]")
        terminal.type("y\n")
        assert 0 == terminal.end()


def test_ctrl_c_in_the_middle_says_that_the_order_stands(invoke, mail):
    """What was looked at is told, nothing is lost, and said again it goes on."""
    words = ("divert", "mail.low", "--function", NEWSLETTERS, "-r", "why")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("shedder.queues.divert.JOBS_PER_STEP", 2)
        patch.setattr("shedder.queues.divert.scan_lane", once(scan_lane))
        done = invoke(*words)
    assert 130 == done.code
    assert "mail.low is diverted, and 2 of 5 waiting jobs were looked at" in done.err
    assert 2 == backlog_of(invoke, "mail")
    assert 0 == invoke(*words).code
    assert 5 == backlog_of(invoke, "mail")


def once(function):
    """`function` for one call, and Ctrl-C at the next."""
    left = [function]

    def call(*words, **more):
        if not left:
            raise KeyboardInterrupt
        return left.pop()(*words, **more)

    return call


def test_a_long_scan_shows_its_progress_on_a_terminal(env, redis):
    """A bar on standard error says how many jobs were looked at; a pipe has none."""
    queue = Queue("mail", connection=redis)
    data = [Queue.prepare_data(jobs.send_receipt, (each,)) for each in range(2000)]
    queue.enqueue_many(data)
    with Terminal("divert", "mail", "--function", "*", "-r", "why", env=env) as terminal:
        assert 0 == terminal.end()
        assert re.search(r"diverting mail: [\d,]+ of 2,000", terminal.text)
        assert "2,000 jobs of mail went to the backlog" in terminal.text


def test_the_bar_tells_what_fails_meanwhile(redis):
    """Behind the numbers of a long divert stands what fails in its lanes, and nothing where nothing does."""
    shed = Shedder(redis)
    for _ in range(10):
        Queue("cards", connection=redis).enqueue(jobs.charge_card)
    run_burst(SimpleWorker(["cards"], connection=redis))
    assert re.fullmatch(r", \S+/s fail: ConnectionError", Failing(shed, ["cards"]).said())
    assert "" == Failing(shed, ["mail"]).said()
