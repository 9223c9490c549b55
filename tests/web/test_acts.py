"""Every act: a preview changes nothing, a confirm acts once, and journal and command line are as was shown."""

from __future__ import annotations

import shlex
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from shedder.errors import ConditionNotMet, InvalidInput, NothingToUndo
from shedder.incident.store import incident_record
from shedder.policy.model import Defaults, Policy
from shedder.units import Rate
from shedder.web import actions
from shedder.web.acts import lines_of, standing_of
from shedder.web.http import Refusal
from tests.cli.programs import environment, run_program
from tests.features.scene import Scene
from tests.servers import patient
from tests.web.acting_scene import ANA, BOB, VIEWER, Acting, dump
from tests.web.every_act import EVERY_ACT, UNDONE, diverted, jobs, opened, paused

if TYPE_CHECKING:
    from redis import Redis

    from shedder.embedded import EmbeddedServer

WHY = "database at 99 %"
HALF_AN_HOUR = timedelta(minutes=30)


@pytest.fixture
def acting(redis: Redis) -> Acting:
    return Acting(redis)


def test_the_table_has_every_act() -> None:
    """Each act has a case here."""
    assert set(actions.ACTS) == set(EVERY_ACT)


@pytest.mark.parametrize("name", EVERY_ACT)
def test_a_preview_changes_nothing(scene: Scene, acting: Acting, name: str) -> None:
    """All of Redis is as it was before the preview."""
    EVERY_ACT[name].before(scene)
    before = dump(scene.redis)
    acting.preview(name, reason=WHY, **EVERY_ACT[name].fields(scene))
    assert before == dump(scene.redis)


@pytest.mark.parametrize("name", EVERY_ACT)
def test_the_journal_says_what_was_shown(scene: Scene, acting: Acting, name: str) -> None:
    """The lines of the preview are those of the receipt; there is one at least."""
    EVERY_ACT[name].before(scene)
    seen = acting.preview(name, reason=WHY, **EVERY_ACT[name].fields(scene))
    done = acting.confirm(seen, reason=WHY)
    assert seen.lines == done.lines
    assert done.lines
    assert seen.command == done.command


@pytest.mark.parametrize("name", EVERY_ACT)
def test_it_acts_once(scene: Scene, acting: Acting, name: str) -> None:
    """A form that is sent again is refused, and changes nothing."""
    EVERY_ACT[name].before(scene)
    seen = acting.preview(name, reason=WHY, **EVERY_ACT[name].fields(scene))
    acting.confirm(seen, reason=WHY)
    before = dump(scene.redis)
    with pytest.raises(actions.Spent, match="acts once"):
        acting.confirm(seen, reason=WHY)
    assert before == dump(scene.redis)


@pytest.mark.parametrize("name", EVERY_ACT)
def test_a_viewer_is_refused(scene: Scene, acting: Acting, name: str) -> None:
    """Who may only look gets no preview, and confirms none of others."""
    EVERY_ACT[name].before(scene)
    said = EVERY_ACT[name].fields(scene)
    with pytest.raises(Refusal, match="may look and not act") as refused:
        acting.preview(name, VIEWER, **said)
    assert 403 == refused.value.status
    seen = acting.preview(name, reason=WHY, **said)
    before = dump(scene.redis)
    with pytest.raises((Refusal, actions.NotConfirmed)):
        acting.confirm(seen, VIEWER, reason=WHY)
    assert before == dump(scene.redis)


@pytest.mark.parametrize("name", EVERY_ACT)
def test_the_command_line_does_the_same(server: EmbeddedServer, scene: Scene, acting: Acting, name: str) -> None:
    """On a database in the same state the command that is shown leaves the same controls and lines."""
    with server.client(db=1) as other:
        there = Scene(other)
        for each in (scene, there):
            EVERY_ACT[name].before(each)
        acting.do(name, reason=WHY, **EVERY_ACT[name].fields(scene))
        command = Acting(other).preview(name, reason=WHY, **EVERY_ACT[name].fields(there)).command
        words = shlex.split(command)
        assert "shedder" == words[0]
        env = environment(SHEDDER_REDIS_URL=patient(f"{server.url}?db=1"), SHEDDER_BY=ANA.name)
        ran = run_program(*words[1:], env=env)
        assert (0, "") == (ran.code, ran.err if ran.code else ""), ran.out
        assert controls(scene) == controls(there)


