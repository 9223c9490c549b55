"""What the board says of lanes, made from records alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shedder.incident.records import Incident, Role, RoleHeld
from shedder.lanes import lane_of
from shedder.policy.lateness import Late
from shedder.policy.model import Policy, Rule
from shedder.queues.controls import Divert, Drain, HaltedDrain, Pause
from shedder.queues.outcomes import Outcomes
from shedder.queues.samples import Sample
from shedder.response.plan import read_outlook
from shedder.selection import Selection
from shedder.status.findings import by_trouble, lane_findings
from shedder.status.readings import LaneStatus, Status
from shedder.units import Rate
from shedder.web.board import (
    HELD_BACK,
    QUIET,
    TROUBLE,
    WORKS,
    bar_of,
    because_of,
    board_of,
    late_sentence,
    plan_rows,
    verdict_of,
)
from shedder.web.flows import drains_of, end_sentence

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
POLICY = Policy(rules=(Rule(queue="mail", label="welcome mails", tolerance=timedelta(minutes=5)),))


def ago(**length: float) -> datetime:
    return NOON - timedelta(**length)


def lane(name: str, waiting: int = 0, **more: Any) -> LaneStatus:
    found = lane_of(name)
    known = {"waiting": waiting, "workers": 2, "sampled": NOON, **more}
    made = LaneStatus(name, found.queue, found.priority, **known)
    return LaneStatus(name, found.queue, found.priority, **known, warnings=warnings_of(made))


def warnings_of(made: LaneStatus) -> tuple[str, ...]:
    return tuple(each.says for each in lane_findings(made, at=NOON))


def status(*lanes: LaneStatus, **more: Any) -> Status:
    return Status(NOON, by_trouble(lanes), **more)


def late(name: str = "mail", **more: Any) -> Late:
    known = {"count": 312, "oldest": ago(minutes=9), "least": 312, **more}
    return Late(name, "welcome mails", 1, timedelta(minutes=5), **known)


def divert(name: str, **more: Any) -> Divert:
    return Divert(name, "1", "ben@desk", "room", ago(minutes=3), Selection(), **more)


def test_late_work_is_told_in_the_words_of_the_business_with_its_because() -> None:
    """The number, the noun, the age, and what the lane gets and does."""
    found = verdict_of(status(lane("mail", 900, late=(late(),), arrivals=40.0, completions=12.0)), POLICY)
    want = ("CRITICAL", "312 welcome mails are late, oldest 9 min (tolerated: 5 min)", "mail gets 40/s and does 12/s")
    assert want == (found.level, found.sentence, found.because)


@pytest.mark.parametrize(
    ("told", "want"),
    [
        ({"count": 1}, "1 of welcome mails is late"),
        ({"count": 320, "error": 40}, "About 320, give or take 40, welcome mails are late"),
        ({"count": 320, "error": 300, "least": 40}, "40 to 620 welcome mails are late"),
    ],
)
def test_an_estimate_says_its_error(told: dict[str, Any], want: str) -> None:
    """No more digits than are known."""
    assert late_sentence(late(**told), NOON).startswith(f"{want}, oldest 9 min")


@pytest.mark.parametrize(
    ("more", "want"),
    [
        ({"pause": Pause("mail", "ana@desk", "database", ago(minutes=4))}, "paused by ana@desk since 11:56: database"),
        ({"workers": 0}, "no worker serves mail"),
        ({"backlog": 500, "waiting": 0, "diverts": (divert("mail", backlog=500),)}, "500 jobs of mail are in the back"),
        ({"arrivals": None}, "how fast mail is worked off is not known yet"),
    ],
)
def test_the_because_is_the_first_cause_that_is_known(more: dict[str, Any], want: str) -> None:
    """A pause, no worker, a backlog; else the rates, and that they are not known."""
    assert want in because_of(lane("mail", **{"waiting": 10, "arrivals": 1.0, "completions": 1.0, **more}), NOON)


def test_good_news_say_what_was_looked_at_and_what_is_not_known() -> None:
    """Green names lanes, tolerances and ends; of queues that no policy names it says so."""
    busy = Outcomes(ended_lately=30)
    found = verdict_of(status(lane("mail", 3, is_judged=True, outcomes=busy), lane("other", 2)), POLICY)
    assert "OK" == found.level
    assert "no policy says how long jobs of other may wait" in found.sentence
    want = "Looked at 2 lanes of 2 queues by the tolerances of welcome mails: 5 jobs waiting, 0 in backlogs"
    assert found.looked_at.startswith(want)


def test_running_jobs_of_which_none_has_ended_are_not_known_to_be_well() -> None:
    """Neither green nor red, and the page says what is not known."""
    found = verdict_of(status(lane("mail", is_judged=True, running=2)), POLICY)
    assert ("UNKNOWN", 1) == (found.level, len(found.unknown))


def test_no_queue_is_no_good_news() -> None:
    """Of nothing nothing is known."""
    found = verdict_of(status(), Policy())
    assert ("UNKNOWN", "There is no queue yet, so nothing is known") == (found.level, found.sentence)


def test_work_that_may_be_late_is_a_warning() -> None:
    """None was seen that is late, and not all were looked at."""
    doubtful = late(is_certain=False, count=0, error=5, seen=0, looked_at=100)
    assert "WARNING" == verdict_of(status(lane("mail", 900, late=(doubtful,))), POLICY).level


def test_a_decision_stands_beside_good_news() -> None:
    """What is held back is told even where nothing is late."""
    paused = lane("mail", 3, is_judged=True, pause=Pause("mail", "ana@desk", "x", ago(minutes=4)))
    assert "By decision: mail is paused" == verdict_of(status(paused), POLICY).because


def test_trouble_is_first_and_quiet_queues_are_one_row_each() -> None:
    """A late lane, a paused one; the lanes of a quiet queue are added up."""
    pause = Pause("held", "ana@desk", "x", ago(minutes=4))
    board = board_of(
        status(
            lane("quiet", 3, arrivals=1.0), lane("quiet.low", 4, arrivals=2.0), lane("idle"),
            lane("held", 5, pause=pause), lane("mail", 900, late=(late(),)),
        ), POLICY,
    )  # fmt: skip
    assert [("mail", TROUBLE), ("held", HELD_BACK)] == [(each.name, each.state) for each in board.lanes]
    want = [("quiet", WORKS, 7, 3.0), ("idle", QUIET, 0, None)]
    assert want == [(each.name, each.state, each.waiting, each.arrivals) for each in board.quiet]


def test_many_quiet_queues_are_folded() -> None:
    """So that trouble is in sight on a small screen."""
    few, many = (status(*(lane(f"q{number}", 1) for number in range(count))) for count in (9, 10))
    assert (False, True) == (board_of(few, POLICY).is_folded, board_of(many, POLICY).is_folded)


def test_a_lane_says_how_long_its_work_may_wait() -> None:
    """By the policy; nothing where that names no tolerance for the queue."""
    board = board_of(status(lane("mail", 1), lane("other", 1)), POLICY)
    assert {"mail": timedelta(minutes=5), "other": None} == {each.name: each.tolerance for each in board.quiet}


def test_the_bar_of_an_incident_tells_the_time_to_the_next_update() -> None:
    """Overdue when it is past; nothing once it is over."""
    held = (RoleHeld(Role.COMMANDER, "ana@desk", NOON),)
    made = Incident("1", "Mails late", 2, ago(hours=1), "ana", roles=held, next_update_at=ago(minutes=2))
    bar = bar_of(made, Policy(), NOON)
    assert bar is not None
    assert ("ana@desk", True, timedelta(minutes=-2)) == (bar.commander, bar.is_overdue, bar.left)
    assert bar_of(None, Policy(), NOON) is None


def test_the_plan_has_a_row_for_each_option_and_for_nothing() -> None:
    """To hold back what may wait lets urgent work be well sooner."""
    urgent = lane("mail.high", 600, late=(late("mail.high"),), oldest=ago(minutes=9), arrivals=1.0, completions=5.0)
    heavy = lane("mail.critical", 6000, oldest=ago(minutes=1), arrivals=1.0, completions=5.0)
    rules = (Rule(queue="mail", priority="high", tolerance=timedelta(minutes=5)),)
    outlook = read_outlook(status(urgent, heavy), {}, Policy(rules=rules))
    rows = plan_rows(outlook, [("hold back mail.critical", ["mail.critical"])])
    assert ["hold back mail.critical", "do nothing"] == [each.option for each in rows]
    assert [6000, 0] == [each.left for each in rows]
    assert () == plan_rows(read_outlook(status(lane("mail")), {}, Policy()), [])


def sample(seconds: float, backlog: int) -> Sample:
    return Sample(NOON - timedelta(seconds=seconds), 0, backlog, 1, 0, 0, 0, 0)


def drained(**more: Any) -> Divert:
    drain = Drain(Rate.parse("10/second"), "ana@desk", "calm again", ago(minutes=2), released=600)
    return divert("mail", backlog=600, drain=drain, **more)


def test_a_drain_tells_its_end_with_the_error_that_was_measured() -> None:
    """At ten a second 600 jobs need a minute."""
    samples = [sample(seconds, 600 + 10 * seconds) for seconds in range(60, -1, -2)]
    (row,) = drains_of(status(lane("mail", backlog=600, diverts=(drained(),))), {"mail": samples})
    assert ("draining", 0.5, "about 12:01, 10/s lately") == (row.state, row.share_done, row.end)


def test_a_drain_that_nobody_serves_has_no_end() -> None:
    """It stands, whatever its rate is."""
    (row,) = drains_of(status(lane("mail", backlog=600, workers=0, diverts=(drained(),))))
    assert (False, "it stands: no worker serves it") == (row.is_served, row.end)


def test_a_young_drain_says_that_it_was_not_measured() -> None:
    """Its rate tells no more than the earliest end."""
    (row,) = drains_of(status(lane("mail", backlog=600, diverts=(drained(),))))
    assert "not before 12:01, at its rate; too young to measure" == row.end


@pytest.mark.parametrize(
    ("paces", "want"),
    [
        ([10.0] * 6, "about 12:10, 10/s lately"),
        ([5.0, 15.0] * 8, "about 12:10 (12:07 to 12:13), 10/s lately"),
        ([0.0, 20.0] * 2, "about 12:10 (not before 12:04; it may be much later), 10/s lately"),
        ([-1.0, 0.5, 0.0], "it does not become less: as much arrives as starts"),
    ],
)
def test_an_end_is_as_sure_as_its_paces_are_alike(paces: list[float], want: str) -> None:
    """The more they differ, the wider."""
    assert want == end_sentence(6000, paces, NOON)


def test_a_halted_drain_comes_first() -> None:
    """Before one that goes on and one that only stands."""
    halted = HaltedDrain("1-1", NOON, 30, 50, 0.5, Rate.parse("5/second"), "ana", "x")
    lanes = [
        lane("a", backlog=9, diverts=(divert("a", backlog=9),)),
        lane("mail", backlog=600, diverts=(drained(),)),
        lane("b", backlog=1, diverts=(divert("b", backlog=1, halted=halted),)),
    ]
    one_each = [
        each if each.lane == "a" else LaneStatus(each.lane, each.queue, each.priority, backlog=each.backlog, workers=1,
        diverts=tuple(Divert(it.lane, it.lane, it.by, it.why, it.since, it.selection, it.backlog, it.drain,
                             halted=it.halted) for it in each.diverts))
        for each in lanes
    ]  # fmt: skip
    assert ["halted", "draining", "stands"] == [each.state for each in drains_of(Status(NOON, tuple(one_each)))]
