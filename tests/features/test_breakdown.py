"""What is in a queue is told as a divert would find it, and nothing is changed by looking."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest

from shedder.errors import InvalidInput
from shedder.queues import breakdown as module
from shedder.queues.breakdown import REST
from shedder.queues.windows import JOBS_PER_LOOK, preview_lane
from shedder.selection import Selection
from tests.features.scene import Scene, numbered

if TYPE_CHECKING:
    from shedder import Breakdown


def numbers(found: Breakdown) -> dict[tuple[str, ...], tuple[int, int]]:
    return {group.values: (group.waiting, group.backlog) for group in found.groups}


def filled(scene: Scene) -> None:
    scene.fill("mail", *numbered("a", 5), function="app.news", tenant="acme")
    scene.fill("mail", *numbered("b", 2), function="app.receipt", tenant="acme", how="stock")
    scene.fill("mail.low", *numbered("c", 3), function="app.news", tenant="globex")
    scene.ours("mail").enqueue("app.plain", job_id="d")


def test_jobs_by_function(scene: Scene) -> None:
    """Those of our producers and of stock ones, waiting and in backlogs, and their share."""
    filled(scene)
    scene.shedder.divert("mail", selection=Selection(meta=(("tenant", "globex"),)), reason="r")
    found = scene.shedder.breakdown("mail", by="function")
    assert {("app.news",): (5, 3), ("app.receipt",): (2, 0), ("app.plain",): (1, 0)} == numbers(found)
    assert (8, 3, 11, 0.0, None) == (found.waiting, found.backlog, found.looked_at, found.error, found.rest)
    assert [8 / 11, 2 / 11, 1 / 11] == [group.share for group in found.groups]


def test_jobs_by_a_field_of_their_meta(scene: Scene) -> None:
    """One without the field and one that only the application can read have a line each."""
    filled(scene)
    scene.redis.hset(scene.job(numbered("c", 3)[0]).key, "meta", b"\xff noise")
    found = scene.shedder.breakdown("mail", by=["meta.tenant"])
    expected = {("acme",): 7, ("globex",): 2, ("(none)",): 1, ("(cannot be read here)",): 1}
    assert {values: (jobs, 0) for values, jobs in expected.items()} == numbers(found)


def test_jobs_by_two_things_at_once(scene: Scene) -> None:
    """Each pair that occurs is a cell, and what is beyond the largest is one row and one column."""
    filled(scene)
    found = scene.shedder.breakdown("mail", by=("meta.tenant", "priority"))
    assert {("acme", "normal"): (7, 0), ("globex", "low"): (3, 0), ("(none)", "normal"): (1, 0)} == numbers(found)
    with mock.patch.object(module, "TOP_COLUMNS", 1):
        folded = scene.shedder.breakdown("mail", by=("meta.tenant", "priority"), top=1)
    assert {("acme", "normal"): (7, 0), (REST, REST): (3, 0), (REST, "normal"): (1, 0)} == numbers(folded)


def test_the_rest_is_told_as_one(scene: Scene) -> None:
    """Beyond the largest groups, how many there are and what they hold together."""
    filled(scene)
    found = scene.shedder.breakdown("mail", by="function", top=1)
    assert [("app.news",)] == [group.values for group in found.groups]
    assert found.rest is not None
    assert (2, 3) == (found.rest.groups, found.rest.waiting)


def test_the_oldest_and_those_that_came_lately(scene: Scene) -> None:
    """The oldest job of a group, and how many of it came in the last minute, by the server's clock."""
    scene.fill("mail", *numbered("a", 6))
    old = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=2)
    scene.redis.hset(scene.job(numbered("a", 6)[3]).key, "enqueued_at", old.strftime("%Y-%m-%dT%H:%M:%S.%fZ"))
    for by in ("function", "priority"):
        group = scene.shedder.breakdown("mail", by=by).groups[0]
        assert (old, 5 / 60) == (group.oldest, group.in_per_second)
    by_meta = scene.shedder.breakdown("mail", by="meta.tenant").groups[0]
    assert (old, 5 / 60) == (by_meta.oldest, by_meta.in_per_second)


def test_a_divert_finds_what_was_told(scene: Scene) -> None:
    """A group has just the jobs that a dry run of its divert would take."""
    filled(scene)
    for group in scene.shedder.breakdown("mail", by=("function", "meta.tenant")).groups:
        function, tenant = group.values
        meta = () if tenant == "(none)" else (("tenant", tenant),)
        assert group.waiting == scene.shedder.preview_divert("mail", selection=Selection((function,), meta)).taken


