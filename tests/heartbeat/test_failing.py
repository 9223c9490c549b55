"""Updates and the status page say of work that fails that it does, with the numbers of the workers."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING

import rq

from shedder.policy.model import Policy, Rule
from shedder.rq import Queue, SimpleWorker
from shedder.selection import Selection
from shedder.units import Rate
from shedder.updates.posting import draft_update, write_page
from shedder.updates.sentences import compose
from shedder.updates.situation import STAKEHOLDERS, MeasuredWorkload, read_situation
from tests.jobs import fail
from tests.rq.documented.functions import add, break_down
from tests.workers import run_burst

if TYPE_CHECKING:
    from pathlib import Path

    from redis import Redis

    from shedder import Shedder

CHARGES = Policy(rules=(Rule(queue="pay", label="card charges"), Rule(queue="mail", label="mails")))
SHARED = Policy(
    rules=(
        Rule(selection=Selection(functions=("*.break_down",)), label="card charges"),
        Rule(selection=Selection(functions=("*.add",)), label="sums"),
    )
)


def work(redis: Redis, *queues: str) -> None:
    run_burst(SimpleWorker(list(queues), connection=redis))


def fill(redis: Redis, queue: str, *, failing: int, well: int) -> None:
    lane = Queue(queue, connection=redis)
    for _ in range(failing):
        lane.enqueue(break_down)
    for number in range(well):
        lane.enqueue(add, number, 1)


def works(shed: Shedder, policy: Policy) -> dict[str, MeasuredWorkload]:
    return {each.noun: each for each in read_situation(shed, policy, None).works}


def test_an_update_says_what_fails(redis: Redis, shed: Shedder) -> None:
    """Nothing waits and nothing is late, and yet it is not well."""
    fill(redis, "pay", failing=9, well=1)
    fill(redis, "mail", failing=0, well=5)
    work(redis, "pay", "mail")
    text = compose(read_situation(shed, CHARGES, None), audience=STAKEHOLDERS)
    want = "Card charges fail: 9 in the last minute, 9 of 10 in the last 5 min. Mails are not affected (none waits)."
    assert text.startswith(want)


def test_failed_work_is_told_for_as_long_as_its_incident(redis: Redis, shed: Shedder) -> None:
    """Also when its lane is empty and no worker serves it any more."""
    fill(redis, "pay", failing=3, well=0)
    work(redis, "pay")
    incident = shed.incidents.open("the card network is away", severity=1).incident
    (found,) = read_situation(shed, CHARGES, incident).works
    assert (3, True, False) == (found.failed, found.is_failing, found.is_well)


def test_kinds_of_work_that_share_a_lane_are_told_apart_by_label(redis: Redis, shed: Shedder) -> None:
    """As workers counted them by the policy in force."""
    shed.policies.apply(SHARED, reason="r")
    fill(redis, "pay", failing=3, well=2)
    work(redis, "pay")
    found = works(shed, SHARED)
    assert {"card charges": (True, 3, False), "sums": (False, 0, True)} == {
        noun: (each.is_failing, each.failed, each.is_well) for noun, each in found.items()
    }


def test_without_counts_by_label_nobody_is_told_to_be_well(redis: Redis, shed: Shedder) -> None:
    """The policy was not in force when the jobs of the lane failed."""
    fill(redis, "pay", failing=3, well=2)
    work(redis, "pay")
    assert {"card charges": (None, False), "sums": (None, False)} == {
        noun: (each.outcomes, each.is_well) for noun, each in works(shed, SHARED).items()
    }


def test_what_failed_before_the_policy_was_in_force_is_not_forgotten(redis: Redis, shed: Shedder) -> None:
    """A label that was counted since does not tell whose the earlier failures are."""
    fill(redis, "pay", failing=3, well=0)
    work(redis, "pay")
    shed.policies.apply(SHARED, reason="r")
    fill(redis, "pay", failing=0, well=2)
    work(redis, "pay")
    assert not works(shed, SHARED)["sums"].is_well


def test_of_jobs_of_stock_workers_the_registries_tell(redis: Redis, shed: Shedder) -> None:
    """Of a lane of its own; of one that work shares, nobody knows whose they are."""
    shed.policies.apply(SHARED, reason="r")
    fill(redis, "pay", failing=3, well=0)
    worker = rq.SimpleWorker(["pay"], connection=redis)
    run_burst(worker)
    worker.register_birth()
    assert works(shed, CHARGES)["card charges"].is_failing
    assert works(shed, SHARED)["sums"].outcomes is None


def test_a_drain_that_was_halted_is_told_as_such(redis: Redis, shed: Shedder) -> None:
    """Its backlog is put aside, and the reason stands with it."""
    fill(redis, "pay", failing=40, well=0)
    shed.divert("pay", reason="r")
    shed.drain("pay", rate=Rate(1000), reason="it is well again")
    work(redis, "pay")
    text = compose(read_situation(shed, CHARGES, None), audience=STAKEHOLDERS)
    assert "card charges are put aside and no longer brought back, because 20 of the last 20 that were let go" in text


def test_an_update_says_how_far_a_retry_is(redis: Redis, shed: Shedder) -> None:
    """How many of those that failed have started after all, and how many of these failed again."""
    fill(redis, "pay", failing=3, well=0)
    work(redis, "pay")
    shed.retry("pay", rate=Rate(1000), reason="it is well again")
    text = compose(read_situation(shed, CHARGES, None), audience=STAKEHOLDERS)
    assert "failed card charges are brought back at up to 1000/second: 0 of 3 have started (" in text
    SimpleWorker(["pay"], connection=redis).work(burst=True, max_jobs=2)
    text = compose(read_situation(shed, CHARGES, None), audience=STAKEHOLDERS)
    assert "2 of 3 have started, and 2 of them failed again (" in text


def test_an_update_says_what_has_started_after_all(redis: Redis, shed: Shedder, tmp_path: Path) -> None:
    """Of the retries of its incident, by kind of work, when their backlogs are empty."""
    shed.policies.apply(CHARGES, reason="r")
    incident = shed.incidents.open("charges fail", severity=2).incident
    for number in range(3):
        Queue("pay", connection=redis).enqueue(fail, str(tmp_path / "marks"), str(number), 1)
    work(redis, "pay")
    shed.retry("pay", rate=Rate(1000), first=1, reason="a canary")
    shed.retry("pay", rate=Rate(1000), reason="it is well again")
    assert "tarted after all" not in drafted(shed, incident.id)
    work(redis, "pay")
    assert "Started after all: 3 failed card charges." in drafted(shed, incident.id)


def drafted(shed: Shedder, incident: str) -> str:
    found = shed.incidents.read(incident)
    return draft_update(shed, CHARGES, found, audience=STAKEHOLDERS, now=shed.incidents.now()).text


def test_the_page_says_what_fails(redis: Redis, shed: Shedder, tmp_path: Path) -> None:
    """In its headline, in its line, and for programs."""
    fill(redis, "pay", failing=4, well=0)
    work(redis, "pay")
    write_page(tmp_path, read_situation(shed, CHARGES, None), None)
    page = (tmp_path / "index.html").read_text()
    assert "<h1>Some work fails</h1>" in page
    assert "failing: 4 in the last minute" in page
    (told,) = json.loads((tmp_path / "status.json").read_text())["works"]
    assert ("failing", 4) == (told["state"], told["failed_in_minute"])


def test_the_page_knows_when_it_knows_nothing(shed: Shedder, tmp_path: Path) -> None:
    """Without a queue nothing is well."""
    write_page(tmp_path, read_situation(shed, Policy(), None), None)
    assert "All is well" not in (tmp_path / "index.html").read_text()


def test_the_numbers_behind_an_update_stand_in_its_event(redis: Redis, shed: Shedder) -> None:
    """The post-mortem may read them."""
    from shedder.updates.posting import draft_update, post_update

    fill(redis, "pay", failing=2, well=0)
    work(redis, "pay")
    incident = shed.incidents.open("r", severity=1).incident
    draft = draft_update(shed, CHARGES, incident, audience=STAKEHOLDERS, now=incident.opened_at + timedelta(minutes=1))
    event = post_update(shed, incident.id, draft).event
    assert [2] == [each["failed"] for each in shed.event(event).details["works"]]