def controls(scene: Scene) -> dict[str, Any]:
    """What stands, without ids and times, and what the journal says."""
    shedder = scene.shedder
    incidents = [without_times(incident_record(each)) for each in shedder.incidents.list()]
    lanes = standing_of(shedder.status().lanes)
    return {
        "lanes": {lane: [without_times(each) for each in orders] for lane, orders in lanes.items()},
        "flags": [(each.name, each.percent, each.setting and each.setting.why) for each in shedder.flag_states()],
        "limits": [(each.name, each.key, each.rate, each.setting and each.setting.why)
                   for each in shedder.limit_states()],
        "incidents": incidents,
        "journal": [lines_of([each]) for each in shedder.events(limit=1000)],
        "backlog": [scene.backlog(lane.name) for lane in scene.lanes("mail", "reports")],
    }  # fmt: skip


def without_times(value: Any) -> Any:
    """`value` without ids of orders, and without times."""
    if isinstance(value, dict):
        return {name: without_times(each) for name, each in value.items()
                if not name.endswith(("_at", "since", "at", "until"))}  # fmt: skip
    if isinstance(value, list | tuple):
        return [without_times(each) for each in value]
    if isinstance(value, str) and len(value) == 32:
        return ""
    return value if isinstance(value, str | int | float | bool | None) else ""


@pytest.mark.parametrize("name", UNDONE)
def test_an_undo_says_what_it_does(scene: Scene, acting: Acting, name: str) -> None:
    """The undo of each kind of change has the lines that were shown, and says what it does from the event's row."""
    UNDONE[name](scene)
    event = next(each for each in reversed(scene.shedder.events()) if each.can_undo)
    seen = acting.preview("undo", reason="wrong queue", event=event.id)
    assert seen.sentences[0].startswith("It ")
    before = dump(scene.redis)
    done = acting.confirm(seen, reason="wrong queue")
    assert seen.lines == done.lines
    assert done.lines
    assert before != dump(scene.redis)
    with pytest.raises(NothingToUndo, match="has undone it already"):
        acting.preview("undo", event=event.id)


DRIFTS = {
    "pause": lambda scene: scene.shedder.pause("mail", reason="by somebody else", by="bob@desk"),
    "divert": lambda scene: scene.shedder.divert("mail", reason="by somebody else", by="bob@desk"),
    "degrade": lambda scene: scene.shedder.degrade_flag("search.hints", reason="by somebody else", by="bob@desk"),
    "limit-set": lambda scene: scene.shedder.set_limit("reports", Rate(1), reason="by somebody else", by="bob@desk"),
    "undo": lambda scene: scene.shedder.pause("mail.low", reason="by somebody else", by="bob@desk"),
    "note": lambda scene: scene.shedder.incidents.note("something else", by="bob@desk"),
}


@pytest.mark.parametrize("name", DRIFTS)
def test_a_change_meanwhile_is_shown_first(scene: Scene, acting: Acting, name: str) -> None:
    """A confirm after somebody has changed what stands does nothing, and gives a new preview that can be confirmed."""
    EVERY_ACT[name].before(scene)
    seen = acting.preview(name, reason=WHY, **EVERY_ACT[name].fields(scene))
    DRIFTS[name](scene)
    before = dump(scene.redis)
    with pytest.raises(actions.Drifted, match="nothing was done") as drift:
        acting.confirm(seen, reason=WHY)
    assert before == dump(scene.redis)
    again = drift.value.preview
    assert again.token != seen.token
    if name != "undo":  # which stays refused, since somebody has built upon it
        assert acting.confirm(again, reason=WHY).lines


