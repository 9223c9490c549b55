"""`uninstall` knows every kind of key that there is."""

from __future__ import annotations

import inspect
import json
import re
from datetime import UTC, datetime, timedelta

from shedder.events import Cause, event_head
from shedder.health.uninstall import _LISTS
from shedder.policy.model import Mitigation, Policy
from shedder.queues.outcomes import count_failed
from shedder.queues.samples import sample_lanes
from shedder.response.mitigation import begin_mitigation
from shedder.store.keys import Keys
from shedder.updates.channels import deliver
from shedder.updates.messages import Message
from shedder.updates.watcher import hold_lease
from tests.docs.pages import DOCS
from tests.features.scene import Scene
from tests.hosts.leavers import everything, own_keys
from tests.waiting import wait_until


def test_nothing_is_left_of_a_whole_incident(scene: Scene) -> None:
    """Of each kind of key that there is one was there, and none is left."""
    everything(scene)
    a_whole_incident(scene)
    what_lives_for_seconds(scene)
    kinds = {kind_of(scene, key) for key in own_keys(scene)}
    assert all_kinds(scene) == kinds
    scene.shedder.uninstall(reason="plain RQ again", force=True)
    assert [] == own_keys(scene)


def a_whole_incident(scene: Scene) -> None:
    """Its record and a copy of another, what was sent, a mitigation, limits in code, a policy."""
    shedder = scene.shedder
    incidents = shedder.incidents
    shedder.policies.apply(Policy(stale_after=timedelta(hours=1)), reason="policy")
    incidents.open("first", severity=2)
    copy = json.loads(json.dumps(incidents.export()))
    scene.redis.delete(scene.keys.incident(copy["incident"]["id"]))
    incidents.bring_back(copy)
    incidents.roles.take("operations")
    incidents.note("replica lags")
    mitigation = Mitigation("rollback", ("true",))
    shedder.mitigate(mitigation, ("true",), reason="r")
    head = event_head("mitigate started", Cause("bob@desk", "r"), ())
    shedder.store.run(begin_mitigation(scene.keys, head, head))  # and never ended
    message = Message("update-1", "main", "title", "text", datetime.now(UTC))
    deliver(shedder.store, incidents.read().id, [message], lambda *_: True, who="x")
    shedder.store.run(hold_lease(scene.keys, "watcher"))
    scene.redis.hincrby(scene.keys.meters, "mail:ended", 1)
    shedder.store.run(sample_lanes(scene.keys, ["mail"]))
    shedder.flags.declare("hints.more")
    shedder.limits.declare("search.more", default="5/minute")
    shedder.limits.hit("search.more")
    declarations = (scene.keys.flag_declarations, scene.keys.limit_declarations)
    try:
        wait_until(lambda: scene.redis.exists(*declarations) == len(declarations), what="a declaration of each")
    finally:
        shedder.close()


def what_lives_for_seconds(scene: Scene) -> None:
    """Keys that are there while something goes on, and lists that a command was killed beside."""
    redis, keys = scene.redis, scene.keys
    redis.set(keys.drain_ends("1-0"), "wf")
    redis.set(keys.mark("1"), 1)
    redis.set(keys.sweep, "keys 0")
    redis.set(keys.web_secret, "secret")
    redis.hset(keys.outcome_draft, "began", "1")
    count_failed(redis, keys, "mail", "label", at_ms=1, function="f", exception="ValueError")
    scene.fill("torn", "k-1", "p-1", "s-1", "u-1")
    for job, key in (("k-1", keys.kept("torn")), ("p-1", keys.parked("torn")),
                     ("s-1", keys.stale("torn")), ("u-1", keys.unseen("torn"))):  # fmt: skip
        redis.lrem(keys.engine.lists + "torn", 0, job)
        redis.rpush(key, job)
    redis.rpush(keys.skipped("order", "torn"), "job gone")
    redis.zadd(keys.running("order"), {"claim": 1})
    redis.set(keys.lane_lease("mail"), "somebody")
    redis.set(keys.poller("mail"), "somebody")
    redis.rpush(keys.bell("mail"), "ring")
    redis.hset(keys.starting, "claim", "1")
    redis.set(keys.web_token("1"), "call")


def kind_of(scene: Scene, key: str) -> str:
    return key.removeprefix(scene.keys.root).partition(":")[0]


def all_kinds(scene: Scene) -> set[str]:
    """The kinds of all keys; a channel is none."""
    found = set()
    for name, member in vars(Keys).items():
        if name.startswith("_") or name in {"engine", "lane", "lanes", "root", "settings_channel"}:
            continue
        made = getattr(scene.keys, name)
        if not isinstance(member, property):
            made = made(*("x" for _ in inspect.signature(made).parameters))
        keys = (made,) if isinstance(made, str) else made
        found |= {kind_of(scene, each) for each in keys}
    return found


def test_every_kind_of_list_in_which_jobs_stand_is_known() -> None:
    """A new kind that `uninstall` does not bring back would be removed with its jobs."""
    page = (DOCS / "reference" / "keys.md").read_text(encoding="utf-8")
    jobs = page.partition("## Jobs")[2].partition("\n## ")[0]
    kinds = set(re.findall(r"^\| `rq:shedder:([\w-]+)", jobs, re.MULTILINE))
    assert set(_LISTS) == kinds