def test_a_sample_says_how_much_it_saw(scene: Scene) -> None:
    """It looks at as many as asked for, all over the lists, and its numbers are those of all, about."""
    scene.fill("mail", *numbered("a", 300), function="app.news")
    scene.fill("mail", *numbered("b", 100), function="app.receipt")
    scene.shedder.divert("mail", selection=Selection(("app.receipt",)), reason="r")
    seen: list[tuple[int, int]] = []
    found = scene.shedder.breakdown("mail", by="function", sample=80, on_progress=lambda *each: seen.append(each))
    assert (80, 300, 100) == (found.looked_at, found.waiting, found.backlog)
    assert {("app.news",): (300, 0), ("app.receipt",): (0, 100)} == numbers(found)
    assert found.is_sample
    assert pytest.approx(0.098, abs=0.001) == found.error
    assert (80, 80) == seen[-1]
    assert not scene.shedder.breakdown("mail", by="function", sample=400).is_sample


def test_it_looks_in_small_steps_and_changes_nothing(scene: Scene) -> None:
    """No step has more jobs than one of a dry run, and no key is other than before."""
    scene.fill("mail", *numbered("a", 2 * JOBS_PER_LOOK))
    asked: list[tuple[tuple[int, int], ...]] = []

    def noted(keys: Any, source: str, selection: Selection, *parts: tuple[int, int], **options: Any) -> Any:
        asked.append(parts)
        return preview_lane(keys, source, selection, *parts, **options)

    before = {key: scene.redis.dump(key) for key in sorted(scene.redis.scan_iter())}
    with mock.patch("shedder.queues.windows.preview_lane", noted), mock.patch.object(module, "preview_lane", noted):
        scene.shedder.breakdown("mail", by="meta.tenant")
        scene.shedder.breakdown("mail", by="function", sample=60)
    assert before == {key: scene.redis.dump(key) for key in sorted(scene.redis.scan_iter())}
    assert [1, 1, 1, 25, 25, 10] == [len(parts) for parts in asked]
    assert max(count for parts in asked for _, count in parts) == JOBS_PER_LOOK


def test_a_window_of_large_metas_ends_early(scene: Scene) -> None:
    """A step reads no more than a quarter of a megabyte, and one job; no job is left out by that."""
    for number in range(20):
        meta = {"tenant": "acme", "text": "x" * 60_000}
        scene.ours("mail").enqueue("app.news", job_id=f"a{number}", meta=meta)
    store, source = scene.shedder.store, scene.keys.lane("mail")[0]
    window = store.run(preview_lane(scene.keys, source, Selection(), (0, JOBS_PER_LOOK), with_meta=True))
    assert (5, 0) == (window.looked_at, window.parts)
    found = scene.shedder.breakdown("mail", by="meta.tenant")
    assert ({("acme",): (20, 0)}, 20) == (numbers(found), found.looked_at)
    assert 20 == scene.shedder.breakdown("mail", by="meta.tenant", sample=20).looked_at
    assert 19 == scene.shedder.breakdown("mail", by="meta.tenant", sample=19).looked_at


def test_groups_without_end_are_one(scene: Scene) -> None:
    """A field that each job has another value of does not fill the memory."""
    for number in range(9):
        scene.ours("mail").enqueue("app.news", meta={"id": number})
    with mock.patch.object(module, "MOST_GROUPS", 3):
        found = scene.shedder.breakdown("mail", by="meta.id")
    assert (6, 0) == numbers(found)[("(other values)",)]


@pytest.mark.parametrize(
    ("by", "options"),
    [
        ((), {}), ("tenant", {}), ("meta.", {}), (("function", "function"), {}),
        (("function", "priority", "meta.a"), {}), ("function", {"sample": 0}), ("function", {"top": 0}),
    ],
)  # fmt: skip
def test_what_is_not_accepted(scene: Scene, by: Any, options: dict[str, Any]) -> None:
    """By nothing, by something else, by three things, and no job or group at all."""
    with pytest.raises(InvalidInput):
        scene.shedder.breakdown("mail", by=by, **options)


def test_nothing_is_there(scene: Scene) -> None:
    """An empty queue, and no queue at all, have no groups."""
    assert ((), 0) == ((found := scene.shedder.breakdown("mail", by="function")).groups, found.jobs)
    assert () == scene.shedder.breakdown(by="function").groups