def test_jobs_that_come_and_go_are_no_drift(scene: Scene, acting: Acting) -> None:
    """What stands is what people decided; counts move all the time."""
    jobs(scene)
    seen = acting.preview("pause", target="mail")
    scene.fill("mail", "one-more")
    scene.run_one("reports")
    assert acting.confirm(seen).event


def test_changes_by_others_are_shown(scene: Scene, acting: Acting) -> None:
    """What somebody else changed within two minutes stands in the preview, one's own change does not."""
    jobs(scene)
    scene.shedder.pause("mail", reason="nightly export", by="bob@desk")
    assert "bob@desk did 'pause mail'" in acting.preview("divert", target="mail").others[0]
    assert () == acting.preview("divert", BOB, target="mail").others


def test_a_policy_says_what_nobody_types(scene: Scene, acting: Acting) -> None:
    """Without an end and a rate those of the policy hold, as on the command line."""
    diverted(scene)
    defaults = Defaults(drain_rate=Rate.parse("7/second"), pause_for=HALF_AN_HOUR)
    scene.shedder.policies.apply(Policy(defaults=defaults), reason="defaults")
    done = acting.do("drain", target="mail")
    assert "7/second" in done.sentences[0]
    assert "--rate" not in done.command
    receipt = acting.do("pause", target="mail").record
    assert HALF_AN_HOUR == receipt.until - receipt.at
    assert acting.do("pause", target="mail", for_="ever").record.until is None


def test_without_any_rate_nothing_drains(scene: Scene, acting: Acting) -> None:
    """A drain needs a rate, here or in the policy."""
    diverted(scene)
    with pytest.raises(InvalidInput, match="at which rate"):
        acting.preview("drain", target="mail")


def test_an_incident_act_is_refused_in_the_preview(scene: Scene, acting: Acting) -> None:
    """What the record does not allow is told before the confirm: the role of somebody else."""
    opened(scene).roles.take("operations", by="bob@desk")
    before = dump(scene.redis)
    with pytest.raises(ConditionNotMet, match="bob@desk has the role operations"):
        acting.preview("incident-take", role="operations")
    assert before == dump(scene.redis)
    assert acting.do("incident-take", role="operations", instead="yes").lines


def test_an_edited_update_is_posted_as_it_was_written(scene: Scene, acting: Acting) -> None:
    """The text that a person made of the draft is what the record holds, and what the command line says."""
    opened(scene)
    command = acting.preview("incident-update", text="The database is well.\nReceipts follow.").command
    assert "--text 'The database is well. Receipts follow.'" in command
    acting.do("incident-update", text="The database is well.\nReceipts follow.")
    assert "The database is well. Receipts follow." == scene.shedder.incidents.read().updates[-1].text


def test_the_way_back_stands_in_the_receipt(scene: Scene, acting: Acting) -> None:
    """The receipt names its undo, as a command and as a page."""
    jobs(scene)
    done = acting.do("pause", target="mail")
    assert (f"shedder undo {done.event}", "resumes them") == (done.undo, done.undo_does)
    acting.do("undo", event=done.event, reason="wrong queue")
    assert not scene.shedder.status("mail").lanes[0].pause


def test_what_is_needed_twice_is_refused(scene: Scene, acting: Acting) -> None:
    """Queues beside all queues are a contradiction, and no queue is nothing."""
    jobs(scene)
    with pytest.raises(InvalidInput, match="say which queue"):
        acting.preview("pause")
    with pytest.raises(InvalidInput, match="choose one of the two"):
        acting.preview("pause", target="mail", all="yes")


def test_many_things_at_once(scene: Scene, acting: Acting) -> None:
    """All queues, and several lanes, are one act with one line."""
    paused(scene)
    done = acting.do("pause", all="yes")
    assert (f"pause mail and reports by ana@desk: {WHY}",) == done.lines
    done = acting.do("resume", target=["mail.low", "reports"])
    assert (f"resume mail.low and reports by ana@desk: {WHY}",) == done.lines
