"""A scan goes on whose lane another operator makes one list again meanwhile."""

from __future__ import annotations

from unittest import mock

from shedder.events import Cause
from shedder.queues.divert import divert_lanes, scan_lane
from shedder.queues.pause import fold_lane
from shedder.selection import Selection
from tests.features.scene import Scene, numbered

CAUSE = Cause("oncall@desk", "r")


def test_a_second_divert_that_begins_amid_a_scan_hides_nothing_from_it(scene: Scene) -> None:
    """A step of a fold between two of a scan leaves what was not looked at in front of the scan."""
    others, ours = numbered("other", 5), numbered("mail", 4)
    scene.fill("mail", *others, function="app.bill.charge")
    scene.fill("mail", *ours)
    store, keys = scene.shedder.store, scene.keys
    selection = Selection.parse(functions=["app.mail.*"])
    store.run(divert_lanes(keys, scene.lanes("mail"), selection, CAUSE, order="first"))
    step = 0

    def scan() -> str:
        nonlocal step
        step += 1
        command = scan_lane(keys, "mail", "first", CAUSE, operation="o", step=step, judged=[])
        return str(store.run(command).state)

    with mock.patch("shedder.queues.divert.JOBS_PER_STEP", 5):
        assert "more" == scan()
        with mock.patch("shedder.queues.pause.IDS_PER_STEP", 2):
            store.run(fold_lane(keys, "mail"))
        while "more" == scan():
            pass

    assert (ours, others) == (
        [job for key in keys.backlog("first", "mail") for job in scene.ids(key)],
        scene.listed("mail"),
    )
