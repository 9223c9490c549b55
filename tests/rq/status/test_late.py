"""What a status says of late work is true, however many jobs wait and whatever they are."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import TYPE_CHECKING
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shedder import Selection, Shedder
from shedder.policy.lateness import Late, interval
from shedder.status import looks
from shedder.status.findings import check_status
from shedder.updates.sentences import compose
from shedder.updates.situation import STAKEHOLDERS, read_situation
from tests.crowds import NOUNS, POLICY, Person, ago, behind_newsletters, crowd, late_among, put

if TYPE_CHECKING:
    from redis import Redis

    from shedder.embedded import EmbeddedServer

STATES = pytest.mark.parametrize("states", [100, pytest.param(400, marks=pytest.mark.long)])
"""Random states that are judged."""

LANES = pytest.mark.parametrize("lanes", [10, pytest.param(50, marks=pytest.mark.long)])
"""Mixed lanes whose late jobs are counted."""

LITTLE = 300
"""So little work that of most lists only some jobs are looked at."""


@pytest.fixture
def operator(redis: Redis) -> Shedder:
    """An operator whose policy tolerates five minutes for receipts and hours for newsletters."""
    shedder = Shedder(redis, by="oncall@desk")
    shedder.policies.apply(POLICY, reason="setup")
    return shedder


def late_of(operator: Shedder) -> dict[str, Late]:
    return {late.noun: late for lane in operator.status("mail").lanes for late in lane.late}


def test_receipts_behind_newsletters_are_late_in_each_answer(redis: Redis, operator: Shedder) -> None:
    """With 29,659 newsletters in front of them, late receipts are told by all that tells of late work."""
    put(redis, operator.keys, behind_newsletters())
    status = operator.status(policy=POLICY)
    late = late_of(operator)["receipts"]
    assert (True, ["receipts"]) == (late.is_certain, list(late_of(operator)))
    assert late.least <= 46 <= late.count + late.error < 1_000
    assert late.least >= 35
    assert ["late"] == [problem.kind for problem in check_status(status).problems if "late" in problem.kind]
    protect = next(step for step in operator.triage(POLICY).steps if step.name == "protect")
    assert ("open", True) == (protect.state, "receipts are late" in protect.finding)
    situation = read_situation(operator, POLICY, None)
    assert f"Receipts: {late.least} to " in compose(situation, audience=STAKEHOLDERS)
    assert "receipts are not affected" not in compose(situation, audience=STAKEHOLDERS).lower()


def test_what_was_not_looked_at_may_be_late(redis: Redis, operator: Shedder) -> None:
    """Few receipts among many newsletters are not seen, and no answer says that they are on time."""
    jobs = [Person("newsletters", ago(minutes=6)) for _ in range(20_000)]
    jobs[12_345] = Person("receipts", ago(minutes=6))
    put(redis, operator.keys, jobs)
    late = late_of(operator)["receipts"]
    assert (False, 0) == (late.is_certain, late.seen)
    found = check_status(operator.status("mail"))
    assert (False, ["may be late"]) == (found.is_good, [each.kind for each in found.problems if "late" in each.kind])
    assert "receipts may be late: the oldest job of mail waits 6m" in found.problems[-1].text
    text = compose(read_situation(operator, POLICY, None), audience=STAKEHOLDERS)
    assert "Receipts: whether any is late is not known" in text


def test_young_jobs_need_no_second_look(redis: Redis, operator: Shedder) -> None:
    """While no job is older than the shortest tolerance, nothing is late, and that is known."""
    put(redis, operator.keys, [Person("newsletters", ago(minutes=4)) for _ in range(5_000)])
    assert {} == late_of(operator)


def test_jobs_whose_data_tell_nothing_may_be_anything(redis: Redis, operator: Shedder) -> None:
    """A job that cannot be read and has waited too long for a receipt may be one."""
    (job,) = put(redis, operator.keys, [Person("newsletters", ago(minutes=6), is_ours=False)])
    assert {} == late_of(operator)
    redis.hset(operator.keys.engine.jobs + job, "data", "of another serializer")
    assert {"receipts": False} == {noun: late.is_certain for noun, late in late_of(operator).items()}


def test_thousands_of_old_jobs_of_another_kind_leave_no_doubt(redis: Redis, operator: Shedder) -> None:
    """Up to 4,000 old jobs are looked at one and all, and one receipt among them is found."""
    jobs = [Person("newsletters", ago(minutes=6)) for _ in range(3_950)]
    put(redis, operator.keys, jobs)
    assert {} == late_of(operator)
    redis.flushall()
    operator.policies.apply(POLICY, reason="setup")
    put(redis, operator.keys, [*jobs[:3_333], Person("receipts", ago(minutes=6)), *jobs[3_333:]])
    late = late_of(operator)["receipts"]
    assert (1, 0, True) == (late.count, late.error, late.is_certain)


def test_few_old_jobs_in_several_lists_leave_no_doubt(redis: Redis, operator: Shedder) -> None:
    """What a lane and its backlog have together is looked at one and all, as long as it is not much."""
    put(redis, operator.keys, [Person("newsletters", ago(minutes=6)) for _ in range(1_500)])
    put(redis, operator.keys, [Person("reports", ago(minutes=6)) for _ in range(3_000)], first="report")
    operator.divert("mail", selection=Selection(functions=("app.reports.*",)), reason="r")
    assert {} == late_of(operator)


def test_jobs_that_are_alike_are_late_from_their_tolerance_on(redis: Redis, operator: Shedder) -> None:
    """Of jobs of one function, those that have waited too long are counted, and the oldest of them is told."""
    reports = [Person("reports", ago(minutes=age)) for age in (20, 45, 50, 40, 10, 8)]
    jobs = put(redis, operator.keys, reports)
    redis.hset(operator.keys.engine.jobs + jobs[3], "enqueued_at", ago(minutes=41).strftime("%Y-%m-%dT%H:%M:%SZ"))
    late = late_of(operator)["reports"]
    assert (3, 0, 6, reports[2].enqueued) == (late.count, late.error, late.seen, late.oldest)


def test_late_jobs_of_a_backlog_are_late(redis: Redis, operator: Shedder) -> None:
    """A divert puts a receipt aside, and it is as late as before."""
    put(redis, operator.keys, [Person("receipts", ago(minutes=6)) for _ in range(7)])
    operator.divert("mail", selection=Selection(functions=("app.receipts.*",)), reason="r")
    assert (7, 0) == (late_of(operator)["receipts"].count, late_of(operator)["receipts"].error)


def test_a_backlog_of_other_work_raises_no_doubt(redis: Redis, operator: Shedder) -> None:
    """Newsletters that were put aside are no reason to doubt that receipts are on time."""
    put(redis, operator.keys, [Person("newsletters", ago(minutes=6)) for _ in range(6_500)])
    assert ["receipts"] == list(late_of(operator))
    operator.divert("mail", selection=Selection(functions=("app.newsletters.*",)), reason="r")
    assert {} == late_of(operator)
    assert (
        "newsletters: about 6,500 on hold"
        in compose(read_situation(operator, POLICY, None), audience=STAKEHOLDERS).lower()
    )
    assert "not known" not in compose(read_situation(operator, POLICY, None), audience=STAKEHOLDERS)


@given(seed=st.integers(0, 2**32), work=st.sampled_from([looks.WORK, LITTLE]))
def test_no_late_work_is_called_on_time(server: EmbeddedServer, seed: int, work: int) -> None:
    """Where more than one in a hundred jobs of a kind is late, the status says that it is, or may be."""
    with server.client() as client, mock.patch.object(looks, "WORK", work):
        silent, _ = judged(client, Random(seed))
    assert [] == silent


@STATES
def test_what_is_called_late_is_late_and_few_states_are_in_doubt(redis: Redis, states: int) -> None:
    """No random state raises a false alarm; where nothing is late, one in a hundred at most may be said to be late."""
    alarms = Counter(alarm for seed in range(states) for alarm in set(judged(redis, Random(seed))[1]))
    assert alarms["late"] == 0
    assert alarms["may be late"] <= states / 100


def test_what_is_called_late_by_a_few_looks_is_late(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """No random state raises a false alarm where only some of its old jobs are looked at."""
    monkeypatch.setattr(looks, "WORK", LITTLE)
    assert "late" not in {alarm for seed in range(60) for alarm in judged(redis, Random(seed))[1]}


def judged(redis: Redis, random: Random) -> tuple[list[str], list[str]]:
    """Kinds that are late in a random state and not told, and how kinds are told that are not late."""
    redis.flushall()
    operator = Shedder(redis, by="oncall@desk")
    operator.policies.apply(POLICY, reason="setup")
    jobs = crowd(random)
    put(redis, operator.keys, jobs)
    if random.random() < 0.3:
        operator.divert("mail", selection=Selection(functions=(f"app.{random.choice(list(NOUNS))}.*",)), reason="r")
    status = operator.status("mail")
    told = {late.noun: late for lane in status.lanes for late in lane.late}
    truth = {noun: late_among(jobs, noun, status.at) for noun in NOUNS}
    silent = [noun for noun, (late, of) in truth.items() if late > of / 100 and noun not in told]
    return silent, ["late" if each.is_certain else "may be late" for noun, each in told.items() if not truth[noun][0]]


@LANES
def test_the_number_of_late_jobs_is_within_its_error(redis: Redis, monkeypatch: pytest.MonkeyPatch, lanes: int) -> None:
    """Of ten mixed lanes, the truth lies outside of the error in one at most."""
    monkeypatch.setattr(looks, "WORK", LITTLE)
    outside = 0
    for seed in range(lanes):
        redis.flushall()
        operator = Shedder(redis, by="oncall@desk")
        operator.policies.apply(POLICY, reason="setup")
        random = Random(seed)
        share = random.choice([0.02, 0.2, 0.5])
        ages = sorted((random.uniform(0, 1_200) for _ in range(3_000)), reverse=True)
        jobs = [Person("receipts" if random.random() < share else "newsletters", ago(seconds=age)) for age in ages]
        put(redis, operator.keys, jobs)
        status = operator.status("mail")
        (late,) = (late for lane in status.lanes for late in lane.late)
        want, _ = late_among(jobs, "receipts", status.at)
        assert late.error > 0
        outside += not late.count - late.error <= want <= late.count + late.error
    assert outside <= lanes / 10


@pytest.mark.parametrize(("found", "of", "want"), [
    (7, 50, (0.05819170033997342, 0.26739600249700846)), (0, 100, (0.0, 0.03621669)), (100, 100, (0.96378331, 1.0)),
    (1_500, 3_000, (0.48194877, 0.51805123)), (3, 3_000, (0.00020627, 0.00291962)),
])  # fmt: skip
def test_the_interval_of_a_share_is_that_of_clopper_and_pearson(found: int, of: int, want: tuple[float, float]) -> None:
    """As tables and other programs have it, for rare kinds too."""
    assert pytest.approx(want, abs=1e-6) == interval(found, of)[1:]


def test_a_script_that_the_server_does_not_know_is_sent_again(redis: Redis, operator: Shedder) -> None:
    """After a restart or a flush of its scripts, a status is read as before."""
    put(redis, operator.keys, [Person("receipts", ago(minutes=6))])
    redis.script_flush()
    assert 1 == late_of(operator)["receipts"].count
