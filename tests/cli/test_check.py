"""What `shedder check` says to a monitor."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from rq.defaults import RQ_KEY_PREFIX
from rq.utils import utcformat

from shedder import Selection, Shedder
from shedder.policy.model import Policy, Rule
from shedder.rq import Queue, SimpleWorker, Worker
from shedder.units import Rate
from tests import crowds
from tests.cli import jobs
from tests.cli.conftest import start_worker
from tests.waiting import wait_until
from tests.workers import run_burst

RECEIPTS = Rule(
    queue="mail", selection=Selection(functions=("*.send_receipt",)), label="receipt e-mails",
    tolerance=timedelta(minutes=10),
)  # fmt: skip
WHOLE = Rule(queue="mail", label="all mail", tolerance=timedelta(hours=4))


@pytest.fixture
def operator(redis):
    """An operator with a policy that tolerates ten minutes for receipts and hours for the rest."""
    shedder = Shedder(redis, by="oncall@ops")
    shedder.policies.apply(Policy(rules=(RECEIPTS, WHOLE)), reason="setup")
    return shedder


def make_old(redis, job, **age):
    then = datetime.now(UTC) - timedelta(**age)
    redis.hset(job.key, "enqueued_at", utcformat(then))


def test_all_is_well(invoke, redis, operator, mail, background):
    """One line with numbers, and exit 0."""
    operator.pause("mail", reason="why")
    start_worker(background, redis, "mail")
    done = invoke("check")
    assert 1 == len(done.lines)
    assert (0, True) == (done.code, done.out.startswith("SHEDDER OK - ")), done.out
    assert re.search(r"\| waiting=8 backlog=0 late=0 failed=0$", done.lines[0])


def test_late_work_has_its_noun(invoke, redis, operator, mail):
    """A late receipt behind a young newsletter is told, in the policy's words; by status too."""
    queue = Queue("mail", connection=redis)
    queue.normal.enqueue(jobs.send_newsletter, at_front=True)
    make_old(redis, queue.normal.enqueue(jobs.send_receipt), minutes=25)
    done = invoke("check", "mail")
    assert 3 == done.code
    assert "receipt e-mails are late: the oldest waits 25m in mail, tolerated are 10m" in done.out
    assert "late=1" in done.out
    assert "receipt e-mails are late: the oldest waits 25m in mail" in invoke("status").out
    found = invoke("check", "--json").json
    assert ("late", "mail") == (found["problems"][0]["kind"], found["problems"][0]["target"])
    late = next(lane for lane in invoke("status", "--json").json["lanes"] if lane["late"])
    assert ("receipt e-mails", 600.0) == (late["late"][0]["noun"], late["late"][0]["tolerance"])


def test_receipts_behind_a_flood_are_late_in_each_answer(invoke, redis):
    """29,659 newsletters stand in front of 320 receipts: no command says that these are on time."""
    operator = Shedder(redis, by="oncall@ops")
    operator.policies.apply(crowds.POLICY, reason="setup")
    crowds.put(redis, operator.keys, crowds.behind_newsletters())
    invoke("incident", "open", "receipts", "--severity", "2", "--by", "oncall@ops")
    for words in (("status",), ("check",), ("triage",), ("plan",)):
        said = " ".join(invoke(*words).out.split())
        assert "receipts are late: the oldest waits 5m" in said, words
        assert "newsletters are late" not in said, words
    draft = invoke("incident", "update", "--preview").out
    assert re.search(r"Receipts: \d+ to \d+ delayed", " ".join(draft.split())), draft


def test_work_that_may_be_late_is_a_warning(invoke, redis):
    """What is not known is not told as well, nor as wrong."""
    operator = Shedder(redis, by="oncall@ops")
    operator.policies.apply(crowds.POLICY, reason="setup")
    crowds.put(redis, operator.keys, [crowds.Person("newsletters", crowds.ago(minutes=6)) for _ in range(6_500)])
    Worker(["mail"], name="w", connection=redis).register_birth()
    done = invoke("check")
    assert (3, True) == (
        done.code,
        done.out.startswith("SHEDDER WARNING - receipts may be late: the oldest job of mail"),
    )
    assert "give them a priority of their own" in done.out


def test_where_no_tolerance_is_known_nothing_is_said_of_lateness(invoke, redis, background, mail):
    """Without a policy nobody knows how long a job may wait, and the line says so."""
    start_worker(background, redis, "mail")
    Shedder(redis, by="oncall@ops").pause("mail", reason="why")
    said = invoke("check").out
    assert "no policy says how long jobs of mail may wait" in said
    assert "nothing is late" not in said


def test_what_is_diverted_is_late_too(invoke, redis, operator, mail):
    """The customer does not care where the job waits."""
    make_old(redis, Queue("mail", connection=redis).normal.enqueue(jobs.send_receipt), minutes=25)
    operator.divert("mail", reason="why")
    assert "receipt e-mails are late" in invoke("check").out


def test_another_function_has_its_queues_tolerance(invoke, redis, operator):
    """Newsletters may wait for hours."""
    job = Queue("mail", connection=redis).enqueue(jobs.send_newsletter)
    make_old(redis, job, minutes=25)
    assert "late=0" in invoke("check").out
    make_old(redis, job, hours=5)
    assert "all mail are late: the oldest waits 5h in mail, tolerated are 4h" in invoke("check").out


