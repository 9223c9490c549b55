"""What follows from a policy, for a job and for a queue."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from shedder.lanes import Lane
from shedder.policy.model import IncidentPolicy, Mitigation, Policy, Rule
from shedder.selection import Selection

REPORTS = Rule(
    queue="reports", selection=Selection(functions=("app.reports.*",)), priority="low", shed=2,
    label="monthly reports", tolerance=timedelta(minutes=10),
)  # fmt: skip
ACME = Rule(queue="*", selection=Selection(meta=(("tenant", "acme"),)), priority="high")
OLD = Rule(queue="old-*", priority="low", shed=1)
LATE = Rule(queue="reports", label="other work")


def lane(policy: Policy, queue: str, function: str | None = None, **meta: str) -> str:
    return policy.lane_for(queue, function=function, meta=meta).name


def test_the_first_rule_that_matches_decides_each_thing_that_it_says() -> None:
    """A later rule decides only what the earlier ones that match say nothing of."""
    policy = Policy(rules=(ACME, REPORTS, LATE))
    job: dict[str, Any] = {
        "queue": "reports", "function": "app.reports.monthly", "meta": {"tenant": "acme"},
    }  # fmt: skip
    decided = {
        saying: policy.rule_for(saying, **job) for saying in ("priority", "label", "shed")
    }  # fmt: skip
    assert {"priority": (1, ACME), "label": (2, REPORTS), "shed": (2, REPORTS)} == decided


def test_a_job_goes_to_the_lane_of_its_rule() -> None:
    """Function, meta and queue must all match; a function that is not known matches no glob."""
    policy = Policy(rules=(REPORTS, ACME))
    assert "reports.low" == lane(policy, "reports", "app.reports.monthly")
    assert "reports" == lane(policy, "reports", "app.other.work")
    assert "reports" == lane(policy, "reports", None)
    assert "mail" == lane(policy, "mail", "app.reports.monthly")
    assert "mail.high" == lane(policy, "mail", "app.mail.send", tenant="acme")


def test_a_queue_that_is_declared_as_a_whole_keeps_its_jobs() -> None:
    """No job of it goes elsewhere; the queue itself is served with the declared priority."""
    policy = Policy(rules=(OLD,))
    assert "old-reports" == lane(policy, "old-reports", "app.any")
    assert "low" == policy.served_as("old-reports")
    assert "critical" == policy.served_as("old-reports.critical")
    assert "normal" == policy.served_as("mail")


def test_a_rule_of_a_part_says_nothing_of_the_whole_queue() -> None:
    """Only a rule without function and meta declares the queue itself."""
    assert "normal" == Policy(rules=(REPORTS,)).served_as("reports")


def test_what_may_be_shed_goes_in_the_declared_order() -> None:
    """Smaller numbers first, and rules of one number in the order of the policy."""
    twin = Rule(queue="x", shed=2)
    policy = Policy(rules=(REPORTS, ACME, OLD, twin))
    assert ((3, OLD), (1, REPORTS), (4, twin)) == policy.in_shed_order()


def test_no_policy_decides_nothing() -> None:
    """Where none was applied every job is normal and stays where it was put."""
    assert Lane("mail") == Policy().lane_for("mail", function="f", meta={"tenant": "acme"})
    assert "normal" == Policy().served_as("mail")
    assert () == Policy().in_shed_order()


def test_channels_are_in_no_text() -> None:
    """What may hold a password is not shown where a record is printed."""
    incident = IncidentPolicy(channels={"main": ("slack://s3cret/token",)})
    assert "s3cret" not in repr(Policy(incident=incident))


@pytest.mark.parametrize(
    ("severity", "minutes"), [(None, 20), (1, 15), (2, 20)]
)  # fmt: skip
def test_updates_are_due_by_severity(severity: int | None, minutes: int) -> None:
    """A severity that has no interval of its own has that of the others."""
    incident = IncidentPolicy(update_every=timedelta(minutes=20), update_every_by_severity={1: timedelta(minutes=15)})
    assert timedelta(minutes=minutes) == incident.update_every_for(severity)


def test_a_mitigation_names_what_must_be_filled_in() -> None:
    """Each name in braces once, in order."""
    mitigation = Mitigation("rollback", run=("./deploy", "{release}", "--to={site}", "{release}"))
    assert ("release", "site") == mitigation.placeholders
