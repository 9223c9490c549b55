"""The checklist names what to do next, with the names and numbers of the queues."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from shedder.events import Event
from shedder.incident.records import Effect, Incident, Reading
from shedder.lanes import lane_of
from shedder.policy.lateness import Late
from shedder.policy.model import Mitigation, Policy, Rule
from shedder.queues.controls import Divert, Drain, HaltedDrain, Pause
from shedder.queues.outcomes import LabelOutcomes, Outcomes
from shedder.response.triage import Seen, TriageStep, checklist
from shedder.selection import Selection
from shedder.settings.flags import FlagState
from shedder.settings.limits import LimitState
from shedder.settings.setting import Setting
from shedder.status.overdue import Overdue
from shedder.status.readings import LaneStatus, Status
from shedder.units import Rate

NOW = datetime(2026, 11, 25, 2, 30, tzinfo=UTC)
OLD = NOW - timedelta(minutes=38)
PAUSE = Pause("mail", "bob@desk", "r", NOW)
SHED = Rule(queue="mail", selection=Selection(functions=("app.mail.news",)), shed=1, label="news")
POLICY = Policy(
    rules=(SHED,),
    mitigations={
        "rollback": Mitigation("rollback", ("./deploy", "{release}"), kind="rollback"),
        "scale": Mitigation("scale", ("./scale", "{workers}"), kind="scale"),
    },
)
INCIDENT = Incident("2026-11-25-1", "receipts are late", 2, OLD, "ana@desk")


def lane(name: str, waiting: int = 0, **more: Any) -> LaneStatus:
    oldest = OLD if waiting else None
    found = lane_of(name)
    return LaneStatus(name, found.queue, found.priority, **{"waiting": waiting, "oldest": oldest, "workers": 3, **more})


def seen(*lanes: LaneStatus, **more: Any) -> Seen:
    return Seen(Status(NOW, lanes), incident=INCIDENT, **more)


def step(seen: Seen, name: str) -> TriageStep:
    return next(each for each in checklist(seen).steps if each.name == name)


def lines(seen: Seen, name: str) -> list[str]:
    return [" ".join(each.words) for each in step(seen, name).commands]


def event(verb: str, *lanes: str, **more: Any) -> Event:
    return Event("1-1", NOW, verb, "bob@desk", "r", lanes, role="operations", **more)


def test_the_questions_come_in_the_order_of_the_framework() -> None:
    """A bad release first, then work that fails, then traffic, then the clogged queue."""
    assert ["release", "success", "limits", "degrade", "scale", "pause", "divert", "protect"] == [
        each.name for each in checklist(seen()).steps
    ]


def test_a_calm_system_has_nothing_to_pause() -> None:
    """Where nothing waits, nothing is clogged and nothing is late."""
    states = {each.name: each.state for each in checklist(seen(lane("mail", 3))).steps}
    assert ("fine", "fine", "fine") == (states["pause"], states["divert"], states["protect"])


def test_a_rollback_is_named_with_what_is_to_be_filled_in() -> None:
    """Which release nobody here can know; how many workers there are is known."""
    full = seen(lane("mail", 500), policy=POLICY)
    (rollback,) = step(full, "release").commands
    assert ("mitigate", "rollback", "--release", "RELEASE", "-r", "receipts are late") == rollback.words
    assert not rollback.is_complete
    (scale,) = step(full, "scale").commands
    assert (("--workers", "6"), True) == (scale.words[2:4], scale.is_complete)
    assert "no mitigation of kind rollback" in step(seen(), "release").finding


def test_the_queue_in_which_most_waits_is_to_be_paused() -> None:
    """With its name; once it is paused there is nothing to type."""
    busy = (lane("mail", 41_215), lane("reports", 80))
    assert ["pause mail -r receipts are late"] == lines(seen(*busy), "pause")
    assert "41,215 jobs wait in mail, the oldest for 38m" == step(seen(*busy), "pause").finding
    paused = seen(replace(busy[0], pause=PAUSE), events=(event("pause", "mail"),))
    found = step(paused, "pause")
    assert ("done", ()) == (found.state, found.commands)
    assert ("pause", "bob@desk", "operations", ("mail",)) == (
        found.done[0].verb, found.done[0].by, found.done[0].role, found.done[0].what,
    )  # fmt: skip


def test_what_was_undone_was_not_done() -> None:
    """Neither the change nor its undoing counts."""
    events = (event("pause", "mail"), replace(event("resume", "mail", undoes="1-1"), id="2-1"))
    assert () == step(seen(lane("mail", 50), events=events), "pause").done
    assert () == step(seen(lane("mail", 50), events=events), "protect").done


def test_low_priority_and_what_the_policy_sheds_are_to_be_diverted() -> None:
    """First what the policy says, then the low lanes; nothing that is diverted already."""
    busy = (lane("mail", 900), lane("mail.low", 300))
    assert [
        "divert mail --function app.mail.news -r receipts are late",
        "divert mail.low -r receipts are late",
    ] == lines(seen(*busy, policy=POLICY), "divert")
    some = Divert("mail", "o", "b", "r", NOW, SHED.selection)
    whole = Divert("mail.low", "o", "b", "r", NOW, Selection())
    done = (replace(busy[0], diverts=(some,)), replace(busy[1], diverts=(whole,)))
    assert ["divert mail --dry-run"] == lines(seen(*done, policy=POLICY), "divert")
    assert ["divert mail --dry-run"] == lines(seen(lane("mail", 900)), "divert")


def test_high_priority_that_is_held_is_to_go_on() -> None:
    """A pause of the whole queue holds what matters most, too."""
    held = (lane("mail.high", 12, pause=PAUSE), lane("mail", 900, pause=PAUSE))
    assert ["resume mail.high -r receipts are late"] == lines(seen(*held), "protect")
    assert "mail.high waits, the oldest for 38m" == step(seen(*held), "protect").finding
    some = Divert("mail", "o", "b", "r", NOW, SHED.selection)
    shed = (lane("mail", 30, pause=PAUSE), lane("mail.low", diverts=(some,)))
    assert ["resume mail.normal -r receipts are late"] == lines(seen(*shed), "protect")


def test_a_resume_does_not_tell_that_all_work_is_back() -> None:
    """It is done once nothing is late, nor held back by a pause or a divert; a drain brings it back."""
    events = (event("resume", "mail"),)
    rules = Policy(rules=(Rule(queue="mail", tolerance=timedelta(minutes=1)),))
    late = Late("mail", "mails", 1, timedelta(minutes=1), OLD, 12)
    held = Divert("mail", "o", "b", "r", NOW, Selection(), backlog=5)
    back = replace(held, drain=Drain(Rate(1.0), "b", "r", NOW))
    states = {
        name: step(seen(each, events=events, policy=rules), "protect").state
        for name, each in {
            "late": lane("mail", 12, late=(late,)),
            "paused": lane("mail", 12, pause=PAUSE),
            "diverted": lane("mail", diverts=(held,)),
            "drained": lane("mail", diverts=(back,)),
            "well": lane("mail", 12),
        }.items()
    }
    assert {"late": "open", "paused": "fine", "diverted": "fine", "drained": "done", "well": "done"} == states


def test_high_priority_is_late_by_its_tolerance() -> None:
    """What the policy tolerates is fine; without one, half a minute."""
    late = lane("mail.high", 12)
    assert "open" == step(seen(late), "protect").state
    slow = Policy(rules=(Rule(queue="mail", tolerance=timedelta(hours=1)),))
    assert "fine" == step(seen(late, policy=slow), "protect").state


def test_limits_are_halved_and_starts_too() -> None:
    """With the rates that there are now; those that are set are left alone. Starts are not what comes in."""
    limits = (
        LimitState("reports", default=Rate(100.0, 60.0)),
        LimitState("search", default=Rate(10.0), setting=Setting("search", "b", "r", NOW)),
    )
    busy = lane("mail", 900, arrivals=40.0, completions=25.0)
    assert ["limit set reports 50/minute -r receipts are late"] == lines(seen(busy, limits=limits), "limits")
    assert [
        "pause mail -r receipts are late",
        "limit starts mail.normal --rate 12/second -r receipts are late",
    ] == lines(seen(busy, limits=limits), "pause")
    assert "mail grows: 40.0/s in, 25.0/s out" == step(seen(busy, limits=limits), "limits").finding
    assert "no limit on what comes in is declared" in step(seen(busy), "limits").finding
    started = seen(busy, events=(event("limit start", "mail"),))
    assert ((), 1) == (step(started, "limits").done, len(step(started, "pause").done))


def ended(well: float, failed: float, *, ended: int = 1000, share: float = 0.0, **more: Any) -> dict[str, Any]:
    """What a lane says when so many of its jobs end well and fail a second."""
    lately = round(ended * share)
    return {"outcomes": Outcomes(well, failed, ended_lately=ended, failed_lately=lately, **more)}


BROKEN = ended(1.0, 49.0, ended=1850, share=0.96, exception="OperationalError")


def test_work_that_fails_is_to_be_stopped() -> None:
    """A drain stops, another lane pauses; what is held already leaves nothing to type."""
    found = step(seen(lane("mail", 900, **BROKEN)), "success")
    assert ("open", ["pause mail.normal -r receipts are late"]) == (
        found.state, [" ".join(each.words) for each in found.commands],
    )  # fmt: skip
    assert "49/s of mail fail: 1,776 of 1,850 jobs in 5m, most often OperationalError" == found.finding
    drains = Divert("mail", "o", "b", "r", NOW, Selection(), backlog=9, drain=Drain(Rate(50.0), "b", "r", NOW))
    burning = seen(lane("mail", 0, diverts=(drains,), **BROKEN), lane("reports", 4, **BROKEN))
    assert [
        "drain mail.normal --stop -r receipts are late", "pause reports.normal -r receipts are late",
    ] == lines(burning, "success")  # fmt: skip
    held = step(seen(lane("mail", 900, pause=PAUSE, **BROKEN)), "success")
    assert ("done", ()) == (held.state, held.commands)


def test_nothing_is_well_that_fails() -> None:
    """Work that starts at once and fails is not told as work that goes on."""
    found = step(seen(lane("charges", 0, **BROKEN)), "protect")
    assert ("open", "jobs of charges fail: see question 2") == (found.state, found.finding)


def test_a_label_that_fails_is_named_though_its_lane_does_well() -> None:
    """A few charges among many newsletters: their share in the lane is small."""
    labels = (LabelOutcomes("news", Outcomes(0.0, 1.0, ended_lately=40, failed_lately=40)),)
    full = seen(lane("mail", 900, **ended(50, 1, share=0.04)), policy=POLICY)
    found = step(replace(full, status=replace(full.status, labels=labels)), "success")
    assert "1/s of news fail: 40 of 40 jobs in 5m" == found.finding


def test_a_drain_that_halted_goes_on_only_when_its_jobs_succeed() -> None:
    """It is told, with the command at the rate that it had."""
    halted = HaltedDrain("9-1", NOW, 25, 50, 0.5, Rate(50.0), "b", "r")
    divert = Divert("mail", "o", "b", "r", NOW, Selection(), backlog=2954, halted=halted)
    full = seen(lane("mail", 0, backlog=2954, diverts=(divert,)))
    assert ["drain mail.normal --rate 50/second -r receipts are late"] == lines(full, "success")
    assert "the drain of mail has halted: 25 of its last 50 jobs failed, 2,954 jobs stay in the backlog" == (
        step(full, "success").finding
    )


def test_what_failed_can_come_back_once_jobs_succeed_again() -> None:
    """How many, and mostly with what; not while it still fails, nor while it comes back already."""
    many = {"exception": "sqlalchemy.exc.OperationalError", "failed_in_hour": 4211, "failed_kept": 4211}
    full = seen(lane("mail", 0, **ended(50, 0, **many)))
    assert "none fails now, but 4,211 jobs failed in the last hour, mostly OperationalError" == (
        step(full, "success").finding
    )
    assert ["retry mail.normal --exception OperationalError --since 1h --dry-run -r receipts are late"] == (
        lines(full, "success")
    )
    comes = Divert("mail", "o", "b", "r", NOW, Selection(), backlog=9, is_retry=True)
    for each in (lane("mail", 0, diverts=(comes,), **ended(50, 0, **many)), lane("mail", 0, **ended(50, 1, **many))):
        assert () == step(seen(each), "success").commands


def test_a_retry_that_halted_is_called_so() -> None:
    """It goes on as a drain does."""
    halted = HaltedDrain("9-1", NOW, 25, 50, 0.5, Rate(50.0), "b", "r")
    divert = Divert("mail", "o", "b", "r", NOW, Selection(), backlog=2, halted=halted, is_retry=True)
    full = seen(lane("mail", 0, backlog=2, diverts=(divert,)))
    assert step(full, "success").finding.startswith("the retry of mail has halted: 25 of its last 50 jobs failed")


def test_success_is_fine_only_where_it_is_known() -> None:
    """None has ended, too few have, or all are known to end well."""
    assert ("open", "not known: no job has ended in the last 5m") == _succeeds(lane("mail", 9))
    state, said = _succeeds(lane("mail", 9, **ended(9, 0)), lane("reports", 9, **ended(0, 0, ended=3, share=1)))
    assert ("open", "3 of 1,003 jobs failed that ended in the last 5m; too few have ended to tell of reports") == (
        state, said,
    )  # fmt: skip
    assert ("fine", "0 of 1,000 jobs failed that ended in the last 5m") == _succeeds(lane("mail", 9, **ended(9, 0)))
    state, said = _succeeds(lane("mail", 9, **ended(20, 0, share=0.9)))
    assert ("fine", True) == (state, said.endswith("all that ended in mail in the last 10 s ended well"))


def _succeeds(*lanes: LaneStatus) -> tuple[str, str]:
    found = step(seen(*lanes), "success")
    assert not found.commands
    return found.state, found.finding


def test_without_an_incident_the_reason_is_a_blank() -> None:
    """Nobody has said why, so that no command can be typed as it stands."""
    (command,) = step(replace(seen(lane("mail", 900)), incident=None), "pause").commands
    assert (("pause", "mail", "-r", "REASON"), False) == (command.words, command.is_complete)


def test_features_are_degraded_by_group() -> None:
    """Groups first; what is degraded already is not named."""
    flags = (
        FlagState("hints", 0, group="non-critical"), FlagState("faces", 0, description="no faces"),
        FlagState("ads", 100.0), FlagState("unknown", 0, is_declared=False),
    )  # fmt: skip
    assert [
        "flag degrade --group non-critical -r receipts are late",
        "flag degrade faces -r receipts are late",
    ] == lines(seen(flags=flags), "degrade")


def test_what_was_done_has_its_effect() -> None:
    """As the record of the incident has it."""
    effect = Effect("1-1", "pause", 300.0, {"mail": Reading(9)}, {"mail": Reading(3)})
    full = replace(seen(events=(event("pause", "mail"),)), incident=replace(INCIDENT, effects=(effect,)))
    assert effect == step(full, "pause").done[0].effect
    ran = event("mitigate", details={"kind": "rollback", "mitigation": "rollback", "outcome": "done"})
    (done,) = step(seen(events=(ran,)), "release").done
    assert (("rollback",), "done") == (done.what, done.outcome)
    assert () == step(seen(events=(ran,)), "scale").done


def test_a_mitigation_without_an_end_is_told_as_that() -> None:
    """Begun and not ended, by a process that may be gone; once its end is there, that counts."""
    details = {"kind": "rollback", "mitigation": "rollback"}
    began = event("mitigate started", details=details)
    unseen = event("mitigate", details={**details, "began": "1-1", "outcome": "end not recorded"})
    ended = event("mitigate", details={**details, "began": "1-1", "outcome": "done"})
    old = event("mitigate", details={**details, "outcome": "done"})
    for events, expected in (
        ((began,), ["no end recorded yet"]),
        ((began, replace(unseen, id="2-1")), ["end not recorded"]),
        ((began, replace(ended, id="2-1")), ["done"]),
        ((began, replace(unseen, id="2-1"), replace(ended, id="3-1")), ["done"]),
        ((began, replace(old, id="2-1")), ["done"]),
        ((replace(old, id="0-1"), began), ["done", "no end recorded yet"]),
    ):
        found = step(seen(events=events), "release")
        assert expected == [each.outcome for each in found.done]
        assert {("rollback",)} == {each.what for each in found.done}
        assert ("done" if "done" in expected else "open") == found.state
        assert () == step(seen(events=events), "scale").done


def test_jobs_that_are_due_without_a_scheduler_are_open() -> None:
    """What matters most may be among them, so that it is not said to go on; a worker with a scheduler is typed."""
    late = lane("mail", overdue=Overdue(1204, OLD, "none"))
    found = step(seen(late), "protect")
    assert "open" == found.state
    assert found.finding.startswith("1,204 jobs of mail are overdue since 01:52, and no scheduler runs for it: ")
    assert ["worker mail --with-scheduler"] == lines(seen(late), "protect")
    assert [] == lines(seen(lane("mail", overdue=Overdue(1204, OLD, "behind"))), "protect")
