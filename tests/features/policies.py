"""The policies that tests apply, and how they do it."""

from __future__ import annotations

from shedder.policy.model import Policy, Rule
from tests.features.scene import Scene

LOW = Policy(rules=(Rule(queue="reports", priority="low"),))
SHED = Policy(rules=(Rule(queue="reports", priority="low", shed=1),))


def apply(scene: Scene, policy: Policy, based_on: int | None = None) -> str:
    return scene.shedder.policies.apply(policy, reason="why", based_on=based_on).event