def test_a_lane_without_a_worker(invoke, operator, mail):
    """Jobs that nobody will take are worth a call."""
    done = invoke("check")
    assert 3 == done.code
    assert "mail has 3 jobs and no worker" in done.out


def charge(redis, count):
    """Let a worker of ours fail so many charges."""
    queue = Queue("cards", connection=redis)
    for _ in range(count):
        queue.enqueue(jobs.charge_card)
    run_burst(SimpleWorker(["cards"], connection=redis))


def test_work_that_fails(invoke, redis, operator):
    """It is named, in the policy's words too, and a script can tell; what it says is never personal."""
    charges = Rule(queue="cards", label="card charges")
    operator.policies.apply(Policy(rules=(charges,)), reason="setup")
    charge(redis, 30)
    done = invoke("check")
    assert 3 == done.code
    assert done.out.startswith("SHEDDER CRITICAL - 3/s of cards fail: 30 of 30 jobs in 5m, most often ConnectionError")
    assert "; 3/s of card charges fail: 30 of 30 jobs in 5m, most often ConnectionError. Run `shedder tri" in done.out
    assert done.out.rstrip().endswith("failed=30")
    assert "example.com" not in done.out
    found = invoke("check", "--json").json
    kinds = [("fails", "cards"), ("fails", "card charges")]
    assert kinds == [(each["kind"], each["target"]) for each in found["problems"] if each["kind"] == "fails"]


def test_a_few_failures_are_counted(invoke, redis, operator):
    """They are no problem, and are not hidden."""
    charge(redis, 3)
    done = invoke("check")
    assert 0 == done.code
    assert "SHEDDER OK - 1 lane, nothing is late or forgotten, 3 of 3 jobs failed in 5m | " in done.out


def test_a_drain_that_halted(invoke, redis, operator):
    """The command that goes on is there."""
    operator.divert("cards.normal", reason="why")
    queue = Queue("cards", connection=redis)
    for _ in range(25):
        queue.enqueue(jobs.charge_card)
    operator.drain("cards.normal", rate=Rate(1000), reason="why")
    wait_until(lambda: run_burst(SimpleWorker(["cards"], connection=redis)) and halted(operator), what="the halt")
    done = invoke("check")
    assert 3 == done.code
    assert "The drain of cards halted " in done.out
    assert "Run `shedder drain cards.normal --rate 1000/second` to go on when the cause is gone" in done.out
    assert ["drain halted"] == [each["kind"] for each in invoke("check", "--json").json["problems"]
                                if each["target"] == "cards" and each["kind"] != "fails"][:1]  # fmt: skip
    shown = invoke("status").out
    assert re.search(r"^cards .* diverted, drain halted$", shown, re.MULTILINE)
    assert re.search(r"5 jobs in the backlog, its drain has halted\]", shown)


def halted(operator):
    return "drain halted" in {event.verb for event in operator.events()}


def test_jobs_that_run_and_of_which_none_has_ended(invoke, redis, operator, background, gate):
    """Nobody knows whether they will succeed, and so it does not say OK."""
    Queue("mail", connection=redis).enqueue(jobs.run_until_gone, str(gate))
    start_worker(background, redis, "mail")
    wait_until(lambda: any(lane.running for lane in operator.status().lanes), what="the job")
    done = invoke("check")
    assert 0 == done.code
    assert done.out.startswith(
        "SHEDDER UNKNOWN - 4 lanes, nothing is late or forgotten, no job ended in 5m; not known:"
    )
    assert (
        "not known: whether the 1 job of mail that runs ends well, since none is known to have ended there for 5m |"
        in done.out
    )


def test_stock_workers_count_nothing(invoke, redis, operator, background):
    """What they do is told by RQ's registries, which is said."""
    Queue("mail", connection=redis).enqueue(jobs.send_receipt)
    start_worker(background, redis, "mail", stock=True)
    wait_until(lambda: operator.status("mail.normal").lanes[0].outcomes.ended_lately == 1, what="the end")
    done = invoke("check")
    assert 0 == done.code
    assert "not known: how many jobs of mail fail, beyond what RQ's registries tell, since stock workers" in done.out


def test_a_control_that_was_forgotten(invoke, operator, redis):
    """Pauses, diverts, flags and limits that are older than they should be."""
    redis.sadd(f"{RQ_KEY_PREFIX}:queues", f"{RQ_KEY_PREFIX}:queue:mail")
    operator.pause("mail.normal", reason="why")
    operator.divert("mail.normal", reason="why")
    operator.degrade_flag("hints", reason="why", force=True)
    assert 0 == invoke("check").code
    done = invoke("check", "--older-than", "1ms", "--json")
    assert 3 == done.code
    assert [("old control", "mail"), ("old control", "mail"), ("old control", "hints")] == [
        (each["kind"], each["target"]) for each in done.json["problems"]
    ]


def test_without_redis_the_exit_code_is_its_own(invoke):
    """A monitor can tell a server that is away from work that is late."""
    assert 4 == invoke("check", "-u", "redis://127.0.0.1:1").code
