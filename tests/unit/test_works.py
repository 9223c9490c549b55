"""The workloads that a policy names are found in the lanes that they are in."""

from __future__ import annotations

from datetime import timedelta

import pytest

from shedder.policy.model import Policy, Rule
from shedder.policy.workload import TOLERANCE, Workload, kinds_of
from shedder.selection import Selection

MAIL = ("mail.critical", "mail.high", "mail", "mail.low")
MINUTE = timedelta(minutes=1)


def functions(*globs: str) -> Selection:
    return Selection(functions=globs)


def kinds(*rules: Rule, queues: tuple[str, ...] = ("mail",)) -> list[Workload]:
    return list(kinds_of(Policy(rules=rules), queues))


def test_a_rule_for_a_queue_has_all_its_lanes() -> None:
    """Whatever waits in the queue is of this kind, so nothing needs to be looked at."""
    assert [Workload("mails", MINUTE, MAIL)] == kinds(Rule("mail", label="mails", tolerance=MINUTE))


def test_a_rule_with_a_priority_has_a_lane_of_its_own() -> None:
    """Its jobs are in that lane, and those of the other rules are not."""
    fast = Rule(selection=functions("*.pay"), priority="high", label="payments", tolerance=MINUTE)
    slow = Rule(selection=functions("*.news"), label="news", tolerance=MINUTE)
    one, other = kinds(fast, slow)
    assert Workload("payments", MINUTE, ("mail.high",)) == one
    assert (("mail.critical", "mail", "mail.low"), slow) == (other.lanes, other.rule)


def test_kinds_in_one_lane_are_told_by_their_rules() -> None:
    """Where two rules share lanes each is told by its jobs."""
    one = Rule(selection=functions("*.a"), label="a")
    two = Rule(selection=functions("*.b"), label="b")
    assert [one, two] == [kind.rule for kind in kinds(one, two)]


def test_a_queue_without_a_rule_has_its_name() -> None:
    """Nothing that waits is left out."""
    found = kinds(Rule("mail", label="mails"), queues=("mail", "mail.low", "exports"))
    assert ["mails", "jobs of exports"] == [kind.noun for kind in found]
    assert TOLERANCE == found[1].tolerance


@pytest.mark.parametrize(
    ("rule", "want"),
    [
        (Rule("mail", tolerance=MINUTE), "jobs of mail"),
        (Rule(selection=functions("app.mail.news"), tolerance=MINUTE), "jobs of news"),
    ],
)
def test_a_rule_without_a_noun_is_called_by_what_it_takes(rule: Rule, want: str) -> None:
    """A tolerance alone is enough to be told of."""
    assert want == kinds(rule)[0].noun


def test_rules_of_queues_that_are_not_there_are_left_out() -> None:
    """An update is about what exists."""
    assert [] == kinds(Rule("other", label="others"), queues=())
