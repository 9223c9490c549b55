"""Each act of the control room, what stands before it, and what is filled in."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from rq.defaults import RQ_KEY_PREFIX
from rq.utils import utcformat

from shedder.policy.model import Defaults, Mitigation, Policy, Rule
from shedder.queues.stale import set_aside_all
from shedder.selection import Selection
from shedder.units import Rate
from tests.features.failures import fail
from tests.features.scene import Scene, numbered

if TYPE_CHECKING:
    from shedder.incident.incidents import Incidents

Before = Callable[[Scene], Any]
Said = Mapping[str, Any]

RATE = Rate.parse("50/second")


@dataclass(frozen=True, slots=True)
class Case:
    """One call of an act.

    Attributes:
        before: Makes what stands.
        said: What is filled in; a function of the scene where that is not known before.
    """

    before: Before
    said: Said | Callable[[Scene], Said] = field(default_factory=dict)

    def fields(self, scene: Scene) -> Said:
        """What is filled in."""
        return self.said(scene) if callable(self.said) else self.said


def jobs(scene: Scene) -> None:
    scene.fill("mail", *numbered("mail", 5))
    scene.fill("mail.low", *numbered("low", 3), function="app.news.send", tenant="acme")
    scene.fill("reports", *numbered("reports", 2))


def paused(scene: Scene) -> None:
    jobs(scene)
    scene.shedder.pause("mail", reason="nightly export")


def diverted(scene: Scene) -> None:
    jobs(scene)
    scene.shedder.divert("mail", reason="database at 99 %")


def draining(scene: Scene) -> None:
    diverted(scene)
    scene.shedder.drain("mail", rate=Rate.parse("1/minute"), reason="a first try")


def limited(scene: Scene) -> None:
    jobs(scene)
    scene.shedder.limit_starts("mail", rate=Rate.parse("5/second"), reason="slow disk")


def failed(scene: Scene) -> None:
    jobs(scene)
    fail(scene, "mail", *numbered("failed", 4))


def retried(scene: Scene) -> None:
    failed(scene)
    scene.shedder.retry("mail", rate=Rate.parse("1/minute"), reason="it is back")


def shed_rules(scene: Scene) -> None:
    jobs(scene)
    rule = Rule("mail", Selection(functions=("app.news.*",)), shed=1, label="newsletters")
    scene.shedder.policies.apply(Policy(rules=(rule,)), reason="what may be shed")


def set_aside(scene: Scene) -> None:
    scene.fill("mail", *numbered("old", 3))
    then = utcformat(datetime.now(UTC) - timedelta(days=2))
    for job in numbered("old", 3):
        scene.redis.hset(f"{RQ_KEY_PREFIX}:job:{job}", "enqueued_at", then)
    receipt = scene.shedder.divert("mail.normal", reason="database at 99 %")
    scene.shedder.policies.apply(Policy(stale_after=timedelta(days=1)), reason="old is stale")
    set_aside_all(scene.shedder.store, "mail", receipt.lanes[0].order)


def declared(scene: Scene) -> None:
    said = {"v": 1, "group": "non-critical", "description": "no hints", "owner": "search", "default": True}
    scene.redis.hset(scene.keys.flag_declarations, "search.hints", json.dumps(said))
    scene.redis.hset(scene.keys.limit_declarations, "reports", json.dumps({"v": 1, "default": "500/minute"}))


def degraded(scene: Scene) -> None:
    declared(scene)
    scene.shedder.degrade_flag("search.hints", reason="database at 99 %")


def limit_was_set(scene: Scene) -> None:
    declared(scene)
    scene.shedder.set_limit("reports", Rate.parse("100/minute"), reason="database at 99 %")


def mitigations(scene: Scene) -> None:
    run = (sys.executable, "-c", "import sys; print('back to', sys.argv[1])", "{release}")
    policy = Policy(mitigations={"rollback": Mitigation("rollback", run)})
    scene.shedder.policies.apply(policy, reason="declared")


def opened(scene: Scene) -> Incidents:
    scene.shedder.incidents.open("receipts are late", severity=2)
    return scene.shedder.incidents


def with_operations(scene: Scene) -> None:
    opened(scene).roles.take("operations", by="ana@desk")


def with_offer(scene: Scene) -> None:
    incidents = opened(scene)
    incidents.roles.take("operations", by="bob@desk")
    incidents.roles.hand_over("operations", "ana@desk", by="bob@desk")


def resolved(scene: Scene) -> Incidents:
    incidents = opened(scene)
    incidents.resolve()
    return incidents


def reviewed(scene: Scene) -> None:
    incidents = resolved(scene)
    incidents.review(dict.fromkeys(("well", "badly", "luck", "factors"), "the pause took 20 s"))


def with_action(scene: Scene) -> None:
    opened(scene).actions.add("Alarm at 80 % CPU", type="detect")


def last_event(scene: Scene) -> Said:
    return {"event": next(each.id for each in reversed(scene.shedder.events()) if each.can_undo)}


MAIL = {"target": "mail"}

EVERY_ACT: Mapping[str, Case] = {
    "pause": Case(jobs, MAIL),
    "resume": Case(paused, MAIL),
    "divert": Case(jobs, {**MAIL, "function": "app.news.*", "meta": "tenant=acme"}),
    "shed": Case(shed_rules),
    "drain": Case(diverted, {**MAIL, "rate": "50/second"}),
    "stop-drain": Case(draining, MAIL),
    "drain-at-once": Case(diverted, MAIL),
    "retry": Case(failed, {**MAIL, "rate": "50/second", "exception": "*Down*"}),
    "stop-retry": Case(retried, MAIL),
    "limit-starts": Case(jobs, {**MAIL, "rate": "20/second", "for": "1h"}),
    "lift-limit": Case(limited, MAIL),
    "stale-replay": Case(set_aside, MAIL),
    "degrade": Case(declared, {"name": "search.hints", "percent": "50"}),
    "restore": Case(degraded, {"group": "non-critical"}),
    "limit-set": Case(declared, {"name": "reports", "rate": "100/minute", "key": "tenant=acme"}),
    "limit-clear": Case(limit_was_set, {"name": "reports"}),
    "undo": Case(paused, last_event),
    "mitigate": Case(mitigations, {"name": "rollback", "value": "release=41"}),
    "note": Case(opened, {"text": "replica lags by 40 s"}),
    "incident-open": Case(jobs, {"title": "receipts are late", "severity": "2", "commander": "ana@desk"}),
    "incident-update": Case(opened, {"audience": "team"}),
    "incident-take": Case(opened, {"role": "operations"}),
    "incident-assign": Case(opened, {"role": "communications", "person": "bob@desk"}),
    "incident-hand-over": Case(with_operations, {"role": "operations", "person": "bob@desk"}),
    "incident-accept": Case(with_offer, {"role": "operations"}),
    "incident-leave": Case(with_operations, {"role": "operations"}),
    "incident-mitigated": Case(opened),
    "incident-resolve": Case(opened),
    "incident-reopen": Case(resolved),
    "incident-correct": Case(opened, {"severity": "3"}),
    "incident-review": Case(resolved, {"well": "the pause took 20 s"}),
    "incident-action-add": Case(opened, {"title": "Alarm at 80 % CPU", "type": "detect", "priority": "1"}),
    "incident-action-done": Case(with_action, {"number": "1"}),
    "incident-close": Case(reviewed),
}
"""By name of the act."""


def paused_twice(scene: Scene) -> None:
    paused(scene)
    scene.shedder.pause("mail", reason="longer")


def resumed(scene: Scene) -> None:
    paused(scene)
    scene.shedder.resume("mail", reason="fine")


def draining_faster(scene: Scene) -> None:
    draining(scene)
    scene.shedder.drain("mail", rate=RATE, reason="more")


def limited_twice(scene: Scene) -> None:
    limited(scene)
    scene.shedder.limit_starts("mail", rate=RATE, reason="more")


def restored(scene: Scene) -> None:
    degraded(scene)
    scene.shedder.restore_flag("search.hints", reason="fine")


def limit_was_cleared(scene: Scene) -> None:
    limit_was_set(scene)
    scene.shedder.clear_limit("reports", reason="fine")


def policy_applied(scene: Scene) -> None:
    scene.shedder.policies.apply(Policy(defaults=Defaults(drain_rate=RATE)), reason="rate")


UNDONE: Mapping[str, Before] = {
    "pause": paused,
    "pause over a pause": paused_twice,
    "resume": resumed,
    "divert": diverted,
    "drain": draining,
    "drain at another rate": draining_faster,
    "limit start": limited,
    "limit start over a limit": limited_twice,
    "retry": retried,
    "flag degrade": degraded,
    "flag restore": restored,
    "limit set": limit_was_set,
    "limit clear": limit_was_cleared,
    "policy apply": policy_applied,
    "incident resolve": resolved,
    "role take": with_operations,
}
"""Changes that can be undone, by what they are called here."""
